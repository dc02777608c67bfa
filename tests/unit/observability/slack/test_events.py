"""Flow events leave by a thread, as the settings want them; what no relay takes lies on disk."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from observability.config import ObservabilitySettings
from observability.slack import events
from observability.slack.events import Teller
from observability.slack.items import Event
from observability.slack.outbox import Outbox
from observability.slack.spool import MOST, Intake, Spool
from tests.factories import free_port, wait_until
from tests.slack import FakeSlack, Reply, fake_slack


def event(name: str = "etl", kind: str = "flow", event: str = "failure", **more: str) -> Event:
    given = {"kind": kind, "name": name, "run": "r", "id": "1", "event": event, "when": datetime.now(UTC)}
    return Event.model_validate(given | more)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Callable[..., Teller]]:
    """Makes who tells a relay at a port of what the settings want."""
    made: list[Teller] = []

    def teller(port: int, **wanted: list[str]) -> Teller:
        chosen = {"*": ["failure"]} | wanted
        settings = ObservabilitySettings(_env_file=None, relay_port=port, slack_events=chosen)  # type: ignore[call-arg, arg-type]
        made.append(Teller(settings, tmp_path / "run" / "events"))
        return made[-1]

    yield teller
    for each in made:
        each.close()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "run" / "events")


@pytest.fixture
def relay() -> Iterator[FakeSlack]:
    """Something that takes what the relay would."""
    with fake_slack(path="/events") as listening:
        yield listening


@pytest.mark.parametrize(
    ("settings", "wanted", "unwanted"),
    [
        (
            {"*": ["failure"]},
            [event()],
            [event(event="start"), event(event="success"), event("land", "task")],
        ),
        ({"etl": ["success"]}, [event(event="success")], [event(), event("drift")]),
        ({"*": ["start"], "etl": []}, [event("drift", event="start")], [event(), event(event="start")]),
        ({"land": ["failure"]}, [event("land", "task")], [event(), event("land", "task", "success")]),
        ({}, [], [event(), event("land", "task")]),
    ],
)
def test_the_settings_choose(settings: dict[str, Any], wanted: list[Event], unwanted: list[Event]) -> None:
    chosen = ObservabilitySettings(_env_file=None, slack_events=settings)  # type: ignore[call-arg]
    assert [each for each in wanted + unwanted if events.wanted(chosen, each)] == wanted


def test_an_event_reaches_the_relay(
    relay: FakeSlack, told: Callable[..., Teller], spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    teller = told(relay.port, etl=["success"])
    teller.tell(event(event="start"))
    teller.tell(event(event="success"))
    wait_until(lambda: not spool.waiting() and bool(relay.taken), "the event")
    assert [sent["event"] for sent in relay.taken] == ["success"]


@pytest.mark.parametrize("reply", [Reply(500), Reply(404), Reply(instead="reset")])
def test_a_relay_that_fails_is_no_error_and_gets_it_later(
    told: Callable[..., Teller], spool: Spool, reply: Reply
) -> None:
    with fake_slack(lambda: reply, "/events") as listening:
        teller = told(listening.port)
        for number in range(3):
            teller.tell(event(id=str(number)))
        teller.close()
        assert len(listening.paths) == 1, "after a failure it is quiet for a while"
    assert len(spool.waiting()) == 3
    with fake_slack(path="/events") as listening:
        told(listening.port).tell(event(id="3"))
        wait_until(lambda: not spool.waiting(), "the events")
    assert [sent["id"] for sent in listening.taken] == ["0", "1", "2", "3"]


def test_what_the_relay_will_never_take_holds_up_nothing(told: Callable[..., Teller], spool: Spool) -> None:
    replies = iter([Reply(400)])
    with fake_slack(lambda: next(replies, Reply()), "/events") as listening:
        teller = told(listening.port)
        for number in range(2):
            teller.tell(event(id=str(number)))
        wait_until(lambda: not spool.waiting(), "the events")
    assert [sent["id"] for sent in listening.taken] == ["1"]


def test_nobody_there_is_no_error_and_the_newest_are_kept(told: Callable[..., Teller], spool: Spool) -> None:
    teller = told(free_port())
    for number in range(MOST + 5):
        teller.tell(event(id=str(number)))
    teller.close()
    kept = [json.loads(path.read_text())["id"] for path in spool.waiting()]
    assert kept == [str(number) for number in range(5, MOST + 5)]


def test_a_disk_that_takes_nothing_is_no_error(
    relay: FakeSlack, told: Callable[..., Teller], tmp_path: Path
) -> None:
    (tmp_path / "run").write_text("no folder")
    told(relay.port).tell(event())
    wait_until(lambda: bool(relay.taken), "the event")


def test_bytes_that_are_no_text_are_told(relay: FakeSlack, told: Callable[..., Teller]) -> None:
    told(relay.port).tell(event(reason="no such file: caf\udce9.csv"))
    wait_until(lambda: bool(relay.taken), "the event")
    assert relay.taken[0]["reason"] == "no such file: caf?.csv"


def test_the_relay_looks_for_what_it_missed(tmp_path: Path, spool: Spool) -> None:
    for number in range(3):
        spool.keep(event(id=str(number)))
    spool.waiting()[1].write_text("half of")
    woken = threading.Event()
    with closing(Outbox(tmp_path / "outbox")) as outbox:
        intake = Intake(spool, outbox, woken.set, seconds=0.01)
        intake.start()
        wait_until(lambda: not spool.waiting(), "the look")
        assert woken.is_set()
        spool.keep(event(id="3"))
        spool.keep(event(id="2"))
        wait_until(lambda: not spool.waiting(), "the next look")
        intake.close()
        assert outbox.waiting()[0] == 3, "what cannot be read is dropped, what is known is not told again"


def test_the_relay_keeps_what_its_disk_does_not_take(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.keep(event())
    tried = threading.Event()
    with closing(Outbox(tmp_path / "outbox")) as outbox:
        taken = outbox.append

        def full(_: object) -> int:
            tried.set()
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(outbox, "append", full)
        intake = Intake(spool, outbox, lambda: None, seconds=0.01)
        intake.start()
        wait_until(tried.is_set, "the look")
        assert spool.waiting()
        monkeypatch.setattr(outbox, "append", taken)
        wait_until(lambda: not spool.waiting(), "the next look")
        intake.close()
