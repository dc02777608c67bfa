"""The service's pace: what takes the real one a minute may take a second here."""

import threading
import time

EVERY_SECONDS = 0.05


class Clock:
    """Service seconds since the start; `speed` of them pass in a real one, and may be changed at any time."""

    def __init__(self, speed: float) -> None:
        self._speed, self._passed, self._since = speed, 0.0, time.monotonic()
        self._lock = threading.Lock()

    @property
    def speed(self) -> float:
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        with self._lock:
            now = time.monotonic()
            self._passed += (now - self._since) * self._speed
            self._speed, self._since = speed, now

    def now(self) -> float:
        with self._lock:
            return self._passed + (time.monotonic() - self._since) * self._speed

    def wait(self, seconds: float, *events: threading.Event) -> bool:
        """Let service seconds pass; True as soon as one of the events is set."""
        until = self.now() + seconds
        while not any(event.is_set() for event in events):
            left = (until - self.now()) / self._speed
            if left <= 0:
                return False
            time.sleep(min(left, EVERY_SECONDS))
        return True
