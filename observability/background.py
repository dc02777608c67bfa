"""Telling others what happens here, at no cost: nobody waits, and what cannot be told is lost."""

import atexit
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from typing import Generic, TypeVar

T = TypeVar("T")
WAITING = 1000
"""What may wait for a thread."""
QUIET_SECONDS = 10.0
"""For which nothing is tried after a failure."""
PATIENCE_SECONDS = 1.0
"""Of a connection, and of the process's end for what still waits; not where it has been in vain so long."""
AT_LEAST_SECONDS = 0.02
"""Of the process's end: what listens on this machine takes less."""


class Background(Generic[T]):
    """One thread that delivers what it is given, in its order; what waits beyond a bound is lost.

    Args:
        name: the thread's.
        deliver: one thing; after an OSError, ValueError or HTTPException nothing is tried for a while.
    """

    def __init__(self, name: str, deliver: Callable[[T], None]) -> None:
        self._deliver = deliver
        self._waiting: queue.Queue[T | None] = queue.Queue(WAITING)
        self._vain_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def put(self, thing: T) -> None:
        """Have it delivered some time soon, or never."""
        with suppress(queue.Full):
            self._waiting.put_nowait(thing)

    def close(self) -> None:
        """Deliver what waits, with patience."""
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
        vain = 0.0 if self._vain_since is None else time.monotonic() - self._vain_since
        self._thread.join(max(AT_LEAST_SECONDS, PATIENCE_SECONDS - vain))

    def _run(self) -> None:
        quiet_until = 0.0
        while (thing := self._waiting.get()) is not None:
            if time.monotonic() < quiet_until:
                continue
            if self._vain_since is None:
                self._vain_since = time.monotonic()
            try:
                self._deliver(thing)
                self._vain_since = None
            except (OSError, ValueError, HTTPException):  # ValueError: not even the form of a host name
                quiet_until = time.monotonic() + QUIET_SECONDS
