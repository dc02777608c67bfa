import pytest

from services.bento import admission
from services.bento.admission import Admission


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(admission, "time", made)
    return made


def test_a_burst_is_let_in_up_to_its_bound(clock: Clock) -> None:
    door = Admission(queue=24, burst=96)
    assert [door.refuses(waiting) for waiting in (0, 23, 24, 60, 95, 96)] == [False] * 5 + [True]


def test_a_queue_that_stands_is_not(clock: Clock) -> None:
    door = Admission(queue=24, burst=96)
    assert not door.refuses(24)
    clock.now += 0.9
    assert not door.refuses(30)
    clock.now += 0.2
    assert door.refuses(24)
    assert not door.refuses(23), "what may wait always may wait now"
    assert door.refuses(24), "a small gap ends no overload"
    assert not door.refuses(6)
    assert not door.refuses(24), "an empty queue does"


def test_a_bound_below_the_queue_lets_no_burst_in(clock: Clock) -> None:
    door = Admission(queue=1, burst=1)
    assert [door.refuses(waiting) for waiting in (0, 1)] == [False, True]
