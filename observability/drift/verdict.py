"""The verdict on a window beside a reference: whether it has changed, in which columns, and how sure that is.

A threshold is what distances reach between whole periods of the reference itself: some of its periods are
held out as if they were the window, again and again. Rows of one day are alike, so thresholds from single
rows would flag nearly every day. `docs/adr/0011-drift-verdict.md` says why each step is as it is.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from observability.drift.distances import Distance
from observability.drift.profiles import Floats, Ints, Profile
from observability.drift.thresholds import (
    apart,
    false_discovery,
    held_out,
    held_out_size,
    null,
    p_value,
    threshold,
    together,
)

Outcome = Literal["none", "suspected", "confirmed", "not_enough_data", "error"]
LAST, AGREEING = 3, 2
"""`AGREEING` of the last `LAST` periods confirm what the window says."""


@dataclass(frozen=True)
class Policy:
    """What a verdict asks for.

    Attributes:
        false_discovery_ratio: of the columns that are called drifted, the share that may be by chance.
        min_rows: of the reference and of the current window; below, there is no verdict.
        min_period_rows: of a period that is judged by itself; quieter ones are taken together.
        min_periods: of the reference.
        resamples: windows held out of the reference.
    """

    false_discovery_ratio: float = 0.01
    min_rows: int = 100
    min_period_rows: int = 30
    min_periods: int = 7
    resamples: int = 400


@dataclass(frozen=True)
class ColumnVerdict:
    """One column, or one group of columns that are watched together."""

    score: float
    threshold: float
    drifted: bool
    test: str
    why: str


@dataclass(frozen=True)
class PeriodVerdict:
    """One of the last periods of the current window, judged by itself."""

    start: str
    rows: int
    drifted: list[str]


@dataclass(frozen=True)
class Verdict:
    """What came of a comparison."""

    outcome: Outcome
    reason: str
    rows: dict[str, int]
    columns: dict[str, ColumnVerdict] = field(default_factory=dict)
    periods: list[PeriodVerdict] = field(default_factory=list)

    @property
    def drifted(self) -> list[str]:
        """Names of the columns that are not as they were."""
        return [name for name, column in self.columns.items() if column.drifted]

    def as_json(self) -> dict[str, Any]:
        """For a file: an infinite score is null, as JSON has none."""
        written = asdict(self)
        for column in written["columns"].values():
            for name in ("score", "threshold"):
                column[name] = round(column[name], 6) if np.isfinite(column[name]) else None
        return written


def judge(
    before: Profile,
    now: Profile,
    watched: dict[str, list[str]],
    policy: Policy,
    season: Callable[[Ints], Ints] | None = None,
    seed: int = 0,
) -> Verdict:
    """Compare two windows.

    Args:
        before: the reference's periods, over the same values as `now`: see `windows`.
        now: the current window's.
        watched: by the name that is reported the columns that are watched together under it.
        policy: see there.
        season: of periods, such as their weekday: each is compared with periods of its own season only.
        seed: of the resampling.
    """
    if season:
        before = before.at(np.isin(season(before.periods), season(now.periods)))
    rows = {"reference": int(before.rows.sum()), "current": int(now.rows.sum())}
    if reason := too_little(before, rows, policy):
        return Verdict("not_enough_data", reason, rows)
    compared = {
        name: parts for name, columns in watched.items() if (parts := with_values(before, now, columns))
    }
    if not compared:
        return Verdict("error", "no watched column has a value in either window", rows)
    columns = compare(before, now, compared, policy, seed)
    judged = list(judge_periods(before, now, compared, policy, season, seed))
    outcome, reason = conclude([n for n, c in columns.items() if c.drifted], judged)
    return Verdict(outcome, reason, rows, columns, judged)


def too_little(before: Profile, rows: dict[str, int], policy: Policy) -> str:
    """Why there can be no verdict, or nothing."""
    for window, held in rows.items():
        if held < policy.min_rows:
            return f"the {window} window has {held:,} rows, a verdict needs {policy.min_rows}"
    periods = int((before.rows > 0).sum())
    if periods < policy.min_periods:
        return (
            f"the reference has rows in {periods} periods; how much they differ among themselves can be "
            f"told from {policy.min_periods}"
        )
    return ""


def with_values(before: Profile, now: Profile, columns: list[str]) -> list[str]:
    """Those columns of which at least one window has a value."""
    return [name for name in columns if before.columns[name].valued or now.columns[name].valued]


def conclude(drifted: list[str], periods: list[PeriodVerdict]) -> tuple[Outcome, str]:
    """The outcome of the whole window and of its last periods, and the sentence that says why."""
    agreeing = {
        name: count
        for name in sorted({name for period in periods for name in period.drifted})
        if (count := sum(name in period.drifted for period in periods)) >= AGREEING
    }
    if agreeing:
        said = ", ".join(f"{name} in {count}" for name, count in agreeing.items())
        return "confirmed", f"of the last {len(periods)} periods drifted: {said}"
    if drifted:
        why = "in no two" if len(periods) >= AGREEING else "and there are not two"
        return "suspected", f"the window drifted in {', '.join(drifted)}, {why} of its last periods alone"
    if periods and periods[-1].drifted:
        return "suspected", f"the last period alone drifted in {', '.join(periods[-1].drifted)}"
    return "none", "every distance is within what periods of the reference differ by"


def judge_periods(
    before: Profile,
    now: Profile,
    watched: dict[str, list[str]],
    policy: Policy,
    season: Callable[[Ints], Ints] | None,
    seed: int,
) -> Iterator[PeriodVerdict]:
    """The last periods of the current window that have enough rows, each by itself."""
    for part in last_parts(now.rows, policy.min_period_rows):
        only = now.at(part)
        alike = before.at(np.isin(season(before.periods), season(only.periods))) if season else before
        if (alike.rows > 0).sum() < policy.min_periods:
            continue
        columns = compare(alike, only, watched, policy, seed)
        start = datetime.fromtimestamp(int(only.periods[0]), UTC).isoformat()
        drifted = [name for name, column in columns.items() if column.drifted]
        yield PeriodVerdict(start, int(only.rows.sum()), drifted)


def last_parts(rows: Floats, least: int) -> list[NDArray[np.bool_]]:
    """The last periods, the oldest first; neighbours are taken together until they have enough rows."""
    parts: list[NDArray[np.bool_]] = []
    end = len(rows)
    while end and len(parts) < LAST:
        reached = np.flatnonzero(np.cumsum(rows[:end][::-1]) >= least)
        if not len(reached):
            break
        start = end - 1 - int(reached[0])
        parts.append((np.arange(len(rows)) >= start) & (np.arange(len(rows)) < end))
        end = start
    return parts[::-1]


def compare(
    before: Profile, now: Profile, watched: dict[str, list[str]], policy: Policy, seed: int
) -> dict[str, ColumnVerdict]:
    """Each watched name's distance beside the threshold that applies to it."""
    rng = np.random.default_rng(seed)
    size = held_out_size(before, now)
    held = held_out(len(before.rows), size, policy.resamples, rng)
    scores, nulls, tests = {}, {}, {}
    for name, parts in watched.items():
        distances = {part: Distance(before.columns[part]) for part in parts}
        found = [apart(distances[p], before.columns[p], now.columns[p]) for p in parts]
        scores[name] = float(together(found)[0])
        nulls[name] = together(
            [null(distances[p], before.columns[p], held, int(now.rows.sum()), rng) for p in parts]
        )
        tests[name] = distances[parts[0]].test
    independent = len(before.rows)
    levels = {name: p_value(scores[name], nulls[name], independent) for name in watched}
    rejected, level = false_discovery(levels, policy.false_discovery_ratio)
    why = f"{len(held)} windows of {size} of the reference's {len(before.rows)} periods, at {level:.2g}"
    return {
        name: ColumnVerdict(
            scores[name],
            threshold(nulls[name], level, independent),
            name in rejected,
            tests[name],
            why,
        )
        for name in watched
    }
