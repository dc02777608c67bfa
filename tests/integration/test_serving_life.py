"""A service's life: before its first champion, on probation, with a shadow, when it is full, as it ends."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from onnx import helper

from tests.factories import wait_until
from tests.serving import Service, picture
from tests.versions import (
    CLASSES,
    IMAGE,
    TABULAR,
    image_model,
    nan_when_bright,
    port,
    slow,
    tabular_model,
    weights,
    write_version,
)

pytestmark = pytest.mark.timeout(300)

TOKEN = "a-secret-of-the-tests"
ROW = {"height": 1.5, "weight": -2}
TABULAR_CLASSES = IMAGE | {
    "input": TABULAR["input"],
    "outputs": ["probabilities"],
    "embedding_size": None,
}
BRIGHT = picture(250)


def tabular_classifier() -> onnx.ModelProto:
    """Three classes of two columns."""
    nodes = [
        helper.make_node("MatMul", ["input", "to_scores"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "rows",
        [port("input", ["n", 2])],
        [port("probabilities", ["n", 3])],
        [weights("to_scores", 2, 3)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def add(service: Service, folder: Path, name: str, model: onnx.ModelProto, fields: Any = IMAGE) -> None:
    """Publish a version."""
    service.registry.add(write_version(folder / name, fields, onnx_model=model, version=name))


def test_it_waits_for_a_champion_behind_its_token_and_then_answers_rows(tmp_path: Path) -> None:
    with Service(tmp_path / "home", workers=1, serve_token=TOKEN) as service:
        service.wait("/livez")
        ready = service.get("/readyz")
        assert ready.status_code == 503
        assert ready.json() == {
            "status": "not ready",
            "reason": "model articles has no champion; train one with `task retrain`",
        }
        refused = service.ask("POST", "/predict", json=ROW)
        assert (refused.status_code, refused.json()["code"]) == (503, "no_model")
        assert int(refused.headers["retry-after"]) >= 1
        assert service.get("/model").json()["code"] == "no_model"
        assert service.get("/docs.json").status_code == 200
        add(service, tmp_path, "rows", tabular_classifier(), TABULAR_CLASSES)
        service.registry.promote("rows", None)
        service.wait()
        rows_are_classified(service)
        add(service, tmp_path, "line", tabular_model(), TABULAR)
        service.registry.promote("line", "rows")
        wait_until(lambda: "value" in service.ask("POST", "/predict", json=ROW).json(), "the regression")
        rows_have_a_value(service)
        nothing_but_health_without_the_token(service)
        assert service.stop() == 0
        assert TOKEN not in service.log.read_text()


def rows_are_classified(service: Service) -> None:
    answer = service.ask("POST", "/predict", json=ROW).json()
    assert answer["model_version"] == "rows"
    assert list(answer["probabilities"]) == CLASSES
    assert answer["probabilities"][answer["label"]] == answer["probability"]
    batch = {"rows": [ROW, {"height": 1}, ROW, {**ROW, "colour": 1}, 3]}
    answers = service.ask("POST", "/predict_batch", json=batch).json()["answers"]
    assert [each.get("code") for each in answers] == [None, "bad_row", None, "bad_row", "bad_row"]
    assert answers[0]["probabilities"] == pytest.approx(answer["probabilities"])
    wrong = service.predict(picture())
    assert (wrong.status_code, wrong.json()["code"]) == (422, "bad_request")


def rows_have_a_value(service: Service) -> None:
    answer = service.ask("POST", "/predict", json=ROW).json()
    assert answer.keys() == {"value", "model_version", "request_id"}
    slope = np.random.default_rng(0).normal(size=(2, 1)).astype(np.float32)
    assert answer["value"] == pytest.approx(float((np.float32([[1.5, -2]]) @ slope)[0, 0]), rel=1e-5)  # type: ignore[arg-type]
    assert service.get("/model").json()["task"] == "regression"


def nothing_but_health_without_the_token(service: Service) -> None:
    paths = [("GET", path) for path in ("/model", "/metrics", "/", "/docs.json", "/nothing", "/healthz")]
    paths += [("POST", path) for path in ("/predict", "/predict_batch", "/feedback")]
    wrong = ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN, f"bearer{TOKEN}"]
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as client:
        for method, path in paths:
            response = client.request(method, path)
            assert (response.status_code, response.json()["code"]) == (401, "unauthorized"), path
            assert response.headers["www-authenticate"] == "Bearer"
        for said in wrong:
            response = client.get("/model", headers={"authorization": said.strip()})
            assert response.status_code == 401, said
        assert client.get("/model", headers={b"authorization": b"Bearer \xff\xfe"}).status_code == 401
        for path in ("/livez", "/readyz"):
            assert client.get(path).status_code == 200
    for path in ("/model", "/metrics", "/", "/docs.json"):
        assert service.get(path).status_code == 200, path


def test_on_probation_a_champion_that_fails_is_rolled_back_while_a_shadow_only_listens(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    with Service(home, workers=2, shadow_version="shadow", shadow_share=1) as service:
        for name, model in (("good", image_model()), ("bad", nan_when_bright()), ("shadow", image_model(1))):
            add(service, tmp_path, name, model)
        service.registry.promote("good", None)
        service.wait()
        assert {answer.json()["model_version"] for answer in many(service, 40)} == {"good"}
        service.registry.promote("bad", "good")
        wait_until(lambda: "model_error" in codes(many(service, 16)), "the new champion to fail")
        wait_until(
            lambda: many(service, 16) is None or service.registry.history()[-1].event == "rolled_back",
            "the rollback",
        )
        *_, promoted, rolled_back = service.registry.history()
        assert (promoted.event, promoted.champion) == ("promoted", "bad")
        assert (rolled_back.champion, rolled_back.before) == ("good", "bad")
        assert rolled_back.reason.startswith("on probation 100.0% of ")
        assert rolled_back.verdict["failed"] == rolled_back.verdict["answered"] >= 50
        wait_until(lambda: codes(many(service, 16)) == [None] * 16, "answers of the old champion", 5)
        assert service.get("/readyz").status_code == 200
        assert service.total("watchkeeper_serve_swaps_total", outcome="rolled_back") == 1
        assert len(service.registry.history()) == 3
        returned = {answer["request_id"]: answer for answer in service.answered}
        assert len(returned) >= 56
        name = "watchkeeper_serve_shadow_total"
        wait_until(lambda: service.total(name) == len(returned), "the shadow to have seen every answer")
        assert service.total(name, outcome="failed") == 0
        # A busy machine may: answers never wait for the shadow.
        dropped = service.total(name, outcome="dropped")
        assert service.stop() == 0
    folder = home / "landing" / "serving" / "predictions"
    rows = [row for path in folder.glob("[!.]*.parquet") for row in pq.read_table(path).to_pylist()]
    by_shadow = [row for row in rows if row["shadow"]]
    assert {row["model_version"] for row in by_shadow} == {"shadow"}
    seen = {row["request_id"] for row in by_shadow}
    assert seen <= returned.keys()
    assert len(seen) == len(returned) - dropped > 0, "it saw every request that it could, as was asked"
    assert {row["request_id"] for row in rows if not row["shadow"]} == returned.keys()
    assert "shadow" not in {answer["model_version"] for answer in returned.values()}


def many(service: Service, number: int) -> list[httpx.Response]:
    """Bright pictures, on connections of their own, so that both workers get some."""
    with ThreadPoolExecutor(8) as clients:
        return list(clients.map(lambda _: service.predict(BRIGHT), range(number)))


def codes(answers: list[httpx.Response]) -> list[str | None]:
    return [answer.json().get("code") for answer in answers]


class InFlight:
    """A request that is on its way until the service answers it."""

    def __init__(self, service: Service) -> None:
        self.response: httpx.Response | None = None
        self._service = service
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        self.response = self._service.predict()

    def wait(self) -> httpx.Response:
        self._thread.join(60)
        assert self.response is not None
        return self.response


def until_busy(service: Service) -> tuple[InFlight, httpx.Response]:
    """One request that the model works on, and one that was refused for it."""
    found: list[tuple[InFlight, httpx.Response]] = []

    def full() -> bool:
        first = InFlight(service)
        while first.response is None:
            second = service.predict()
            if second.status_code != 200:
                found.append((first, second))
                return True
        return False

    wait_until(full, "a full queue", 60)
    return found[0]


@pytest.mark.slow
def test_a_full_queue_refuses_and_an_end_drains(tmp_path: Path) -> None:
    with Service(
        tmp_path / "home", workers=1, serve_queue=1, serve_burst=1, serve_timeout_seconds=60
    ) as service:
        add(service, tmp_path, "slow", slow())
        service.registry.promote("slow", None)
        service.wait()
        first, refused = until_busy(service)
        assert (refused.status_code, refused.json()["code"]) == (429, "busy")
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["connection"] == "close"
        assert first.wait().status_code == 200
        for path in ("/readyz", "/livez", "/model", "/metrics"):
            assert service.get(path).status_code == 200
        assert service.total("watchkeeper_serve_rejected_total", reason="busy") >= 1
        before_its_end, _ = until_busy(service)
        assert service.process
        service.process.send_signal(signal.SIGTERM)
        assert new_requests_until_its_end(service) == []
        assert before_its_end.wait().status_code == 200, "what was in flight is answered"
        assert service.process.wait(30) == 0
        folder = tmp_path / "home" / "landing" / "serving" / "predictions"
        ids = {row["request_id"] for path in folder.glob("[!.]*") for row in pq.read_table(path).to_pylist()}
        assert ids == {answer["request_id"] for answer in service.answered}


def new_requests_until_its_end(service: Service) -> list[int]:
    """What new connections are answered with, once the first was refused."""
    answers: list[int] = []
    refused = False

    def over() -> bool:
        nonlocal refused
        try:
            status = service.get("/livez").status_code
        except httpx.TransportError:
            refused = True
        else:
            answers.extend([status] if refused else [])
        assert service.process
        return refused and service.process.poll() is not None

    wait_until(over, "the service to end", 60)
    return answers
