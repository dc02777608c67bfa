"""Probation: whether a new champion has done so badly in live traffic that it goes."""

from dataclasses import dataclass

MINIMUM = 50
"""Answers before anything is judged: a share of fewer says little."""


@dataclass(frozen=True)
class Bounds:
    """What ends a probation: a share of failed answers, or a ratio of processor seconds an input."""

    errors: float
    latency: float


@dataclass(frozen=True)
class Record:
    """What a version did in one worker: inputs answered, those that failed, and seconds of the processor.

    Processor time, as time on the clock grows with the load, which a swap has no part in.
    """

    answered: int
    failed: int
    seconds: float

    def plus(self, answered: int, failed: int, seconds: float) -> "Record":
        """With a batch more."""
        return Record(self.answered + answered, self.failed + failed, self.seconds + seconds)


def judge(champion: Record, before: Record | None, bounds: Bounds) -> str | None:
    """Why the champion goes, or None.

    Args:
        champion: on probation.
        before: the champion before it, if this worker saw it.
        bounds: what is too bad.
    """
    if champion.answered < MINIMUM:
        return None
    share = champion.failed / champion.answered
    if share > bounds.errors:
        return f"{share:.1%} of {champion.answered} answers failed, more than {bounds.errors:.1%}"
    if before is None or before.answered < MINIMUM or before.seconds <= 0:
        return None
    ratio = (champion.seconds / champion.answered) / (before.seconds / before.answered)
    if ratio > bounds.latency:
        return f"an input takes {ratio:.1f} times as long as before, more than {bounds.latency:g}"
    return None
