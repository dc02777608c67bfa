"""Slack fails for ten minutes while 200 alerts come and the relay is killed: none is lost.

At most one in a hundred comes twice. The minutes are those of a clock that the test moves, in a file that the
relay's process reads.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from flows.config import CHECKOUT
from tests.factories import free_port, wait_until
from tests.slack import FakeSlack, Reply, alert, fake_slack, group

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
