"""Probation: whether a new champion has done so badly in live traffic that it goes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

MINIMUM = 50
"""Answers before anything is judged: a share of fewer says little."""
Z = 3.0
"""Standard errors: a champion is looked at again and again, and chance must not end it."""


@dataclass(frozen=True)
class Bounds:
    """What ends a probation: a share of failed answers, or a ratio of processor seconds an input."""

    errors: float
    latency: float


@dataclass(frozen=True)
class Record:
    """What a version did in one worker: inputs answered, those that failed, and what each size of batch cost.

    `costs` maps a batch's size to inputs and seconds of the processor: time on the clock grows with the load,
    and so does the batch, which makes an input cheaper; a swap has no part in either.
    """

    answered: int = 0
    failed: int = 0
    costs: Mapping[int, tuple[int, float]] = field(default_factory=dict)

    def plus(self, size: int, failed: int, seconds: float) -> "Record":
        """With a batch of this size more."""
        inputs, spent = self.costs.get(size, (0, 0.0))
        costs = {**self.costs, size: (inputs + size, spent + seconds)}
        return Record(self.answered + size, self.failed + failed, costs)


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
    if at_least(champion.failed, champion.answered) > bounds.errors:
        return f"{share:.1%} of {champion.answered} answers failed, more than {bounds.errors:.1%}"
    ratio = times_as_long(champion, before) if before else None
    if ratio and ratio > bounds.latency:
        return f"an input takes {ratio:.1f} times as long as before, more than {bounds.latency:g}"
    return None


def at_least(failed: int, answered: int) -> float:
    """The lower end of Wilson's interval for a share (Wilson, "Probable inference", 1927)."""
    share, spread = failed / answered, Z * Z / answered
    half = Z * math.sqrt(share * (1 - share) / answered + spread / (4 * answered))
    return (share + spread / 2 - half) / (1 + spread)


def times_as_long(champion: Record, before: Record) -> float | None:
    """Processor time an input by that of the version before, at batch sizes that both have seen enough of."""
    spent = expected = 0.0
    for size, (inputs, seconds) in champion.costs.items():
        inputs_before, seconds_before = before.costs.get(size, (0, 0.0))
        if min(inputs, inputs_before) >= MINIMUM:
            spent += seconds
            expected += inputs * seconds_before / inputs_before
    return spent / expected if expected > 0 else None
