"""The outbox: in order, each thing once, kept whatever happens to the process."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from observability.errors import WatchkeeperError
from observability.slack.items import Alert
from observability.slack.outbox import MERGED_SECONDS, Outbox
from tests.slack import Clock, alert


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(tmp_path: Path, clock: Clock) -> Iterator[Outbox]:
    made = Outbox(tmp_path / "made" / "here", clock)
    yield made
    made.close()


def items(*numbers: int, status: str = "firing") -> list[Alert]:
    return [Alert.model_validate(alert(number, status)) for number in numbers]


def summaries(outbox: Outbox) -> list[str]:
    waiting = outbox.next()
    assert waiting is not None
    return [item["annotations"]["summary"] for item in json.loads(waiting.items)]


def test_first_in_first_out(outbox: Outbox) -> None:
    for number in (3, 1, 2):
        assert outbox.append(items(number)) == 1
    for number in (3, 1, 2):
        waiting = outbox.next()
        assert waiting is not None
        assert summaries(outbox) == [f"number {number}"]
        outbox.end(waiting.number)
    assert outbox.next() is None
    assert outbox.waiting() == (0, None)


def test_what_came_together_stays_together_without_what_is_known(outbox: Outbox) -> None:
    assert outbox.append(items(1, 2, 1)) == 2
    assert summaries(outbox) == ["number 1", "number 2"]
    assert outbox.append(items(2, 3)) == 1
    assert outbox.append(items(1, 2, 3)) == 0
    assert outbox.append([]) == 0
    assert outbox.waiting()[0] == 2


def test_what_has_ended_is_not_said_to_fire(outbox: Outbox) -> None:
    assert outbox.append(items(1, status="resolved")) == 1
    assert outbox.append(items(1)) == 0, "the request of its start was overtaken"
    assert outbox.append(items(2)) == 1


def test_the_end_of_an_alert_is_other_news_than_its_start(outbox: Outbox) -> None:
    assert outbox.append(items(1)) == 1
    assert outbox.append(items(1, status="resolved")) == 1
    again = Alert.model_validate(alert(1) | {"startsAt": "2026-11-22T03:00:00Z"})
    assert outbox.append([again]) == 1


def test_a_reminder_is_told_and_a_repetition_is_not(outbox: Outbox, clock: Clock) -> None:
    outbox.append(items(1))
    clock.now += 10 * MERGED_SECONDS
    assert outbox.append(items(1)) == 0, "it still waits"
    outbox.end(1)
    clock.now += MERGED_SECONDS - 1
    assert outbox.append(items(1)) == 0
    clock.now += 2
    assert outbox.append(items(1)) == 1
    assert outbox.next() is not None


def test_what_was_delivered_long_ago_takes_no_room(outbox: Outbox, clock: Clock) -> None:
    for number in range(50):
        outbox.append(items(number))
        outbox.end(number + 1)
        clock.now += MERGED_SECONDS / 10
    assert outbox._db.execute("SELECT count(*) FROM messages").fetchone()[0] <= 12
    assert outbox._db.execute("SELECT count(*) FROM keys").fetchone()[0] <= 12


def test_a_restart_changes_nothing(tmp_path: Path, clock: Clock) -> None:
    first = Outbox(tmp_path, clock)
    first.append(items(1, 2))
    first.append(items(3))
    first.postpone(1, clock.now + 30)
    before = first.next()
    first.close()
    second = Outbox(tmp_path, clock)
    assert second.next() == before
    assert before is not None
    assert (before.attempts, before.due) == (1, clock.now + 30)
    assert second.append(items(1, 2, 3)) == 0
    assert second.waiting() == (2, clock.now)
    second.close()


def test_numbers_are_never_used_again(outbox: Outbox, clock: Clock) -> None:
    outbox.append(items(1))
    outbox.end(1)
    clock.now += MERGED_SECONDS + 1
    outbox.append(items(2))
    waiting = outbox.next()
    assert waiting is not None
    assert waiting.number == 2


def test_one_process_has_a_folder(outbox: Outbox, tmp_path: Path) -> None:
    with pytest.raises(WatchkeeperError, match="here is in use by another process"):
        Outbox(tmp_path / "made" / "here")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_text("this is no database, and long enough to be seen as none " * 20)
    with pytest.raises(WatchkeeperError, match=r"outbox\.db: file is not a database; free space, or move"):
        Outbox(tmp_path)
