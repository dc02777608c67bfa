"""The verdict on a run: a pure function from its summary and the table's history to pass, warn or fail."""

from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Literal

from flows.etl.contract import TableRules

MIN_HISTORY = 3
"""Runs before a row count can be called unusual."""


@dataclass(frozen=True)
class Facts:
    """What a run read, counted by land, and what it wrote, counted from Spark's files."""

    files_in: int
    rows_in: int
    rows_duplicate: int
    rows_kept: int
    rows_written: int
    quarantined_by_rule: dict[str, int]

    @property
    def rows_quarantined(self) -> int:
        """Bad rows of all rules."""
        return sum(self.quarantined_by_rule.values())

    @property
    def rows_committed(self) -> int:
        """New rows of the lake: what was written less what was there before."""
        return self.rows_written - self.rows_kept

    @property
    def rows_judged(self) -> int:
        """The rows read, copies aside."""
        return self.rows_in - self.rows_duplicate

    @property
    def quarantined_ratio(self) -> float:
        """Share of the judged rows that broke a rule; 0 where there were none."""
        return self.rows_quarantined / max(self.rows_judged, 1)


@dataclass(frozen=True)
class Verdict:
    """What to do with the run, and why."""

    outcome: Literal["pass", "warn", "fail"]
    reasons: tuple[str, ...] = ()


def judge(
    facts: Facts,
    rules: TableRules,
    history: list[float],
    newest_event: datetime | None,
    now: datetime,
) -> Verdict:
    """Judge a run before it is committed.

    Args:
        facts: counts of this run.
        rules: the contract's.
        history: rows a file of earlier runs.
        newest_event: the table's newest event time once this run is committed; None where unknown.
        now: of the same kind (naive UTC) as `newest_event`.
    """
    failed = [reason for reason in (does_not_add_up(facts), too_many_bad(facts, rules)) if reason]
    if failed:
        return Verdict("fail", tuple(failed))
    warned = [r for r in (unusual_count(facts, rules, history), too_old(rules, newest_event, now)) if r]
    return Verdict("warn" if warned else "pass", tuple(warned))


def does_not_add_up(facts: Facts) -> str | None:
    """Every row read is committed, quarantined or a copy: anything else is a defect of ours."""
    ended = facts.rows_committed + facts.rows_quarantined + facts.rows_duplicate
    if ended != facts.rows_in:
        return (
            f"{facts.rows_in} rows were read, but {ended} ended: {facts.rows_committed} committed, "
            f"{facts.rows_quarantined} quarantined, {facts.rows_duplicate} copies; please report this defect"
        )
    return None


def too_many_bad(facts: Facts, rules: TableRules) -> str | None:
    """More quarantined rows than the contract bears."""
    if facts.quarantined_ratio <= rules.max_quarantined_ratio:
        return None
    worst = ", ".join(f"{rule} {count:,}" for rule, count in by_count(facts.quarantined_by_rule)[:3])
    return (
        f"{facts.rows_quarantined:,} of {facts.rows_judged:,} rows ({facts.quarantined_ratio:.1%}) broke a "
        f"rule, more than max_quarantined_ratio {rules.max_quarantined_ratio:.1%}: {worst}"
    )


def by_count(counts: dict[str, int]) -> list[tuple[str, int]]:
    """Largest first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def unusual_count(facts: Facts, rules: TableRules, history: list[float]) -> str | None:
    """A file with far fewer or more rows than the table's files used to have."""
    if rules.rows_per_file_band is None or len(history) < MIN_HISTORY or not facts.files_in:
        return None
    usual = median(history)
    ratio = facts.rows_in / facts.files_in / usual if usual else 1
    low, high = rules.rows_per_file_band
    if low <= ratio <= high:
        return None
    return (
        f"{facts.rows_in / facts.files_in:,.0f} rows a file are {ratio:.3g} times the usual {usual:,.0f}, "
        f"outside rows_per_file_band {low:g} to {high:g}"
    )


def too_old(rules: TableRules, newest_event: datetime | None, now: datetime) -> str | None:
    """Nothing recent in the table."""
    if rules.max_age_days is None or newest_event is None:
        return None
    days = (now - newest_event).total_seconds() / 86400
    if days <= rules.max_age_days:
        return None
    return f"the newest event is {days:.1f} days old, more than max_age_days {rules.max_age_days:g}"
