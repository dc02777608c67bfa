"""The numbers that the gate and the model card stand on. Nothing here decides anything.

Scores are fractions, 0.81 and not 81. Class numbers are 0 to k - 1. A class without rows is in no mean, and
an F1 whose denominator is 0 counts as 0.

Sources:
    bootstrap, paired by row: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 13.
    McNemar, Psychometrika 12, 1947; as the test of two classifiers on one test set: Dietterich, Neural
    Computation 10, 1998.
    expected calibration error: Naeini, Cooper & Hauskrecht, AAAI 2015; Guo et al., ICML 2017.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DRAWN_AT_ONCE = 2_000_000
FEW_ROWS = 8


def _f1(weights: Floats, labels: Ints, predicted: Ints, k: int) -> Floats:
    """Per-class F1, (..., k), of cells that hold `weights` (..., cells) rows each."""
    is_label, is_said = (np.eye(k)[numbers] for numbers in (labels, predicted))
    rows = weights @ (is_label + is_said)
    hits: Floats = weights @ (2.0 * is_label * is_said)
    return np.divide(hits, rows, out=np.zeros_like(hits), where=rows > 0)


def _cells(columns: Sequence[Ints], k: int) -> tuple[list[Ints], Ints]:
    """The distinct combinations of class numbers in the columns, and the rows of each."""
    codes, counts = np.unique(np.ravel_multi_index(tuple(columns), (k,) * len(columns)), return_counts=True)
    return [part.astype(np.int64) for part in np.unravel_index(codes, (k,) * len(columns))], counts


def class_f1(labels: Ints, predicted: Ints, k: int) -> Floats:
    """F1 of each class, (k,)."""
    (label, said), counts = _cells([labels, predicted], k)
    return _f1(counts.astype(np.float64), label, said, k)


def macro_f1(labels: Ints, predicted: Ints, classes: Sequence[str]) -> float:
    """Mean F1 over the classes that have a row in `labels`."""
    k = len(classes)
    return float(class_f1(labels, predicted, k)[np.bincount(labels, minlength=k) > 0].mean())


def _resampled(counts: Ints, resamples: int, rng: np.random.Generator) -> Ints:
    """Multinomial draws of as many rows as `counts` (cells,) sum to, (resamples, cells).

    The many cells of few rows are drawn as one, and its rows one by one: three times as quick as a binomial
    for each, and the same distribution.
    """
    small, cells = counts <= FEW_ROWS, len(counts)
    pooled = np.append(counts[~small], counts[small].sum())
    draws = rng.multinomial(pooled.sum(), pooled / pooled.sum(), size=resamples)
    owners = np.repeat(np.flatnonzero(small), counts[small])
    picked = rng.integers(0, max(1, len(owners)), draws[:, -1].sum())
    places = owners[picked] + np.repeat(np.arange(resamples) * cells, draws[:, -1])
    drawn = np.bincount(places, minlength=resamples * cells).reshape(resamples, cells)
    drawn[:, ~small] = draws[:, :-1]
    return drawn


def f1_draws(
    labels: Ints, predictions: Sequence[Ints], k: int, resamples: int, rng: np.random.Generator
) -> Floats:
    """Per-class F1 of each model in each bootstrap resample, (models, resamples, k).

    All models see the same resampled rows. F1 depends on the rows only through the counts of the cells
    (label, prediction of model 1, prediction of model 2, ...), so drawing n rows with replacement is one
    multinomial draw over at most k^(models + 1) cells: 20,000 rows cost about what 500 do.
    """
    (label, *said), counts = _cells([labels, *predictions], k)
    draws = _resampled(counts, resamples, rng).astype(np.float64)
    return np.stack([_f1(draws, label, answers, k) for answers in said])


def mean_draws(values: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """The mean of `values` (n,) in each bootstrap resample, (resamples,)."""
    at_once = max(1, DRAWN_AT_ONCE // len(values))
    sizes = [min(at_once, resamples - done) for done in range(0, resamples, at_once)]
    return np.concatenate(
        [values[rng.integers(0, len(values), (size, len(values)))].mean(axis=1) for size in sizes]
    )


def f1_intervals(
    labels: Ints,
    predicted: Ints,
    classes: Sequence[str],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """For the model card: `rows`, `f1` and its percentile bootstrap interval `low` to `high`, by class."""
    k = len(classes)
    draws = f1_draws(labels, [predicted], k, resamples, np.random.default_rng(seed))[0]
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    columns = {"rows": np.bincount(labels, minlength=k), "f1": class_f1(labels, predicted, k)}
    columns |= {"low": low, "high": high}
    return {
        name: {key: float(values[c]) for key, values in columns.items()} for c, name in enumerate(classes)
    }


def expected_calibration_error(probabilities: NDArray[Any], labels: Ints, bins: int = 15) -> float:
    """Mean distance between confidence and accuracy over `bins` equal bins of confidence, by their rows.

    Args:
        probabilities: (n, k).
        labels: (n,) class numbers.
        bins: 15 as in Guo et al. 2017. It is never below zero, so a small sample reads too high.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


@dataclass(frozen=True)
class McNemar:
    """Rows that one model alone got right, and the exact binomial test that there are as many of each."""

    lost: int
    won: int
    p: float


def mcnemar(champion_right: NDArray[np.bool_], challenger_right: NDArray[np.bool_]) -> McNemar:
    """The exact two-sided test: of lost + won rows, each is as likely lost as won."""
    lost = int((champion_right & ~challenger_right).sum())
    won = int((challenger_right & ~champion_right).sum())
    flips = lost + won
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, flips + 1)))])
    at_most = np.arange(min(lost, won) + 1)
    logs = log_factorials[flips] - log_factorials[at_most] - log_factorials[flips - at_most]
    return McNemar(lost, won, min(1.0, 2.0 * float(np.exp(logs - flips * np.log(2.0)).sum())))


@dataclass(frozen=True)
class Interval:
    """A difference, above zero where the challenger is better, and its one-sided bounds.

    The bounds are those of the bootstrap's standard error: estimate -/+ z times it (Efron & Tibshirani,
    chapter 13). ADR 0008 says why not percentiles.
    """

    difference: float
    spread: float
    level: float

    @property
    def z(self) -> float:
        """The normal quantile of the level."""
        return NormalDist().inv_cdf(1 - self.level)

    @property
    def low(self) -> float:
        """What the true difference is above, wrong in a share `level` of samples."""
        return self.difference - self.z * self.spread

    @property
    def high(self) -> float:
        """What the true difference is below, wrong in a share `level` of samples."""
        return self.difference + self.z * self.spread

    def smallest_detectable(self, power: float) -> float:
        """The true difference whose lower bound is above zero in a share `power` of such samples."""
        return (self.z + NormalDist().inv_cdf(power)) * self.spread

    def rows_needed(self, difference: float, power: float, rows: int) -> int:
        """How many rows like these `rows` would show `difference` in a share `power` of samples."""
        return int(np.ceil(rows * (self.smallest_detectable(power) / difference) ** 2))


def interval(difference: float, draws: Floats, level: float) -> Interval:
    """The interval around `difference` from its bootstrap `draws`, (resamples,)."""
    return Interval(float(difference), float(draws.std(ddof=1)), level)
