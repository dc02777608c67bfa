"""When a champion on probation goes: just before its bounds it stays, just behind them it goes."""

import pytest

from services.bento.probation import MINIMUM, Bounds, Record, judge


def record(answered: int, failed: int, seconds: float, size: int = 1) -> Record:
    """Batches of one size."""
    return Record(answered, failed, {size: (answered, seconds)})


BOUNDS = Bounds(errors=0.05, latency=2.0)
STEADY = record(answered=1000, failed=0, seconds=10.0)  # 10 ms an input


def test_a_champion_without_a_fault_stays() -> None:
    assert judge(STEADY, STEADY, BOUNDS) is None
    assert judge(record(0, 0, 0.0), None, BOUNDS) is None


@pytest.mark.parametrize(
    ("champion", "goes"),
    [
        (record(MINIMUM - 1, MINIMUM - 1, 0.5), False),  # too few to say
        (record(MINIMUM, MINIMUM, 0.5), True),
        (record(100, 5, 1.0), False),
        (record(100, 6, 1.0), False),  # chance may do that
        (record(100, 20, 1.0), True),
        (record(10_000, 500, 100.0), False),
        (record(10_000, 600, 100.0), True),
    ],
)
def test_a_share_of_failed_answers_ends_it(champion: Record, goes: bool) -> None:
    for before in (None, STEADY):
        reason = judge(champion, before, BOUNDS)
        assert bool(reason) == goes
        if reason:
            assert f"of {champion.answered} answers failed, more than 5.0%" in reason


@pytest.mark.parametrize(
    ("champion", "before", "goes"),
    [
        (record(100, 0, 2.0), STEADY, False),
        (record(100, 0, 2.1), STEADY, True),
        (record(MINIMUM - 1, 0, 100.0), STEADY, False),
        (record(100, 0, 100.0), None, False),  # nothing to compare with
        (record(100, 0, 100.0), record(MINIMUM - 1, 0, 0.1), False),
        (record(100, 0, 100.0), record(MINIMUM, 0, 0.0), False),  # a clock that did not move
    ],
)
def test_seconds_an_input_end_it(champion: Record, before: Record | None, goes: bool) -> None:
    reason = judge(champion, before, BOUNDS)
    assert bool(reason) == goes
    if reason:
        assert reason.startswith("an input takes 2.1 times as long as")


def test_errors_are_said_first() -> None:
    reason = judge(record(100, 100, 100.0), STEADY, BOUNDS)
    assert reason
    assert reason.startswith("100.0% of 100 answers failed")


def test_batches_are_compared_with_batches_of_their_size() -> None:
    busy = Record(2000, 0, {8: (1900, 1.0), 1: (100, 0.5)})
    assert judge(record(100, 0, 0.5), busy, BOUNDS) is None, "alone, an input always took that long"
    assert judge(record(100, 0, 1.1), busy, BOUNDS)
    assert judge(record(100, 0, 9.9, size=3), busy, BOUNDS) is None, "a size that nobody saw before"
