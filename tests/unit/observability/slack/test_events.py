"""Flow events leave by a thread, as the settings want them; no relay never stops a run, nor slows it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from observability import background
from observability.config import ObservabilitySettings
from observability.slack import events
from observability.slack.items import Event
from tests.factories import free_port, wait_until
from tests.slack import FakeSlack, Reply, fake_slack


def event(name: str = "etl", kind: str = "flow", event: str = "failure") -> Event:
    given = {"kind": kind, "name": name, "run": "r", "id": "1", "event": event, "when": datetime.now(UTC)}
    return Event.model_validate(given)


@pytest.fixture(autouse=True)
def teller() -> Iterator[None]:
    events.teller.cache_clear()
    yield
    events.teller().close()
    events.teller.cache_clear()


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSlack]:
    """Something that takes what the relay would."""
    with fake_slack(path="/events") as listening:
        monkeypatch.setenv("WATCHKEEPER_RELAY_PORT", str(listening.port))
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


def test_an_event_reaches_the_relay(relay: FakeSlack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("WATCHKEEPER_SLACK_EVENTS", json.dumps({"*": ["success"]}))
    events.tell(event(event="start"))
    events.tell(event(event="success"))
    wait_until(lambda: bool(relay.taken), "the event")
    assert [sent["event"] for sent in relay.taken] == ["success"]


@pytest.mark.parametrize("reply", [Reply(500), Reply(400), Reply(instead="reset")])
def test_a_relay_that_fails_is_no_error(monkeypatch: pytest.MonkeyPatch, reply: Reply) -> None:
    with fake_slack(lambda: reply) as listening:
        monkeypatch.setenv("WATCHKEEPER_RELAY_PORT", str(listening.port))
        monkeypatch.setenv("WATCHKEEPER_SLACK_EVENTS", json.dumps({"*": ["failure"]}))
        for _ in range(3):
            events.tell(event())
        events.teller().close()
        assert len(listening.paths) == 1, "after a failure it is quiet for a while"


def test_nobody_there_and_settings_that_cannot_be_read_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHKEEPER_RELAY_PORT", str(free_port()))
    monkeypatch.setenv("WATCHKEEPER_SLACK_EVENTS", json.dumps({"*": ["failure"]}))
    for _ in range(2 * background.WAITING):
        events.tell(event())
    monkeypatch.setenv("WATCHKEEPER_SLACK_EVENTS", "no json")
    events.tell(event())
    events.teller().close()
