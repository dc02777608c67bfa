"""The dead-man's watcher: one message for a silence, one for its end, none again after a restart."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from observability.config import ObservabilitySettings
from observability.slack import deadman
from observability.slack.deadman import Watched, Watcher, healthy, newest_sample, watched
from observability.slack.delivery import Delivery
from observability.slack.outbox import Outbox
from tests.factories import free_port
from tests.slack import LATER, Clock, Receiver

BOUND = 120.0


class House:
    """A watcher of one thing, which works until told otherwise."""

    def __init__(self, folder: Path, clock: Clock, receiver: Receiver) -> None:
        self.clock, self.works = clock, True
        self.outbox = Outbox(folder, clock)
        self.delivery = Delivery(self.outbox, receiver, clock)
        part = Watched(
            "RelaySilent", "It is silent", "Look.", lambda: clock() if self.works else None, "http://h/R.md"
        )
        self.watcher = Watcher([part], self.outbox, folder / "told.json", BOUND, clock)

    def go_on(self, seconds: float) -> None:
        for _ in range(round(seconds / 10)):
            self.clock.now += 10
            self.watcher.look()
            while self.delivery.step():
                pass

    def close(self) -> None:
        self.outbox.close()


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def house(tmp_path: Path, receiver: Receiver) -> Iterator[House]:
    made = House(tmp_path, Clock(), receiver)
    yield made
    made.close()


FIRING, RESOLVED = "PAGE firing · RelaySilent: It is silent", "PAGE resolved · RelaySilent: It is silent"


def test_once_when_it_is_silent_and_once_when_it_is_back(house: House, receiver: Receiver) -> None:
    house.go_on(600)
    house.works = False
    house.go_on(BOUND)
    assert receiver.got == []
    house.go_on(10)
    assert receiver.got == [FIRING]
    house.go_on(7200)
    assert receiver.got == [FIRING]
    house.works = True
    house.go_on(10)
    assert receiver.got == [FIRING, RESOLVED]
    house.go_on(600)
    house.works = False
    house.go_on(BOUND + 10)
    assert receiver.got == [FIRING, RESOLVED, FIRING]


def test_a_short_silence_is_no_news(house: House, receiver: Receiver) -> None:
    for _ in range(5):
        house.works = False
        house.go_on(BOUND)
        house.works = True
        house.go_on(10)
    assert receiver.got == []


def test_a_restart_repeats_nothing_and_knows_that_it_is_over(tmp_path: Path, receiver: Receiver) -> None:
    first = House(tmp_path, Clock(), receiver)
    first.works = False
    first.go_on(BOUND + 10)
    first.close()
    clock = Clock()
    clock.now = first.clock.now + 5 * 3600
    second = House(tmp_path, clock, receiver)
    second.works = False
    second.go_on(10 * BOUND)
    assert receiver.got == [FIRING]
    second.works = True
    second.go_on(10)
    assert receiver.got == [FIRING, RESOLVED]
    second.close()
    third = House(tmp_path, clock, receiver)
    third.go_on(600)
    assert len(receiver.got) == 2
    third.close()


def test_after_a_machines_restart_a_silence_counts_from_then(tmp_path: Path, receiver: Receiver) -> None:
    clock = Clock()
    House(tmp_path, clock, receiver).close()
    clock.now += 86_400
    house = House(tmp_path, clock, receiver)
    house.works = False
    house.go_on(BOUND)
    assert receiver.got == []
    house.close()


def test_it_tries_until_it_gets_through(tmp_path: Path) -> None:
    receiver = Receiver(*[LATER] * 10)
    house = House(tmp_path, Clock(), receiver)
    house.works = False
    house.go_on(BOUND + 3600)
    (said,) = receiver.got
    assert said.endswith(f"late] {FIRING}")
    house.close()


@contextmanager
def web(status: int, body: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def vector(*samples: object) -> str:
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": samples}})


@pytest.mark.parametrize(
    ("status", "body", "seen"),
    [
        (200, vector({"metric": {}, "value": [1700000100.0, "1700000090.5"]}), 1700000090.5),
        (200, vector(), None),
        (200, "no json", None),
        (200, "[]", None),
        (200, "null", None),
        (200, vector({"value": []}), None),
        (503, vector({"metric": {}, "value": [1700000100.0, "1700000090.5"]}), None),
    ],
)
def test_what_prometheus_says(status: int, body: str, seen: float | None) -> None:
    with web(status, body) as url:
        assert newest_sample(url) == seen


def test_who_does_not_answer_was_not_seen() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert newest_sample(url) is None
    assert not healthy(url)
    with web(503, "") as url:
        assert not healthy(url)
    with web(200, "") as url:
        assert healthy(url)


def test_grafana_is_watched_where_it_evaluates_and_prometheus_sees_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = ObservabilitySettings(_env_file=None, pager="grafana")  # type: ignore[call-arg]
    grafana, *others = watched(settings, lambda: 7.0)
    assert grafana.name == "GrafanaSilent"
    assert [part.name for part in others] == [
        part.name for part in watched(settings.model_copy(update={"pager": "alertmanager"}))
    ]
    down: float | None = 1.0
    monkeypatch.setattr(deadman, "newest_sample", lambda *_: down)
    assert grafana.seen() is None
    down = None
    assert grafana.seen() == 7.0
