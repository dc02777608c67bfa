"""How far apart windows of the reference itself are, and from which distance on that is no chance.

Sources:
    false discovery rate: Benjamini & Hochberg, J. R. Statist. Soc. B 57, 1995.
    prediction interval of one more observation: Hahn & Meeker, Statistical Intervals, 1991, chapter 4.
"""

import numpy as np
from scipy import stats

from observability.drift.distances import Distance
from observability.drift.profiles import Column, Floats, Profile

LEAST_DISTANCE = 0.01
"""A hundredth of a deviation, or of the rows: what is nearer is the same, however still the reference is."""
LEAST_SPREAD = 0.1
"""Of the logarithm of distances: what varies less in the reference still varies so much."""
HIGH = 0.95
"""The quantile that a spread is told by."""


def held_out_size(before: Profile, now: Profile) -> int:
    """How many periods of the reference make a window like the current one; at most half of them.

    Where each row of the reference is a period, as many as the window has rows.
    """
    alone = bool((before.rows <= 1).all())
    size = int(now.rows.sum()) if alone else int((now.rows > 0).sum())
    return max(1, min(size, len(before.rows) // 2))


def held_out(periods: int, size: int, resamples: int, rng: np.random.Generator) -> Floats:
    """Which periods are held out in each resample, (resamples, periods): 1 where one is."""
    if size == 1:
        return np.eye(periods)[rng.permutation(periods)[:resamples]]
    order = rng.random((resamples, periods)).argsort(axis=1)
    return (order < size).astype(np.float64)


def apart(distance: Distance, before: Column, now: Column) -> Floats:
    """The distance of the two windows, (1,)."""
    counts = [(c.counts.sum(axis=0)[None], np.array([c.missing.sum()])) for c in (before, now)]
    return distance(*counts)


def null(distance: Distance, before: Column, held: Floats, rows: int, rng: np.random.Generator) -> Floats:
    """Distances of the held out windows from the rest, (resamples,), each of at most `rows` rows."""
    cells = np.concatenate([before.counts, before.missing[:, None]], axis=1)
    out = held @ cells
    rest = cells.sum(axis=0) - out
    many = out.sum(axis=1) > rows
    if many.any():
        out[many] = rng.multinomial(rows, out[many] / out[many].sum(axis=1, keepdims=True))
    return distance((rest[:, :-1], rest[:, -1]), (out[:, :-1], out[:, -1]))


def together(distances: list[Floats]) -> Floats:
    """Columns that are watched together: the root of their mean square."""
    return np.asarray(np.sqrt(np.mean(np.square(distances), axis=0)))


def spread_of(null: Floats) -> tuple[float, float]:
    """Median and spread of the logarithm of distances, told by their upper half."""
    logs = np.log(np.maximum(null[np.isfinite(null)], LEAST_DISTANCE))
    if len(logs) < 2:
        return float(np.log(LEAST_DISTANCE)), LEAST_SPREAD
    middle, high = np.quantile(logs, [0.5, HIGH])
    return float(middle), max(float(high - middle) / stats.norm.ppf(HIGH), LEAST_SPREAD)


def p_value(score: float, null: Floats, independent: int) -> float:
    """How often the reference's own periods would be as far apart, by a log-normal tail.

    Where periods of the reference are infinitely far from others, as a value is missing, their share counts.
    """
    endless = (1 + np.isinf(null).sum()) / (1 + len(null)) if np.isinf(null).any() else 0.0
    if np.isinf(score):
        return float(endless)
    mean, spread = spread_of(null)
    z = (np.log(max(score, LEAST_DISTANCE)) - mean) / (spread * np.sqrt(1 + 1 / independent))
    return float(endless + (1 - endless) * stats.t.sf(z, freedom(independent)))


def threshold(null: Floats, level: float, independent: int) -> float:
    """The distance whose p-value is `level`, where the reference has no infinite ones."""
    mean, spread = spread_of(null)
    z = stats.t.isf(level, freedom(independent))
    return float(np.exp(mean + z * spread * np.sqrt(1 + 1 / independent)))


def freedom(independent: int) -> int:
    """Degrees of freedom of a spread that so many windows without a common period tell."""
    return max(3, independent - 1)


def false_discovery(levels: dict[str, float], ratio: float) -> tuple[set[str], float]:
    """The names that Benjamini and Hochberg's procedure rejects, and the level that was asked of each."""
    ordered = sorted(levels.values())
    passed = [rank for rank, p in enumerate(ordered, 1) if p <= ratio * rank / len(ordered)]
    level = ratio * max(passed, default=1) / len(ordered)
    return {name for name, p in levels.items() if passed and p <= level}, level
