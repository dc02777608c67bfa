"""Profiles: cells add up, bins never move, and what is missing is counted."""

import numpy as np
import pytest

from observability.drift.profiles import (
    INFINITE,
    MINUS_INFINITE,
    NAN,
    Cells,
    Floats,
    Kind,
    Profile,
    ProfileError,
    Scale,
    bins_of,
    cells_of,
    joined,
    profile,
    scale_of,
    windows,
)

KINDS: dict[str, Kind] = {"x": "numeric", "kind": "categorical"}
SCALES = {"x": Scale(0.0, 1.0)}


def cells(x: Floats, kinds: list[str | None], periods: list[int]) -> Cells:
    values = {"x": ("numeric", x), "kind": ("categorical", np.array(kinds, object))}
    return cells_of(values, np.array(periods), SCALES)  # type: ignore[arg-type]


def test_bins_are_ordered_as_their_values_and_fine_where_most_values_are() -> None:
    x = np.sort(np.concatenate([np.linspace(-1e6, 1e6, 4001), np.linspace(-9, 9, 4001)]))
    bins = bins_of(x, Scale(0.0, 1.0))
    assert (np.diff(bins) >= 0).all()
    assert bins_of(np.array([0.0, 1 / 32, -1e-9]), Scale(0.0, 1.0)).tolist() == [0, 1, -1]
    far = bins_of(np.array([8.0, 8.0 * np.exp(1), -8.0 * np.exp(1)]), Scale(0.0, 1.0))
    assert far.tolist() == [256, 288, -288]


def test_a_column_far_from_zero_has_as_fine_bins() -> None:
    x = 1e6 + np.random.default_rng(0).normal(size=1000)
    assert len(np.unique(bins_of(x, scale_of(x)))) > 100


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Scale(0.0, 1.0)),
        ([np.nan, np.inf], Scale(0.0, 1.0)),
        ([5.0, 5.0], Scale(5.0, 5.0)),
        ([0.0] * 9 + [10.0], Scale(0.0, 3.0)),
    ],
)
def test_a_scale_has_a_spread_whatever_comes(values: list[float], expected: Scale) -> None:
    assert scale_of(np.array(values)) == expected


def test_what_has_no_finite_value_has_a_bin_of_its_own() -> None:
    bins = bins_of(np.array([np.nan, np.inf, -np.inf]), Scale(0.0, 1.0))
    assert bins.tolist() == [NAN, INFINITE, MINUS_INFINITE]


def test_a_profile_counts_each_row_once_a_column() -> None:
    x = np.array([1.0, 1.0, np.nan, np.inf, -3.0, 100.0])
    made = profile(cells(x, ["a", "b", None, "a", "a", ""], [0, 0, 0, 60, 60, 60]), KINDS)
    assert made.periods.tolist() == [0, 60]
    assert made.rows.tolist() == [3, 3]
    number, kind = made.columns["x"], made.columns["kind"]
    assert number.support.tolist() == [-3.0, 1.0, 100.0]
    assert number.counts.tolist() == [[0, 2, 0], [1, 0, 1]]
    assert number.missing.tolist() == [1, 1]
    assert number.valued == 4
    assert number.deviation == pytest.approx(np.std([1.0, 1.0, -3.0, 100.0]))
    assert kind.support.tolist() == ["", "a", "b"]
    assert kind.counts.tolist() == [[0, 1, 1], [1, 2, 0]]
    assert kind.missing.tolist() == [1, 0]


def test_cells_of_parts_add_up_to_those_of_the_whole() -> None:
    rng = np.random.default_rng(1)
    x, kinds, periods = rng.normal(size=500), rng.choice(["a", "b"], 500).tolist(), rng.integers(0, 5, 500)
    whole = profile(cells(x, kinds, periods.tolist()), KINDS)
    parts = [cells(x[s], kinds[s], periods[s].tolist()) for s in (slice(0, 200), slice(200, 500))]
    merged = profile(joined(parts), KINDS)
    for name in KINDS:
        np.testing.assert_array_equal(merged.columns[name].counts, whole.columns[name].counts)
        np.testing.assert_allclose(merged.columns[name].total, whole.columns[name].total)
    np.testing.assert_allclose(
        merged.columns["x"].support.astype(float), whole.columns["x"].support.astype(float)
    )


def test_columns_that_count_other_rows_are_refused() -> None:
    some = cells(np.array([1.0, 2.0]), ["a", "a"], [0, 0])
    some.count[0] += 1
    with pytest.raises(ProfileError, match="column kind was counted in 2 rows, others in 3"):
        profile(some, KINDS)


def test_two_windows_share_their_values_and_may_share_a_period() -> None:
    before = cells(np.array([1.0, 2.0]), ["a", "b"], [0, 60])
    now = cells(np.array([3.0]), ["c"], [60])
    first, second = windows(before, now, KINDS)
    assert (first.periods.tolist(), second.periods.tolist()) == ([0, 60], [60])
    assert first.columns["kind"].support.tolist() == ["a", "b", "c"]
    assert second.columns["x"].counts.tolist() == [[0, 0, 1]]


def test_nothing_is_no_profile() -> None:
    with pytest.raises(ProfileError):
        joined([])
    empty = profile(cells(np.array([]), [], []), KINDS)
    assert isinstance(empty, Profile)
    assert len(empty.rows) == 0


def test_text_that_names_each_row_is_refused() -> None:
    names: list[str | None] = [f"row {n}" for n in range(10_001)]
    with pytest.raises(ProfileError, match="10,001 values; drift is for at most 10,000"):
        profile(cells(np.zeros(10_001), names, [0] * 10_001), KINDS)
