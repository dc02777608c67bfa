"""What cannot be told holds nobody up: the process's end waits once, not again and again."""

import threading
import time

import pytest

from observability import background
from observability.background import Background


def seconds_to_close(stuck: "Background[int]") -> float:
    started = time.monotonic()
    stuck.close()
    return time.monotonic() - started


def test_the_end_does_not_wait_for_what_has_been_in_vain_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PATIENCE_SECONDS", 0.5)
    over = threading.Event()

    def hang(_: int) -> None:
        over.wait(30)

    stuck = Background("stuck", hang)
    stuck.put(1)
    assert seconds_to_close(stuck) > 0.3
    assert seconds_to_close(stuck) < 0.3
    over.set()


def test_after_a_success_the_end_is_patient_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "QUIET_SECONDS", 0.0)
    told: list[int] = []
    tried = threading.Event()

    def deliver(number: int) -> None:
        if number == 1:
            raise OSError("nobody listens")
        tried.wait(30)
        told.append(number)

    sender = Background("sender", deliver)
    for number in (1, 2, 3):
        sender.put(number)
    tried.set()
    sender.close()
    assert told == [2, 3]
