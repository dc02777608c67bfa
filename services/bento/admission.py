"""Who is let in: a burst is, a queue that stands is not; time tells them apart, as in CoDel, not length.

Source: Nichols, Jacobson, "Controlling Queue Delay", ACM Queue 10 (2012).
"""

import time
from dataclasses import dataclass, field

STANDING_SECONDS = 1.0
"""What is still full after so long is no burst."""


@dataclass
class Admission:
    """Tells whether the next input waits too long.

    Args:
        queue: inputs that may wait always.
        burst: inputs that may wait where the queue was not full for a second without a break.
    """

    queue: int
    burst: int
    _full_since: float | None = field(default=None, init=False)

    def refuses(self, waiting: int) -> bool:
        """Whether an input that finds so many others waiting has to go."""
        now = time.monotonic()
        if waiting >= self.queue:
            self._full_since = self._full_since or now
        elif waiting <= self.queue // 4:  # not at the first gap: an overload leaves many
            self._full_since = None
        if waiting < self.queue:
            return False
        return waiting >= self.burst or now - (self._full_since or now) >= STANDING_SECONDS
