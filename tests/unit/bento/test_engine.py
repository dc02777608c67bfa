"""The queue in front of a real, tiny model: batches, and each input's fate its own."""

import asyncio
import io
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image
from prometheus_client import REGISTRY

from services.bento.engine import LARGE, Answered, Engine
from services.bento.live import Live, Payload, load
from services.bento.manifest import ManifestError, read_manifest
from services.bento.predictor import Answer
from services.bento.problems import ProblemError
from tests.versions import CLASSES, IMAGE, TABULAR, image_model, tabular_model, write_version

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PATIENCE = 30
MOST_LARGE = 3
MAX_PIXELS = 3_000_000


def picture(brightness: int = 100, kind: str = "JPEG", size: tuple[int, int] = (20, 10)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (brightness,) * 3).save(stream, kind)
    return stream.getvalue()


def large(brightness: int = 100) -> bytes:
    """A picture for the lane of its own."""
    return picture(brightness, "PNG", (1500, 1500))


def nan_when_bright() -> onnx.ModelProto:
    """A classifier whose numbers are NaN where a picture's mean is above 0.9: a logarithm of less than 0."""
    model = image_model()
    graph = model.graph
    nodes = [
        helper.make_node("Sub", ["bound", "means"], ["room"]),
        helper.make_node("Log", ["room"], ["logarithm"]),
        helper.make_node("MatMul", ["logarithm", "to_scores"], ["scores"]),
    ]
    kept = [node for node in graph.node if node.output[0] != "scores"]
    del graph.node[:]
    graph.node.extend([kept[0], *nodes, *kept[1:]])
    graph.initializer.append(numpy_helper.from_array(np.array([0.9], np.float32), "bound"))
    return model


@pytest.fixture
def version(tmp_path: Path) -> Callable[..., Live]:
    def make(name: str = "v1", model: onnx.ModelProto | None = None, fields: dict[str, Any] = IMAGE) -> Live:
        folder = write_version(tmp_path / name, fields, onnx_model=model, version=name)
        return load(folder, read_manifest(folder), NOW, MAX_PIXELS)

    return make


class Followed:
    """An engine whose batches are kept; while `held`, its thread waits behind each batch."""

    def __init__(self, live: Live | None, batch: int = 8) -> None:
        self.batches: list[Answered] = []
        self.go, self.reached = threading.Event(), threading.Event()
        self.go.set()
        self.engine = Engine(batch, MOST_LARGE, self._after)
        self.engine.live = live

    def _after(self, answered: Answered) -> None:
        self.batches.append(answered)
        self.reached.set()
        assert self.go.wait(PATIENCE)

    async def hold(self) -> None:
        """Have the thread wait behind a first batch of one; before anything else is asked."""
        self.go.clear()
        await self.engine.submit(picture())
        assert await asyncio.to_thread(self.reached.wait, PATIENCE)
        self.batches.clear()

    async def ask(self, payloads: list[Payload]) -> list[Any]:
        """Queue all at once, then let the thread go."""
        futures = [self.engine.submit(payload) for payload in payloads]
        self.go.set()
        return await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), PATIENCE)

    async def close(self) -> None:
        self.go.set()
        await asyncio.to_thread(self.engine.close)

    @property
    def sizes(self) -> list[int]:
        return [len(batch.ids) for batch in self.batches]


def run(
    live: Live | None, scene: Callable[[Followed], Coroutine[Any, Any, None]], batch: int = 8
) -> Followed:
    """Play a scene with an engine, which is closed afterwards."""

    async def play() -> Followed:
        followed = Followed(live, batch)
        try:
            await scene(followed)
        finally:
            await followed.close()
        return followed

    return asyncio.run(play())


def codes(answers: list[Any]) -> list[str]:
    return [answer.code if isinstance(answer, ProblemError) else "ok" for answer in answers]


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"watchkeeper_serve_{name}", labels) or 0.0


Version = Callable[..., Live]


def test_an_answer_says_what_its_version_says(version: Version) -> None:
    live = version()

    async def scene(followed: Followed) -> None:
        (answer,) = await followed.ask([picture()])
        row, _ = live.decode(picture(), MAX_PIXELS)
        expected = live.predict([row]).outputs[0]
        best = int(expected.argmax())
        assert answer["label"] == CLASSES[best]
        assert answer["probability"] == pytest.approx(float(expected[best]))
        assert list(answer["probabilities"]) == CLASSES
        assert list(answer["probabilities"].values()) == pytest.approx(expected.tolist())
        assert answer["model_version"] == "v1"
        assert len(answer["request_id"]) == 32

    run(live, scene)


def test_what_waits_is_answered_in_batches(version: Version) -> None:
    before = sample("batch_size_count", model="articles"), sample("batch_size_sum", model="articles")

    async def scene(followed: Followed) -> None:
        await followed.hold()
        answers = await followed.ask([picture(n) for n in range(0, 110, 10)])
        assert codes(answers) == ["ok"] * 11
        assert len({answer["request_id"] for answer in answers}) == 11

    assert run(version(), scene, batch=4).sizes == [4, 4, 3]
    after = sample("batch_size_count", model="articles"), sample("batch_size_sum", model="articles")
    assert (after[0] - before[0], after[1] - before[1]) == (4, 12)


def test_an_input_has_the_answer_that_it_has_alone(version: Version) -> None:
    live, pictures = version(), [picture(n) for n in range(0, 240, 30)]
    alone: list[Any] = []

    async def one_by_one(followed: Followed) -> None:
        alone.extend([(await followed.ask([each]))[0] for each in pictures])

    async def at_once(followed: Followed) -> None:
        await followed.hold()
        for one, other in zip(alone, await followed.ask(list(pictures)), strict=True):
            assert one["probabilities"] == pytest.approx(other["probabilities"])

    assert run(live, one_by_one).sizes == [1] * 8
    assert run(live, at_once).sizes == [8]


def test_poisoned_inputs_of_a_batch_fail_alone(version: Version) -> None:
    poison: list[Payload] = [b"garbage", b"", picture()[:-200], {"height": 1}, picture(kind="GIF")]

    async def scene(followed: Followed) -> None:
        await followed.hold()
        answers = await followed.ask([picture(1), *poison, picture(2)])
        assert codes(answers)[0] == codes(answers)[-1] == "ok"
        assert codes(answers)[1:-1] == ["bad_image", "bad_image", "bad_image", "bad_request", "bad_image"]

    followed = run(version(), scene)
    assert followed.sizes == [2]
    assert followed.batches[0].payloads == [picture(1), picture(2)]


def test_a_batch_of_nothing_but_poison_asks_the_model_nothing(version: Version) -> None:
    live = version()

    async def scene(followed: Followed) -> None:
        assert codes(await followed.ask([b"garbage"] * 3)) == ["bad_image"] * 3

    assert run(live, scene).batches == []
    assert live.record.answered == 0


def test_an_input_without_finite_numbers_fails_alone(version: Version) -> None:
    live = version(model=nan_when_bright())

    async def scene(followed: Followed) -> None:
        await followed.hold()
        answers = await followed.ask([picture(10), picture(250), picture(20)])
        assert codes(answers) == ["ok", "model_error", "ok"]

    followed = run(live, scene)
    (batch,) = followed.batches
    assert batch.payloads == [picture(10), picture(20)], "what was not answered is not logged"
    assert len(batch.rows) == len(batch.outputs) == len(batch.pictures) == len(batch.embedding) == 2
    assert np.isfinite(batch.outputs).all()
    assert (live.record.answered, live.record.failed) == (4, 1)


def test_where_a_batch_fails_each_input_is_asked_alone(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = version()
    real = live.predict

    def refuses_white(rows: list[Any]) -> Answer:
        if any(row.mean() > 200 for row in rows):
            raise RuntimeError("ONNX Runtime refused")
        return real(rows)

    monkeypatch.setattr(live, "predict", refuses_white)

    async def scene(followed: Followed) -> None:
        await followed.hold()
        answers = await followed.ask([picture(10), picture(250), picture(20)])
        assert codes(answers) == ["ok", "model_error", "ok"]

    followed = run(live, scene)
    assert np.isfinite(followed.batches[0].embedding).all()
    assert (live.record.answered, live.record.failed) == (4, 1)


def test_a_regression_answers_rows_and_each_fails_alone(version: Version) -> None:
    rows: list[Payload] = [
        {"height": 1, "weight": 2.5},
        {"height": 1},
        {"height": 1, "weight": True},
        {"height": 1, "weight": 1e39},
        {"height": 1, "weight": 2, "colour": 3},
        b"a picture",
        {"weight": 2.5, "height": 1},
    ]

    async def scene(followed: Followed) -> None:
        answers = await followed.ask(rows)
        assert codes(answers) == ["ok", *["bad_row"] * 4, "bad_request", "ok"]
        assert answers[0].keys() == {"value", "model_version", "request_id"}
        assert answers[0]["value"] == answers[-1]["value"], "a row's order is nothing"

    run(version(fields=TABULAR), scene)


def test_finite_rows_whose_answer_is_not_finite_are_the_models_error(version: Version) -> None:
    steep = tabular_model()
    steep.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([[10], [1]], np.float32), "slope"))

    async def scene(followed: Followed) -> None:
        good, bad = {"height": 1, "weight": 1}, {"height": 2e38, "weight": 1}
        answers = await followed.ask([good, bad, good])
        assert codes(answers) == ["ok", "model_error", "ok"]
        assert answers[0]["value"] == 11

    run(version(model=steep, fields=TABULAR), scene)


def test_who_has_gone_is_not_answered(version: Version) -> None:
    live = version()

    async def scene(followed: Followed) -> None:
        await followed.hold()
        futures = [followed.engine.submit(picture()) for _ in range(5)]
        assert len(followed.engine._lane) == 5
        for gone in futures[1:3]:
            gone.cancel()
        followed.go.set()
        rest = [future for future in futures if not future.cancelled()]
        assert codes(await asyncio.gather(*rest)) == ["ok"] * 3
        assert len(followed.engine._lane) == 0

    assert run(live, scene).sizes == [3]
    assert live.record.answered == 4


def test_a_batch_that_has_gone_whole_disturbs_nothing(version: Version) -> None:
    async def scene(followed: Followed) -> None:
        await followed.hold()
        for _ in range(3):
            followed.engine.submit(picture()).cancel()
        followed.go.set()
        assert codes(await followed.ask([picture()])) == ["ok"]

    run(version(), scene)


def test_without_a_version_each_input_is_told_so(version: Version) -> None:
    live = version()

    async def scene(followed: Followed) -> None:
        assert codes(await followed.ask([picture(), b"garbage"])) == ["no_model"] * 2
        followed.engine.live = live
        assert codes(await followed.ask([picture()])) == ["ok"]

    run(None, scene)


def test_a_batch_is_of_one_version_and_says_which(version: Version) -> None:
    old, new = version("old"), version("new", image_model(seed=1))

    async def scene(followed: Followed) -> None:
        await followed.hold()
        waiting = asyncio.ensure_future(followed.ask([picture()] * 3))
        followed.engine.live = new
        assert {answer["model_version"] for answer in await waiting} == {"new"}

    assert [batch.live.manifest.version for batch in run(old, scene).batches] == ["new"]


def test_what_follows_an_answer_cannot_stop_the_next(version: Version) -> None:
    async def scene(followed: Followed) -> None:
        followed.engine._after = broken
        assert codes(await followed.ask([picture()])) == ["ok"]
        assert codes(await followed.ask([picture()])) == ["ok"]

    def broken(answered: Answered) -> None:
        raise OSError("the disk is full")

    run(version(), scene)


def test_what_nobody_foresaw_is_the_models_error_and_not_the_end(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = version()

    async def scene(followed: Followed) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(live, "decode", lambda *_: 1 / 0)
            assert codes(await followed.ask([picture()] * 2)) == ["model_error"] * 2
        assert codes(await followed.ask([picture()])) == ["ok"]

    run(live, scene)


def test_a_large_picture_has_the_same_answer_by_its_own_lane(version: Version) -> None:
    async def scene(followed: Followed) -> None:
        small, big, other = await followed.ask([picture(90, "PNG"), large(90), picture(200)])
        assert big["probabilities"] == pytest.approx(small["probabilities"])
        assert other["probabilities"] != small["probabilities"]

    assert LARGE < 1500 * 1500 < MAX_PIXELS
    followed = run(version(), scene)
    assert sum(followed.sizes) == 3
    assert {kept.width for batch in followed.batches for kept in batch.pictures if kept} == {20, 1500}


def test_nobody_waits_for_a_large_picture(version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    live = version()
    real, go = live.decode, threading.Event()

    def slow(payload: Payload, max_pixels: int) -> Any:
        if max_pixels > LARGE:
            assert go.wait(PATIENCE)
        return real(payload, max_pixels)

    monkeypatch.setattr(live, "decode", slow)

    async def scene(followed: Followed) -> None:
        big = followed.engine.submit(large())
        assert codes(await followed.ask([picture()] * 9)) == ["ok"] * 9
        assert not big.done()
        go.set()
        assert codes([await asyncio.wait_for(big, PATIENCE)]) == ["ok"]

    run(live, scene)


def test_more_large_pictures_than_may_wait_are_refused(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = version()
    real, go, begun = live.decode, threading.Event(), threading.Event()

    def slow(payload: Payload, max_pixels: int) -> Any:
        if max_pixels > LARGE:
            begun.set()
            assert go.wait(PATIENCE)
        return real(payload, max_pixels)

    monkeypatch.setattr(live, "decode", slow)

    async def scene(followed: Followed) -> None:
        first = followed.engine.submit(large())
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        rest = [followed.engine.submit(large()) for _ in range(MOST_LARGE + 2)]
        await asyncio.wait(rest, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE)
        assert codes(await followed.ask([picture()])) == ["ok"]
        go.set()
        answers = await asyncio.wait_for(asyncio.gather(first, *rest, return_exceptions=True), PATIENCE)
        assert codes(answers) == ["ok"] * (MOST_LARGE + 1) + ["busy"] * 2

    run(live, scene)


def test_a_large_picture_fails_alone(version: Version) -> None:
    async def scene(followed: Followed) -> None:
        answers = await followed.ask([large()[:-300], picture(kind="PNG", size=(2000, 2000)), large()])
        assert codes(answers) == ["bad_image", "too_many_pixels", "ok"]

    run(version(), scene)


def test_a_large_picture_that_a_swap_overtakes_is_decoded_for_the_new_version(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = version("old"), version("new", image_model(seed=1))
    real = old.decode

    async def scene(followed: Followed) -> None:
        def swapped_meanwhile(payload: Payload, max_pixels: int) -> Any:
            if max_pixels > LARGE:
                followed.engine.live = new
            return real(payload, max_pixels)

        monkeypatch.setattr(old, "decode", swapped_meanwhile)
        (answer,) = await followed.ask([large()])
        assert answer["model_version"] == "new"

    run(old, scene)


def test_what_nobody_foresaw_of_a_large_picture_is_the_models_error(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = version()
    real = live.decode

    def broken(payload: Payload, max_pixels: int) -> Any:
        return real(payload, max_pixels) if max_pixels <= LARGE else 1 / 0

    monkeypatch.setattr(live, "decode", broken)

    async def scene(followed: Followed) -> None:
        future = followed.engine.submit(large())
        await asyncio.wait([future], timeout=5)
        assert future.done(), "nobody is answered"
        assert codes([future.exception()]) == ["model_error"]

    run(live, scene)


def test_closing_answers_what_waits(version: Version) -> None:
    async def scene(followed: Followed) -> None:
        await followed.hold()
        futures = [followed.engine.submit(picture()) for _ in range(5)]
        await followed.close()
        assert codes(await asyncio.wait_for(asyncio.gather(*futures), PATIENCE)) == ["ok"] * 5
        assert not followed.engine._lane._thread.is_alive()
        assert not followed.engine._large._thread.is_alive()

    run(version(), scene, batch=2)


def test_a_version_that_answers_no_finite_numbers_is_not_loaded(tmp_path: Path) -> None:
    model = nan_when_bright()
    model.graph.initializer[-1].CopyFrom(numpy_helper.from_array(np.array([0.1], np.float32), "bound"))
    folder = write_version(tmp_path / "dark", onnx_model=model, version="dark")
    with pytest.raises(ManifestError, match="version dark does not answer each row with finite numbers"):
        load(folder, read_manifest(folder), NOW, MAX_PIXELS)


def test_a_version_that_onnx_runtime_refuses_is_not_loaded(tmp_path: Path) -> None:
    model = image_model()
    model.graph.node[0].op_type = "NoSuchOperator"
    folder = write_version(tmp_path / "odd", onnx_model=model, version="odd")
    with pytest.raises(ManifestError, match="version odd cannot be loaded"):
        load(folder, read_manifest(folder), NOW, MAX_PIXELS)


def test_a_version_without_an_embedding_answers(tmp_path: Path) -> None:
    model = image_model()
    del model.graph.output[1], model.graph.node[3]
    fields = IMAGE | {"outputs": ["probabilities"], "embedding_size": None}
    folder = write_version(tmp_path / "plain", fields, onnx_model=model, version="plain")
    live = load(folder, read_manifest(folder), NOW, MAX_PIXELS)

    async def scene(followed: Followed) -> None:
        assert codes(await followed.ask([picture()])) == ["ok"]

    assert run(live, scene).batches[0].embedding is None


def test_a_probe_is_answered_and_kept_nowhere(version: Callable[..., Live]) -> None:
    said: list[Any] = []

    async def scene(followed: Followed) -> None:
        await followed.hold()
        futures = [followed.engine.submit(picture(), probe=probe) for probe in (True, False)]
        alone = followed.engine.submit(picture(), probe=True)
        followed.go.set()
        said.extend(await asyncio.wait_for(asyncio.gather(*futures, alone), PATIENCE))

    followed = run(version(), scene)
    assert [answer["model_version"] for answer in said] == ["v1"] * 3
    assert [batch.ids for batch in followed.batches] == [[said[1]["request_id"]]]
