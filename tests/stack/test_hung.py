"""A part of the real watch that hangs is ended by the dead-man's watcher and begun again by the watch."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from observability.slack.ending import MOST
from tests.slack import fake_slack
from tests.stack.causes import stopped
from tests.stack.programs import is_good, needs
from tests.stack.watching import Stack

pytestmark = [
    needs("prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "statsd_exporter"),
    pytest.mark.timeout(900),
]
RESOLVED = "PAGE resolved · RelaySilent"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with fake_slack() as slack:
        made = Stack(tmp_path, slack)
        made.contracts.mkdir()
        made.environment["WATCHKEEPER_DEADMAN_SECONDS"] = "40"
        with made.watched():
            yield made


def processes(stack: Stack) -> dict[str, Any]:
    """What the watch says its parts are."""
    path = stack.settings.run / "watch" / "parts.json"
    return {each["name"]: each for each in json.loads(path.read_text())} if path.exists() else {}


def test_a_relay_that_hangs_comes_back_until_it_has_hung_too_often(stack: Stack) -> None:
    health = f"http://127.0.0.1:{stack.settings.relay_port}/healthz"
    stack.until(lambda: "relay" in processes(stack) and is_good(health), "the relay", 240)
    names = {"prometheus", "alertmanager", "node", "statsd", "relay", "exporter"}
    assert processes(stack).keys() == names
    others = {name: said["pid"] for name, said in processes(stack).items() if name != "relay"}

    for time in range(1, MOST + 1):
        hang(stack, f"ended, {time} of {MOST}")
        stack.until(lambda: is_good(health), "the relay's return", 180)
        told_again(stack, time)
    hang(stack, f"ended {MOST} times within an hour, and is not again")
    assert {name: said["pid"] for name, said in processes(stack).items() if name != "relay"} == others


def hang(stack: Stack, words: str) -> None:
    """The relay does, until Slack is told this."""
    with stopped(psutil.Process(processes(stack)["relay"]["pid"])):
        stack.until(
            lambda: any(words in json.dumps(body, ensure_ascii=False) for body in stack.slack.taken),
            words,
            180,
        )


def told_again(stack: Stack, times: int) -> None:
    """Slack is told so often that it is back."""
    stack.until(lambda: sum(RESOLVED in text for text in texts(stack)) == times, "word of its return", 180)


def texts(stack: Stack) -> list[str]:
    """Headlines of the relay's form; Alertmanager's own have none."""
    return [body["text"] for body in stack.slack.taken if "text" in body]
