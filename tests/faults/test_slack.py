"""Slack fails for ten minutes while 200 alerts come and the relay is killed: none is lost.

At most one in a hundred comes twice. The minutes are those of a clock that the test moves, in a file that the
relay's process reads.
"""

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from flows.config import CHECKOUT
from tests.factories import free_port, wait_until
from tests.slack import EVENT, FakeSlack, Reply, alert, fake_slack, group

ALERTS = 200
OUTAGE_SECONDS = 600.0
FAILURES = [
    Reply(429, "rate_limited", {"retry-after": "30"}),
    Reply(500),
    Reply(instead="hang"),
    Reply(instead="reset"),
    Reply(503),
]


class House:
    """A relay's folder, its clock and the Slack that it speaks to; the relay may die at any time."""

    def __init__(self, folder: Path, slack: FakeSlack) -> None:
        self.folder, self.slack, self.port = folder, slack, free_port()
        self.clock, self.now, self.works = folder / "clock", 0.0, False
        self.move(0)
        self.relay: subprocess.Popen[bytes] | None = None

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        new = self.clock.with_suffix(".new")
        new.write_text(str(self.now))
        new.replace(self.clock)

    def start(self) -> None:
        ours = {
            "WATCHKEEPER_RELAY_PORT": str(self.port),
            "WATCHKEEPER_SLACK_WEBHOOK": self.slack.url,
            "PYTHONPATH": str(CHECKOUT),
        }
        command = [
            sys.executable,
            "-m",
            "tests.faults.relay_process",
            str(self.folder / "outbox"),
            str(self.clock),
        ]
        self.relay = subprocess.Popen(command, env=os.environ | ours)
        wait_until(lambda: self.get("/healthz") is not None, "the relay")

    def kill(self) -> None:
        """As a machine does that loses its power."""
        if self.relay:
            self.relay.kill()
            self.relay.wait()

    def tell(self, number: int) -> None:
        """As Alertmanager does: until it is acknowledged, and once more as if the answer had been lost."""
        sent = httpx.post(f"http://127.0.0.1:{self.port}/alerts", json=group(alert(number)), trust_env=False)
        assert sent.json() == {"new": 1, "known": 0}
        if number % 10 == 0:
            again = httpx.post(
                f"http://127.0.0.1:{self.port}/alerts", json=group(alert(number)), trust_env=False
            )
            assert again.json() == {"new": 0, "known": 1}

    def get(self, path: str) -> str | None:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False).text
        except httpx.HTTPError:
            return None

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Let time pass until then."""

        def later() -> bool:
            self.move(5)
            return condition()

        wait_until(later, what)


@contextmanager
def house(folder: Path) -> Iterator[House]:
    replies = itertools.cycle(FAILURES)
    made: list[House] = []

    def reply() -> Reply:
        return Reply() if made[0].works else next(replies)

    with fake_slack(reply) as slack:
        made.append(House(folder, slack))
        made[0].start()
        try:
            yield made[0]
        finally:
            made[0].kill()


@pytest.mark.slow
def test_ten_minutes_of_failures_and_two_deaths_lose_nothing(tmp_path: Path) -> None:
    with house(tmp_path) as here:
        slack = here.slack
        for number in range(ALERTS):
            here.tell(number)
            here.move(OUTAGE_SECONDS / ALERTS)
            if number == ALERTS // 2:
                here.kill()
                here.start()
        here.until(lambda: len(slack.paths) >= 2 * len(FAILURES), "each failure, twice")
        assert here.now >= OUTAGE_SECONDS
        assert not slack.taken

        here.works = True
        here.until(lambda: len(slack.taken) >= ALERTS // 2, "half of the messages")
        here.kill()
        here.start()
        here.until(lambda: "waiting_messages 0.0" in (here.get("/metrics") or ""), "the other half")

    texts = slack.texts()
    numbers = [text.rpartition(": ")[2] for text in texts]  # how late it is differs from one to the next
    once = list(dict.fromkeys(numbers))
    assert once == [f"number {number}" for number in range(ALERTS)]
    assert len(texts) - len(once) <= ALERTS // 100
    assert all(text.startswith("[") and " late] " in text for text in texts[: ALERTS // 2])


def test_what_runs_told_while_the_relay_was_down_is_told_late_and_once(tmp_path: Path) -> None:
    with house(tmp_path) as here:
        here.works = True
        here.kill()
        tell_and_die(here, "1", "2")
        tell_and_die(here, "3")
        here.now = datetime.fromisoformat(EVENT["when"]).timestamp()
        here.move(3600)
        here.start()
        here.until(lambda: len(here.slack.taken) >= 1, "the first")
        here.kill()
        tell_and_die(here, "4", "2")
        here.start()
        here.until(lambda: len(here.slack.taken) >= 4, "all")
        here.until(lambda: not any((tmp_path / "events").iterdir()), "the folder to be empty")
        here.until(lambda: "waiting_messages 0.0" in (here.get("/metrics") or ""), "the outbox to be empty")
    texts = [json.dumps(body) for body in here.slack.taken]
    numbers = [found[1] for text in texts if (found := re.search(r"number (\d)", text))]
    assert list(dict.fromkeys(numbers)) == ["1", "2", "3", "4"]
    assert len(numbers) <= 5, "only the one that was under way when the relay died may come twice"
    assert all(text.startswith("[1h") and " late] " in text for text in here.slack.texts())


def tell_and_die(here: House, *ids: str) -> None:
    """A run ends while the relay is down, and its process is killed."""
    environment = os.environ | {"WATCHKEEPER_RELAY_PORT": str(here.port), "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "tests.faults.telling", str(here.folder / "events"), *ids]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"told\n"
        process.kill()
