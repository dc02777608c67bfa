"""What makes the alerts on the relay fire, and another alert beside them, as in `causes.py`."""

import json

import httpx

from tests.slack import EVENT
from tests.stack.causes import Begun, stopped
from tests.stack.service_causes import service_down
from tests.stack.watching import Stack

POISON = "the words that Slack fails on"


def relay_down(stack: Stack) -> Begun:
    """The relay hangs, and then the service: both are told past it, the second once more by it."""
    (relay,) = stack.processes("flows.health.relay")
    service = service_down(stack)
    with stopped(relay):
        next(service)
        yield
        told = len(stack.slack.taken)
    until_told(stack, "PAGE firing · ServiceDown", told)
    next(service, None)


def slack_fails_on_one(stack: Stack) -> Begun:
    """Slack fails on one message alone: what came behind it waits, and goes out in its order at the end."""
    stack.slack.poison = POISON
    relay = f"http://127.0.0.1:{stack.settings.relay_port}/events"
    for number, reason in enumerate((POISON, "behind it")):
        event = EVENT | {"id": f"poisoned {number}", "reason": reason}
        httpx.post(relay, json=event, trust_env=False).raise_for_status()
    yield
    told = len(stack.slack.taken)
    stack.slack.poison = None
    until_told(stack, "behind it", told)
    both = [text for text in texts(stack, told) if POISON in text or "behind it" in text]
    assert [POISON in text for text in both] == [True, False], both


def until_told(stack: Stack, words: str, since: int) -> None:
    """Wait for a message, of those after the first so many."""
    stack.until(lambda: any(words in text for text in texts(stack, since)), words, 180)


def texts(stack: Stack, since: int) -> list[str]:
    """All that the messages say after the first so many."""
    return [json.dumps(body, ensure_ascii=False) for body in stack.slack.taken[since:]]
