"""Delivery: each message in its turn, with patience where the receiver asks for it, and none twice."""

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from observability.slack.delivery import LONGEST_BACKOFF, Delivery
from observability.slack.items import Alert
from observability.slack.outbox import KEPT_SECONDS, MERGED_SECONDS, Outbox
from observability.slack.senders import Answer
from tests.factories import wait_until
from tests.slack import LATER, OK, Clock, Receiver, alert

NEVER = Answer("refused", "400 invalid_payload")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(tmp_path: Path, clock: Clock) -> Iterator[Outbox]:
    made = Outbox(tmp_path, clock)
    for number in range(3):
        made.append([Alert.model_validate(alert(number))])
    yield made
    made.close()


def headlines(*numbers: int) -> list[str]:
    return [f"TICKET firing · TableStale: number {number}" for number in numbers]


def test_all_in_order(outbox: Outbox, clock: Clock) -> None:
    receiver = Receiver()
    delivery = Delivery(outbox, receiver, clock)
    assert [delivery.step() for _ in range(4)] == [True, True, True, False]
    assert receiver.got == headlines(0, 1, 2)
    assert delivery.outcomes == {"delivered": 3}


def test_waits_grow_to_a_ceiling_and_begin_anew_with_the_next_message(outbox: Outbox, clock: Clock) -> None:
    receiver = Receiver(*[LATER] * 9, OK, LATER)
    delivery, waits = Delivery(outbox, receiver, clock), []
    while len(receiver.got) < 2:
        if delivery.step():
            continue
        before, waiting = clock.now, outbox.next()
        assert waiting is not None
        waits.append(waiting.due - before)
        clock.now = waiting.due - 0.01
        assert not delivery.step()
        clock.now = waiting.due
    assert [wait for wait in waits if wait] == [1, 2, 4, 8, 16, 32, *[LONGEST_BACKOFF] * 3, 1]
    assert delivery.outcomes == {"delivered": 2, "retried": 10}


def test_retry_after_is_honoured(outbox: Outbox, clock: Clock) -> None:
    receiver = Receiver(Answer("later", "429", 30.0))
    delivery, began = Delivery(outbox, receiver, clock), clock.now
    delivery.step()
    clock.now = began + 29.9
    assert not delivery.step()
    clock.now = began + 30
    assert delivery.step()


def test_thousands_of_attempts_later_it_still_tries(outbox: Outbox, clock: Clock) -> None:
    outbox._db.execute("UPDATE messages SET attempts = 5000")
    clock.now += 90_000
    receiver = Receiver(LATER)
    delivery = Delivery(outbox, receiver, clock)
    assert not delivery.step()
    clock.now += LONGEST_BACKOFF
    assert delivery.step()
    assert receiver.got == ["[1d 1h late] " + headlines(0)[0]]


def test_what_is_refused_holds_nobody_up(
    outbox: Outbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver(OK, NEVER, NEVER)
    delivery = Delivery(outbox, receiver, clock)
    assert [delivery.step() for _ in range(4)] == [True, True, True, False]
    assert receiver.got == headlines(0, 2)
    assert delivery.outcomes == {"delivered": 2, "refused": 1}
    assert "message 2 was refused and is not tried again: 400 invalid_payload" in caplog.text


def test_of_what_is_refused_the_headline_is_told(outbox: Outbox, clock: Clock) -> None:
    receiver = Receiver(NEVER)
    delivery = Delivery(outbox, receiver, clock)
    assert delivery.step()
    assert receiver.got == headlines(0)
    assert receiver.parts == [[]]
    assert delivery.outcomes == {"delivered": 1}


@pytest.mark.parametrize("sender", [None, Receiver(*[LATER] * 9)])
def test_what_waits_for_a_week_is_given_up(
    outbox: Outbox, clock: Clock, sender: Receiver | None, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = Delivery(outbox, sender, clock)
    clock.now += KEPT_SECONDS
    assert not delivery.step()
    clock.now += 1
    outbox.append([Alert.model_validate(alert(3))])
    assert [delivery.step() for _ in range(4)] == [True, True, True, False]
    assert outbox.waiting() == (1, clock.now)
    assert delivery.outcomes["expired"] == 3
    assert "message 1 waited for 7d 1s in vain and is given up" in caplog.text
    clock.now += MERGED_SECONDS + 1
    outbox.append([Alert.model_validate(alert(4))])
    assert outbox._db.execute("SELECT count(*) FROM messages").fetchone() == (2,), "the disk is free again"


def test_of_too_many_the_newest_are_kept(
    outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("observability.slack.outbox.MOST_WAITING", 2)
    delivery = Delivery(outbox, None, clock)
    assert [delivery.step() for _ in range(2)] == [True, False]
    assert outbox.waiting()[0] == 2
    assert "number 0" not in (outbox.next() or pytest.fail("nothing waits")).items


def test_what_cannot_be_put_into_words_holds_nobody_up(outbox: Outbox, clock: Clock) -> None:
    outbox._db.execute("UPDATE messages SET items = '[{}]' WHERE number = 1")
    far = Alert.model_validate(alert(9) | {"startsAt": "0001-01-01T00:00:00+05:00"})
    outbox.append([far])
    receiver = Receiver()
    delivery = Delivery(outbox, receiver, clock)
    assert [delivery.step() for _ in range(5)] == [True] * 4 + [False]
    assert receiver.got == headlines(1, 2)
    assert delivery.outcomes["refused"] == 2


def test_late_ones_say_so(outbox: Outbox, clock: Clock) -> None:
    clock.now += 600
    receiver = Receiver()
    Delivery(outbox, receiver, clock).step()
    assert receiver.got == ["[10m late] " + headlines(0)[0]]


def test_the_same_reason_is_said_once(outbox: Outbox, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    delivery = Delivery(
        outbox, Receiver(LATER, LATER, LATER, Answer("later", "ReadTimeout"), OK, LATER), clock
    )
    for _ in range(8):
        delivery.step()
        clock.now += 100
    assert [record.message for record in caplog.records] == [
        "messages wait: 500; trying on",
        "messages wait: ReadTimeout; trying on",
        "messages wait: 500; trying on",
    ]


def test_without_a_sender_all_are_kept_and_that_is_said_once(
    outbox: Outbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = Delivery(outbox, None, clock, poll=0.001)
    delivery.start()
    assert not delivery.step()
    delivery.close()
    assert outbox.waiting()[0] == 3
    assert [record.message for record in caplog.records] == [
        "there is no address for messages: they are kept until the settings name one"
    ]


def test_a_disk_that_refuses_the_entry_makes_nothing_be_sent_twice(
    outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver, end = Receiver(), outbox.end

    def full(_: int) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    delivery = Delivery(outbox, receiver, clock)
    monkeypatch.setattr(outbox, "end", full)
    for _ in range(3):
        with pytest.raises(sqlite3.OperationalError):
            delivery.step()
    monkeypatch.setattr(outbox, "end", end)
    assert [delivery.step() for _ in range(4)] == [True, True, True, False]
    assert receiver.got == headlines(0, 1, 2)


def test_the_thread_survives_what_fails_and_says_no_more_than_its_kind(
    outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver, look = Receiver(), outbox.next
    failures = [OSError("http://h/T0SECRET")] * 2

    def sometimes() -> object:
        if failures:
            raise failures.pop()
        return look()

    monkeypatch.setattr(outbox, "next", sometimes)
    delivery = Delivery(outbox, receiver, clock, poll=0.001)
    delivery.start()
    wait_until(lambda: len(receiver.got) == 3, "all messages")
    alive = [delivery.alive]
    delivery.close()
    assert [*alive, delivery.alive] == [True, False]
    assert "delivery failed: OSError" in caplog.text
    assert "T0SECRET" not in caplog.text
