"""When a champion on probation goes: just before its bounds it stays, just behind them it goes."""

import pytest

from services.bento.probation import MINIMUM, Bounds, Record, judge

BOUNDS = Bounds(errors=0.05, latency=2.0)
STEADY = Record(answered=1000, failed=0, seconds=10.0)  # 10 ms an input


def test_a_champion_without_a_fault_stays() -> None:
    assert judge(STEADY, STEADY, BOUNDS) is None
    assert judge(Record(0, 0, 0.0), None, BOUNDS) is None


@pytest.mark.parametrize(
    ("champion", "goes"),
    [
        (Record(MINIMUM - 1, MINIMUM - 1, 0.5), False),  # too few to say
        (Record(MINIMUM, MINIMUM, 0.5), True),
        (Record(100, 5, 1.0), False),
        (Record(100, 6, 1.0), True),
        (Record(10_000, 500, 100.0), False),
        (Record(10_000, 501, 100.0), True),
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
        (Record(100, 0, 2.0), STEADY, False),
        (Record(100, 0, 2.1), STEADY, True),
        (Record(MINIMUM - 1, 0, 100.0), STEADY, False),
        (Record(100, 0, 100.0), None, False),  # nothing to compare with
        (Record(100, 0, 100.0), Record(MINIMUM - 1, 0, 0.1), False),
        (Record(100, 0, 100.0), Record(MINIMUM, 0, 0.0), False),  # a clock that did not move
    ],
)
def test_seconds_an_input_end_it(champion: Record, before: Record | None, goes: bool) -> None:
    reason = judge(champion, before, BOUNDS)
    assert bool(reason) == goes
    if reason:
        assert reason.startswith("an input takes 2.1 times as long as")


def test_errors_are_said_first() -> None:
    reason = judge(Record(100, 100, 100.0), STEADY, BOUNDS)
    assert reason
    assert reason.startswith("100.0% of 100 answers failed")
