"""Distances beside those that SciPy makes of the rows, and beside what can never be "no drift"."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon as exact_jensenshannon

from observability.drift.distances import Distance, jensenshannon, wasserstein
from observability.drift.profiles import Cells, Column, Kind, Scale, cells_of, scale_of, windows


def columns(kind: Kind, before: Any, now: Any) -> tuple[Column, Column]:
    def make(values: Any, scales: dict[str, Scale]) -> Cells:
        held = np.asarray(values, np.float64 if kind == "numeric" else object)
        return cells_of({"x": (kind, held)}, np.zeros(len(held), np.int64), scales)

    scales = {"x": scale_of(np.asarray(before, np.float64))} if kind == "numeric" else {}
    first, second = windows(make(before, scales), make(now, scales), {"x": kind})
    return first.columns["x"], second.columns["x"]


def score(before: Column, now: Column) -> float:
    counts = [(c.counts.sum(axis=0)[None], np.array([c.missing.sum()])) for c in (before, now)]
    return float(Distance(before)(*counts)[0])


@pytest.mark.parametrize("seed", range(20))
def test_of_numbers_it_is_the_distance_of_the_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    draw: Any = [rng.normal, rng.exponential, rng.standard_cauchy, lambda size: rng.integers(0, 50, size)][
        seed % 4
    ]
    before, now = draw(size=3000).astype(float), draw(size=2000) * rng.uniform(0.7, 1.4) + rng.normal()
    ours, theirs = columns("numeric", before, now)
    got = wasserstein(
        np.asarray(ours.support, float), ours.deviation, ours.counts.sum(axis=0), theirs.counts.sum(axis=0)
    )
    exact = stats.wasserstein_distance(before, now) / max(np.std(before), 0.001)
    assert got == pytest.approx(exact, abs=0.02)


def test_of_categories_it_is_scipys() -> None:
    p, q = np.array([5.0, 3, 0, 2]), np.array([1.0, 3, 3, 3])
    assert jensenshannon(p, q) == pytest.approx(exact_jensenshannon(p, q))
    assert jensenshannon(p, p) == 0


def test_a_new_category_counts() -> None:
    assert score(*columns("categorical", ["a"] * 50, ["a"] * 25 + ["new"] * 25)) > 0.3


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_nothing_but_nulls_is_far_from_values(kind: Kind) -> None:
    values: list[object] = [1.0, 2.0, 3.0] if kind == "numeric" else ["1", "2", "3"]
    nulls: list[object] = [None] * 3
    assert score(*columns(kind, values, nulls)) > 0.8
    assert score(*columns(kind, nulls, values)) > 0.8
    assert score(*columns(kind, nulls, nulls)) == 0


def test_nan_and_infinities_are_missing_values_and_move_nothing_else() -> None:
    clean = np.linspace(0, 1, 100)
    dirty = np.concatenate([clean, [np.nan, np.inf, -np.inf, np.nan]])
    assert score(*columns("numeric", clean, dirty)) == pytest.approx(4 / 104)


def test_one_value_far_out_is_not_most_of_the_distance() -> None:
    rng = np.random.default_rng(0)
    before = np.concatenate([rng.normal(size=5000), [80_000.0]])
    shifted = rng.normal(size=5000) + 0.5
    assert score(*columns("numeric", before, shifted)) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("before", [[0.0] * 300, [0.0] * 299 + [1.0]], ids=["constant", "nearly constant"])
def test_a_constant_that_changes_is_far(before: list[object]) -> None:
    assert score(*columns("numeric", before, [1000.0] * 100)) == pytest.approx(1.0, abs=0.01)
    assert score(*columns("numeric", before, [0.0] * 99 + [5.0])) == pytest.approx(0.01, abs=0.005)
