"""Following the registry, look by look: swaps, damage, what cannot be read, and probation."""

import itertools
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from services.bento.champion import LONGEST_RETRY_SECONDS, RETRY_SECONDS, ChampionWatch
from services.bento.config import BentoSettings
from services.bento.engine import Engine
from services.bento.ledger import Event
from services.bento.live import Live
from services.bento.probation import Record
from services.bento.registry import Registry
from services.bento.store import LocalStore
from tests.factories import wait_until
from tests.versions import image_model, write_version


class Clock:
    """The module's `time`, which stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic


class Place:
    """A registry, and workers that follow it: each a watch and what stands for its engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = LocalStore(folder / "registry")
        self.registry = self.open()
        for seed, version in enumerate("abc"):
            made = write_version(folder / version, onnx_model=image_model(seed), version=version)
            self.registry.add(made)

    def open(self) -> Registry:
        return Registry(LocalStore(self.folder / "registry"), "articles", cache=self.folder / "cache")

    def worker(self, **settings: Any) -> "Worker":
        return Worker(self, BentoSettings(home=self.folder, _env_file=None, **settings))  # type: ignore[call-arg]

    def damage(self, version: str) -> Callable[[], None]:
        """Change a byte of a version that is published; returns what mends it."""
        path = self.store.root / "articles" / "versions" / version / "model.onnx"
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        return lambda: cast(None, path.write_bytes(whole))

    def events(self) -> list[tuple[str, str | None]]:
        return [(entry.event, entry.champion) for entry in self.registry.history()]


class Worker:
    def __init__(self, place: Place, settings: BentoSettings) -> None:
        self.engine = SimpleNamespace(live=None, before=None)
        self.watch = ChampionWatch(place.open(), cast(Engine, self.engine), settings)

    def look(self, times: int = 1) -> str | None:
        """The version that answers after some looks."""
        for _ in range(times):
            self.watch.look()
        return self.live.manifest.version if self.engine.live else None

    @property
    def live(self) -> Live:
        return cast(Live, self.engine.live)

    def answers(self, answered: int, failed: int = 0, seconds: float = 1.0) -> None:
        self.live.record = Record(answered, failed, {1: (answered, seconds)})


def swaps(outcome: str) -> float:
    labels = {"model": "articles", "outcome": outcome}
    return REGISTRY.get_sample_value("watchkeeper_serve_swaps_total", labels) or 0.0


def info(version: str) -> float | None:
    labels = {"model": "articles", "version": version}
    return REGISTRY.get_sample_value("watchkeeper_serve_model_info", labels)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("services.bento.champion.time", made)
    return made


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_champion_is_taken_up_and_followed(place: Place) -> None:
    worker, swapped = place.worker(), swaps("swapped")
    assert worker.look() is None
    assert "model articles has no champion" in worker.watch.problem
    place.registry.promote("a", None)
    assert worker.look(5) == "a"
    assert (info("a"), swaps("swapped") - swapped) == (1, 1)
    place.registry.promote("b", "a")
    assert worker.look(5) == "b"
    assert (info("a"), info("b"), swaps("swapped") - swapped) == (0, 1, 2)
    place.registry.rollback()
    assert worker.look(5) == "a"
    assert (info("a"), info("b"), swaps("swapped") - swapped) == (1, 0, 3)


def test_since_when_is_what_the_ledger_says(place: Place) -> None:
    entry = place.registry.promote("a", None)
    worker = place.worker()
    worker.look()
    assert (worker.live.since, worker.live.number, worker.live.before) == (entry.when, entry.number, None)


def test_what_does_not_move_the_champion_swaps_nothing(place: Place) -> None:
    worker = place.worker()
    place.registry.promote("a", None)
    worker.look()
    live = worker.live
    events: tuple[Event, ...] = ("rejected", "packaged", "registered")
    for event in events:
        place.registry.append(event, "b")
        worker.look()
    assert worker.live is live


def test_the_same_version_champion_again_is_taken_up_as_of_then(place: Place) -> None:
    worker = place.worker()
    for version, before in (("a", None), ("b", "a"), ("a", "b")):
        place.registry.promote(version, before)
    assert worker.look() == "a"
    assert worker.live.number == 3


def test_a_damaged_champion_is_not_taken_up_nor_tried_in_a_tight_loop(place: Place, clock: Clock) -> None:
    worker, failed = place.worker(), swaps("failed")
    place.registry.promote("a", None)
    worker.look()
    place.registry.promote("b", "a")
    mend = place.damage("b")
    assert worker.look(50) == "a"
    assert swaps("failed") - failed == 1
    assert "champion b cannot be served" in worker.watch.problem
    clock.now += RETRY_SECONDS - 0.1
    assert worker.look(50) == "a"
    assert swaps("failed") - failed == 1
    clock.now += 0.2
    assert worker.look(50) == "a"
    assert swaps("failed") - failed == 2
    mend()
    assert worker.look(50) == "a", "it waits twice as long now"
    clock.now += 2 * RETRY_SECONDS
    assert worker.look() == "b"


def test_the_tries_come_less_and_less_often_but_do_not_end(place: Place, clock: Clock) -> None:
    worker, failed = place.worker(), swaps("failed")
    place.registry.promote("a", None)
    place.damage("a")
    tries = []
    for _ in range(250):
        before = swaps("failed")
        worker.look()
        if swaps("failed") > before:
            tries.append(clock.now)
        clock.now += RETRY_SECONDS
    waits = [second - first for first, second in itertools.pairwise(tries)]
    assert waits[:7] == [5, 10, 20, 40, 80, 160, LONGEST_RETRY_SECONDS]
    assert set(waits[7:]) == {LONGEST_RETRY_SECONDS}
    assert swaps("failed") - failed == len(tries)


def test_the_champion_after_a_damaged_one_does_not_wait(place: Place, clock: Clock) -> None:
    worker = place.worker()
    place.registry.promote("a", None)
    worker.look()
    place.registry.promote("b", "a")
    place.damage("b")
    assert worker.look() == "a"
    place.registry.promote("c", "b")
    assert worker.look() == "c"


def test_a_rollback_behind_a_damaged_champion_is_followed(place: Place, clock: Clock) -> None:
    worker = place.worker()
    place.registry.promote("a", None)
    worker.look()
    place.registry.promote("b", "a")
    place.damage("b")
    worker.look()
    place.registry.rollback()
    assert worker.look() == "a"


def test_without_any_champion_that_works_the_reason_is_said(place: Place, clock: Clock) -> None:
    worker = place.worker()
    place.registry.promote("a", None)
    place.damage("a")
    assert worker.look(3) is None
    assert "champion a cannot be served" in worker.watch.problem


def test_a_registry_that_cannot_be_read_leaves_what_answers(place: Place) -> None:
    worker = place.worker()
    place.registry.promote("a", None)
    worker.look()
    entry = place.store.root / "articles" / "ledger" / "00000002.json"
    entry.write_text("{")
    assert worker.look(3) == "a"
    assert "the registry cannot be read" in worker.watch.problem
    entry.unlink()
    place.registry.promote("b", "a")
    fresh = place.worker()
    assert fresh.look() == "b"


def test_a_store_that_fails_leaves_what_answers(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = place.worker()
    place.registry.promote("a", None)
    worker.look()
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "list", lambda *_: (_ for _ in ()).throw(OSError("stale file handle")))
        assert worker.look(3) == "a"
        assert "stale file handle" in worker.watch.problem
    place.registry.promote("b", "a")
    assert worker.look() == "b"


@pytest.mark.parametrize(
    ("answered", "failed", "seconds", "why"),
    [
        (100, 20, 1.0, "20.0% of 100 answers failed"),
        (100, 0, 2.5, "an input takes 2.5 times as long"),
    ],
)
def test_a_champion_on_probation_that_breaks_a_bound_is_rolled_back(
    place: Place, answered: int, failed: int, seconds: float, why: str
) -> None:
    worker, rolled_back = place.worker(), swaps("rolled_back")
    place.registry.promote("a", None)
    worker.look()
    worker.answers(1000, 0, 10.0)
    place.registry.promote("b", "a")
    assert worker.look() == "b"
    worker.answers(answered, failed, seconds)
    assert worker.look() == "a"
    assert place.events() == [("promoted", "a"), ("promoted", "b"), ("rolled_back", "a")]
    last = place.registry.history()[-1]
    assert last.reason.startswith(f"on probation {why}")
    costs = {"1": 1000 * seconds / answered}
    assert last.verdict == {"answered": answered, "failed": failed, "costs": costs}
    assert swaps("rolled_back") - rolled_back == 1
    worker.answers(1000, 1000, 100.0)  # who was rolled back to is on no probation
    assert worker.look(3) == "a"
    assert len(place.events()) == 3


def test_within_its_bounds_it_stays(place: Place) -> None:
    worker = place.worker()
    place.registry.promote("a", None)
    worker.look()
    worker.answers(1000, 0, 10.0)
    place.registry.promote("b", "a")
    worker.look()
    worker.answers(100, 5, 2.0)
    assert worker.look(3) == "b"
    assert len(place.events()) == 2


def test_the_first_champion_has_nobody_to_go_back_to(place: Place) -> None:
    worker = place.worker()
    place.registry.promote("a", None)
    worker.look()
    worker.answers(100, 100)
    assert worker.look(3) == "a"
    assert place.events() == [("promoted", "a")]


@pytest.mark.parametrize("seconds", [0, 60])
def test_probation_ends(place: Place, seconds: float) -> None:
    worker = place.worker(probation_seconds=seconds)
    long_ago = datetime.now(UTC) - timedelta(seconds=61)
    place.registry.promote("a", None, when=long_ago)
    place.registry.promote("b", "a", when=long_ago)
    worker.look()
    worker.answers(100, 100)
    assert worker.look(3) == "b"


def test_where_another_worker_was_first_there_is_one_rollback(place: Place) -> None:
    workers, rolled_back = [place.worker(), place.worker()], swaps("rolled_back")
    place.registry.promote("a", None)
    place.registry.promote("b", "a")
    for worker in workers:
        worker.look()
        worker.answers(100, 100)
    # Both judge what they saw of b before either has looked at the ledger again.
    for worker in workers:
        worker.watch._judge(worker.live)
    assert [worker.look() for worker in workers] == ["a", "a"]
    assert [event for event, _ in place.events()] == ["promoted", "promoted", "rolled_back"]
    assert swaps("rolled_back") - rolled_back == 1


def test_where_somebody_promoted_another_meanwhile_nothing_is_rolled_back(place: Place) -> None:
    worker = place.worker()
    place.registry.promote("a", None)
    place.registry.promote("b", "a")
    worker.look()
    worker.answers(100, 100)
    place.registry.promote("c", "b")
    worker.watch._judge(worker.live)
    assert worker.look() == "c"
    assert [event for event, _ in place.events()] == ["promoted"] * 3


def test_where_the_champion_before_is_damaged_this_one_goes_on_and_it_is_said(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    worker = place.worker()
    place.registry.promote("a", None)
    place.registry.promote("b", "a")
    worker.look()
    place.damage("a")
    worker.answers(100, 100)
    with caplog.at_level(logging.ERROR):
        assert worker.look(3) == "b"
    assert "b should go" in caplog.text
    assert len(place.events()) == 2


def test_a_rollback_that_failed_for_a_moment_is_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    worker = place.worker()
    place.registry.promote("a", None)
    place.registry.promote("b", "a")
    worker.look()
    worker.answers(100, 100)
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "create", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
        assert worker.look() == "b"
    clock.now += LONGEST_RETRY_SECONDS
    assert worker.look(2) == "a"


def test_a_thread_looks_until_it_is_closed(place: Place) -> None:
    place.registry.promote("a", None)
    worker = place.worker(serve_poll_seconds=0.01)
    worker.watch.start()
    assert worker.live.manifest.version == "a", "before anything is asked"
    try:
        place.registry.promote("b", "a")
        wait_until(lambda: worker.live.manifest.version == "b", "the swap")
    finally:
        worker.watch.close()
    assert not worker.watch._thread.is_alive()
