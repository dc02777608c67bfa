"""A lane's one thread: batches in their order, what was put off when nothing waits, all of it at the end."""

import threading

from services.bento.lane import MOST_LATER, Lane


class Worker:
    """A lane whose work waits for a gate, and puts something off."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.gate, self.begun = threading.Event(), threading.Event()
        self.lane: Lane[int] = Lane("test", 2, self.work)

    def work(self, items: list[int]) -> None:
        self.begun.set()
        assert self.gate.wait(30)
        self.done.append(f"work {items}")
        self.lane.later(lambda: self.done.append(f"after {items}"))
        if items == [13]:
            raise ValueError("unlucky")


def test_what_is_put_off_waits_for_those_who_wait() -> None:
    worker = Worker()
    worker.lane.put(0)
    assert worker.begun.wait(30)
    for item in (1, 2, 3):
        worker.lane.put(item)
    worker.gate.set()
    worker.lane.close()
    worked = ["work [0]", "work [1, 2]", "work [3]"]
    assert worker.done == [*worked, "after [0]", "after [1, 2]", "after [3]"]


def test_what_is_put_off_is_bounded() -> None:
    worker = Worker()
    worker.lane.put(0)
    assert worker.begun.wait(30)
    for item in range(1, 4 * MOST_LATER):
        worker.lane.put(item)
    worker.gate.set()
    worker.lane.close()
    ahead = 0
    for line in worker.done:
        ahead += 1 if line.startswith("work") else -1
        assert ahead <= MOST_LATER
    assert ahead == 0


def test_work_that_raises_ends_nothing() -> None:
    worker = Worker()
    worker.lane.put(13)
    assert worker.begun.wait(30)
    worker.lane.put(14)
    worker.gate.set()
    worker.lane.close()
    assert worker.done == ["work [13]", "work [14]", "after [13]", "after [14]"]


def test_a_lane_says_how_long_it_is_at_one_thing() -> None:
    worker = Worker()
    assert worker.lane.busy_seconds == 0
    worker.lane.put(0)
    assert worker.begun.wait(30)
    assert worker.lane.busy_seconds > 0
    worker.gate.set()
    worker.lane.close()
    assert worker.lane.busy_seconds == 0
