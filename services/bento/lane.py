"""A queue and the one thread that works through it."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

LOG = logging.getLogger("watchkeeper.serve")
MOST_LATER = 16
"""What may be put off; more of it is done though items wait."""
T = TypeVar("T")


class Lane(Generic[T]):
    """Hands what waits to `work`, up to `batch` items at once; what it raises is logged and ends nothing."""

    def __init__(self, name: str, batch: int, work: Callable[[list[T]], None]) -> None:
        self._batch, self._work = batch, work
        self._queue: deque[T] = deque()
        self._later: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._since: float | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def busy_seconds(self) -> float:
        """How long the items of now have been in work; 0 where none are."""
        since = self._since
        return time.monotonic() - since if since else 0.0

    def put(self, item: T) -> None:
        """Queue an item."""
        with self._wake:
            self._queue.append(item)
            self._wake.notify()

    def later(self, task: Callable[[], None]) -> None:
        """From within `work`: do this when nothing waits."""
        self._later.append(task)

    def close(self) -> None:
        """Work off what waits, and end the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(10)

    def _run(self) -> None:
        while task := self._next():
            self._since = time.monotonic()
            try:
                task()
            except Exception:
                LOG.exception("%s failed", self._thread.name)
            self._since = None

    def _next(self) -> Callable[[], None] | None:
        """What to do now; None when all is done and the lane is closed."""
        with self._wake:
            self._wake.wait_for(lambda: self._queue or self._later or self._closed)
            if self._later and (not self._queue or len(self._later) >= MOST_LATER):
                return self._later.popleft()
            if not self._queue:
                return None
            items = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
        return lambda: self._work(items)
