"""The verdict: what is news, what is chance, and what is too little to tell."""

import json

import numpy as np
import pytest

from observability.drift.profiles import Cells, Kind, Profile, Scale, cells_of, joined, windows
from observability.drift.verdict import Outcome, Policy, Verdict, judge

DAY = 86_400
KINDS: dict[str, Kind] = {"x": "numeric", "kind": "categorical"}
WATCHED = {"x": ["x"], "kind": ["kind"]}


def days(first: int, count: int, seed: int, rows: int = 200, shift: float = 0.0, new: float = 0.0) -> Cells:
    """Days whose rows are alike: each has a level of its own."""
    rng = np.random.default_rng(seed)
    period = np.repeat(np.arange(first, first + count) * DAY, rows)
    level = np.repeat(rng.normal(0, 0.2, count), rows)
    x = rng.normal(size=count * rows) + level + shift
    kind = np.where(rng.random(count * rows) < new, "new", rng.choice(["a", "b", "c"], count * rows))
    values = {"x": ("numeric", x), "kind": ("categorical", kind.astype(object))}
    return cells_of(values, period, {"x": Scale(0.0, 1.0)})  # type: ignore[arg-type]


def verdict(now: Cells, before: Cells | None = None, policy: Policy | None = None) -> Verdict:
    return judge(*windows(before or days(0, 40, 0), now, KINDS), WATCHED, policy or Policy())


def test_days_of_the_same_kind_are_no_drift() -> None:
    outcomes = [verdict(days(100, 5, seed), days(0, 40, 1000 + seed)).outcome for seed in range(40)]
    assert outcomes.count("confirmed") == 0
    assert outcomes.count("none") >= 37


@pytest.mark.parametrize(("change", "column"), [({"shift": 1.5}, "x"), ({"new": 0.3}, "kind")])
def test_a_shift_that_lasts_is_confirmed_in_its_column_alone(change: dict[str, float], column: str) -> None:
    found = verdict(days(100, 5, 1, **change))  # type: ignore[arg-type]
    assert (found.outcome, found.drifted) == ("confirmed", [column])
    assert f"{column} in 3" in found.reason
    assert found.columns[column].score > found.columns[column].threshold
    assert [period.drifted for period in found.periods] == [[column]] * 3


def test_one_period_is_suspected_at_most() -> None:
    found = verdict(days(100, 1, 1, shift=3.0))
    assert found.outcome == "suspected"
    assert found.drifted == ["x"]


def test_a_last_day_alone_is_suspected() -> None:
    found = verdict(joined([days(100, 20, 1), days(120, 1, 2, shift=2.0)]))
    assert found.outcome == "suspected"
    assert found.periods[-1].drifted == ["x"]


@pytest.mark.parametrize(
    ("now", "before", "reason"),
    [
        (days(100, 1, 1, rows=99), days(0, 40, 0), "the current window has 99 rows, a verdict needs 100"),
        (days(100, 5, 1), days(0, 40, 0, rows=2), "the reference window has 80 rows, a verdict needs 100"),
        (days(100, 5, 1), days(0, 6, 0), "the reference has rows in 6 periods"),
    ],
)
def test_too_little_is_never_no_drift(now: Cells, before: Cells, reason: str) -> None:
    found = verdict(now, before)
    assert found.outcome == "not_enough_data"
    assert reason in found.reason


def nulls(first: int, count: int) -> Cells:
    period = np.repeat(np.arange(first, first + count) * DAY, 100)
    empty = np.full(len(period), np.nan)
    values = {"x": ("numeric", empty), "kind": ("categorical", np.full(len(period), None, object))}
    return cells_of(values, period, {"x": Scale(0.0, 1.0)})  # type: ignore[arg-type]


def test_columns_that_lost_all_values_are_drift_and_have_no_finite_score() -> None:
    found = verdict(nulls(100, 5))
    assert found.outcome == "confirmed"
    assert found.drifted == ["x", "kind"]
    written = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert written["columns"]["x"]["score"] is None


def test_values_that_are_missing_every_weekend_are_no_drift_on_a_weekend() -> None:
    def weeks(first: int, count: int, seed: int) -> Cells:
        parts = [
            nulls(day, 1) if day % 7 >= 5 else days(day, 1, seed + day, rows=100)
            for day in range(first, first + count)
        ]
        return joined(parts)

    assert verdict(weeks(70, 7, 0), weeks(0, 56, 1000)).outcome == "none"


@pytest.mark.parametrize(("odd", "drifted"), [(0, []), (1, []), (20, ["x"])])
def test_one_odd_row_of_a_constant_column_is_no_drift(odd: int, drifted: list[str]) -> None:
    def still(first: int, count: int, others: int) -> Cells:
        period = np.repeat(np.arange(first, first + count) * DAY, 200)
        x = np.where(np.arange(len(period)) % 200 < others, 480.0, 640.0)
        values = {"x": ("numeric", x), "kind": ("categorical", np.full(len(period), "a", object))}
        return cells_of(values, period, {"x": Scale(640.0, 640.0)})  # type: ignore[arg-type]

    found = verdict(still(100, 5, odd), still(0, 40, 0))
    assert (found.drifted, found.outcome) == (drifted, "confirmed" if drifted else "none")


def test_quiet_hours_are_taken_together() -> None:
    found = verdict(days(100, 12, 1, rows=10, shift=3.0))
    assert found.outcome == "confirmed"
    assert [period.rows for period in found.periods] == [30, 30, 30]


def test_each_period_is_compared_with_its_own_season() -> None:
    def year(first: int, count: int, seed: int) -> Cells:
        shifts = [3.0 if day % 7 == 0 else 0.0 for day in range(first, first + count)]
        return joined([days(first + n, 1, seed + n, shift=shift) for n, shift in enumerate(shifts)])

    # A Sunday as high as Sundays are, and one as low as other days: only its own season tells them apart.
    season = {"season": lambda period: period // DAY % 7}
    for now, drifted in ((year(70, 1, 500), []), (days(70, 1, 500), ["x"])):
        before, window = windows(year(0, 63, 0), now, KINDS)
        found = judge(before, window, WATCHED, Policy(), **season)  # type: ignore[arg-type]
        assert (found.drifted, found.rows["reference"]) == (drifted, 9 * 200)
        assert judge(before, window, WATCHED, Policy()).drifted == []


def test_no_value_on_either_side_is_an_error() -> None:
    found = verdict(nulls(100, 5), nulls(0, 40))
    assert found.outcome == "error"


def test_columns_that_are_watched_together_have_one_score() -> None:
    def made(first: int, count: int, seed: int, shift: float) -> Cells:
        rng = np.random.default_rng(seed)
        period = np.repeat(np.arange(first, first + count) * DAY, 100)
        values = {f"e{n}": ("numeric", rng.normal(size=len(period)) + shift) for n in range(3)}
        return cells_of(values, period, {name: Scale(0.0, 1.0) for name in values})  # type: ignore[arg-type]

    kinds: dict[str, Kind] = {f"e{n}": "numeric" for n in range(3)}
    both = windows(made(0, 30, 0, 0.0), made(50, 3, 1, 1.0), kinds)
    found = judge(*both, {"embedding": list(kinds)}, Policy())
    assert list(found.columns) == ["embedding"]
    assert found.columns["embedding"].score == pytest.approx(1.0, abs=0.15)
    assert found.outcome == "confirmed"


def test_where_each_row_is_a_period_as_many_rows_are_held_out() -> None:
    rng = np.random.default_rng(0)

    def rows(period: "np.ndarray[tuple[int], np.dtype[np.int64]]", shift: float) -> Cells:
        values = {
            "x": ("numeric", rng.normal(size=len(period)) + shift),
            "kind": ("categorical", np.array(["a"] * len(period), object)),
        }
        return cells_of(values, period, {"x": Scale(0.0, 1.0)})  # type: ignore[arg-type]

    hour = np.repeat(np.arange(2) * 3600 + 10**9, 75)
    assert verdict(rows(hour, 0.0), rows(np.arange(300), 0.0)).outcome == "none"
    found = verdict(rows(hour, 0.8), rows(np.arange(300), 0.0))
    assert (found.outcome, found.drifted) == ("confirmed", ["x"])
    assert "windows of 150 of the reference's 300 periods" in found.columns["x"].why


def test_the_same_windows_have_the_same_verdict() -> None:
    assert verdict(days(100, 5, 3)) == verdict(days(100, 5, 3))


def test_every_outcome_is_one_that_the_metrics_declare() -> None:
    from typing import get_args

    from observability.metrics import OUTCOMES

    assert set(get_args(Outcome)) == set(OUTCOMES)


def test_a_profile_of_no_periods_is_not_enough() -> None:
    before, now = windows(days(0, 40, 0), days(100, 5, 1), KINDS)
    none = Profile(now.periods[:0], now.rows[:0], {n: c.at(now.rows < 0) for n, c in now.columns.items()})
    assert judge(before, none, WATCHED, Policy()).outcome == "not_enough_data"
