"""The dead-man's watcher: one message for a silence, one for its end, none again after a restart."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from observability.config import ObservabilitySettings
from observability.slack import watched as looked_at
from observability.slack.deadman import Watcher
from observability.slack.delivery import Delivery
from observability.slack.ending import STARTING_SECONDS, Ender, Process, write
from observability.slack.outbox import Outbox
from observability.slack.watched import Watched, healthy, kept, newest_sample, watched
from tests.factories import free_port
from tests.slack import LATER, Clock, Receiver

BOUND = 120.0


class House:
    """A watcher of one thing, which works until told otherwise."""

    def __init__(self, folder: Path, clock: Clock, receiver: Receiver, ender: Ender | None = None) -> None:
        self.clock, self.works, self.open = clock, True, True
        self.outbox = Outbox(folder, clock)
        self.delivery = Delivery(self.outbox, receiver, clock)
        part = Watched(
            "RelaySilent",
            "It is silent",
            "Look.",
            lambda: clock() if self.works else None,
            "http://h/R.md",
            "relay",
        )
        self.watcher = Watcher([part], self.outbox, folder / "told.json", BOUND, clock, ender)

    def go_on(self, seconds: float) -> None:
        for _ in range(round(seconds / 10)):
            self.clock.now += 10
            self.watcher.look()
            while self.delivery.step():
                pass

    def close(self) -> None:
        if self.open:
            self.outbox.close()
        self.open = False


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


@pytest.mark.parametrize("pager", ["grafana", "alertmanager"])
def test_what_sends_alerts_on_is_watched_by_what_prometheus_sees_of_it(
    monkeypatch: pytest.MonkeyPatch, pager: str
) -> None:
    settings = ObservabilitySettings(_env_file=None, pager=pager)  # type: ignore[call-arg, arg-type]
    sends, *others = watched(settings, lambda: 7.0)
    assert sends.name == f"{pager.capitalize()}Silent"
    assert not sends.quiet
    assert [part.name for part in others] == ["PrometheusSilent", "RelaySilent"]
    down = {f'up{{job="{pager}"}} == 0': 1.0}
    monkeypatch.setattr(looked_at, "newest_sample", lambda *given: down.get(given[-1]))
    assert sends.seen() is None
    down.clear()
    assert sends.seen() == 7.0


class Kept:
    """The watch's relay, as its file says, and an ender that keeps what it ended."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.clock, self.ended, self.parts = clock, 0, folder / "parts.json"
        self.begin()
        self.ender = Ender(self.parts, folder / "ended.json", clock, self.end)

    def begin(self) -> None:
        process = Process("relay", 1, f"as number {self.ended}", self.clock(), "http://127.0.0.1:9/")
        write(self.parts, [process])

    def end(self, process: Process) -> bool:
        self.ended += process.name == "relay"
        return True


@pytest.fixture
def hung(tmp_path: Path, receiver: Receiver) -> Iterator[tuple[House, Kept]]:
    clock = Clock()
    kept = Kept(tmp_path, clock)
    house = House(tmp_path, clock, receiver, kept.ender)
    house.go_on(600)
    house.works = False
    yield house, kept
    house.close()


def described(receiver: Receiver) -> list[str]:
    return [str(parts[0]) for parts in receiver.parts]


def test_what_hangs_is_ended_after_half_a_silence_and_that_is_told_once(
    hung: tuple[House, Kept], receiver: Receiver
) -> None:
    house, kept = hung
    house.go_on(BOUND / 2)
    assert (kept.ended, receiver.got) == (0, [])
    house.go_on(10)
    assert (kept.ended, receiver.got) == (1, [FIRING])
    assert "It hung and was ended, 1 of 3 times an hour; the watch begins it again." in described(receiver)[0]
    kept.begin()
    house.works = True
    house.go_on(10)
    assert receiver.got == [FIRING, RESOLVED]


def test_one_that_begins_has_longer_for_its_first_answer(hung: tuple[House, Kept]) -> None:
    house, kept = hung
    house.go_on(BOUND / 2 + 10)
    kept.begin()
    house.go_on(STARTING_SECONDS - 10)
    assert kept.ended == 1
    house.go_on(10)
    assert kept.ended == 2


def test_no_more_than_three_times_an_hour_and_the_limit_is_told(
    tmp_path: Path, hung: tuple[House, Kept], receiver: Receiver
) -> None:
    house, kept = hung

    def hang_again() -> None:
        kept.begin()
        house.works = True
        house.go_on(10)
        house.works = False
        house.go_on(BOUND / 2 + 10)

    house.go_on(BOUND / 2 + 10)
    hang_again()
    hang_again()
    assert kept.ended == 3
    hang_again()
    assert kept.ended == 3
    assert "ended 3 times within an hour, and is not again" in described(receiver)[-1]
    told = len(receiver.got)
    house.go_on(600)
    assert (kept.ended, len(receiver.got)) == (3, told)
    house.close()
    after = House(
        tmp_path, house.clock, receiver, Ender(kept.parts, tmp_path / "ended.json", house.clock, kept.end)
    )
    after.works = False
    after.go_on(BOUND + 10)
    assert kept.ended == 3, "a restart of the watcher does not begin the count anew"
    house.clock.now += 3600
    after.go_on(BOUND)
    assert kept.ended == 4
    after.close()


def test_what_nobody_keeps_is_not_ended(hung: tuple[House, Kept], receiver: Receiver) -> None:
    house, kept = hung
    kept.parts.unlink()
    house.go_on(BOUND + 10)
    assert (kept.ended, receiver.got) == (0, [FIRING])


def test_a_machine_that_slept_is_no_silence(hung: tuple[House, Kept], receiver: Receiver) -> None:
    house, kept = hung
    house.clock.now += 8 * 3600
    house.go_on(10)
    assert (kept.ended, receiver.got) == (0, [])


def test_further_parts_of_the_watch_are_told_where_something_is_done(
    tmp_path: Path, receiver: Receiver
) -> None:
    clock = Clock()
    relay = Kept(tmp_path, clock)
    parts = {part.part: part for part in kept(relay.ender, "http://h", clock)}
    assert parts.keys() == {"exporter", "statsd", "node"}
    assert all(part.seen() == clock() for part in parts.values()), "what nobody keeps is not silent"
    assert all(part.quiet for part in parts.values())
    with web(200, "") as url:
        write(relay.parts, [Process("exporter", 1, "now", clock(), url)])
        assert parts["exporter"].seen() == clock()
    assert parts["exporter"].seen() is None
