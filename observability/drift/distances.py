"""How far two windows of a column are apart. Each function takes many pairs of windows at once.

Sources:
    Wasserstein distance of order 1 over the reference's standard deviation, and Jensen-Shannon distance with
    natural logarithms, as Evidently 0.7 computes them (`evidently.legacy.calculations.stattests`).
"""

import numpy as np

from observability.drift.profiles import Column, Floats

LEAST_DEVIATION = 0.001
"""As in Evidently: a constant column has no scale of its own."""
TAIL_SHARE = 0.005
"""Of the reference, on each side, that a verdict takes for equally far out: one order of 80,000 pieces would
otherwise be most of the distance between two months."""


def wasserstein(support: Floats, deviation: float, reference: Floats, current: Floats) -> Floats:
    """Normed Wasserstein distance of counts (..., j) at positions (j,); NaN where one is empty."""
    gaps = np.diff(support)
    away = np.abs(np.cumsum(shares(reference), axis=-1) - np.cumsum(shares(current), axis=-1))
    distance: Floats = (away[..., :-1] @ gaps) / max(deviation, LEAST_DEVIATION)
    return distance


def jensenshannon(reference: Floats, current: Floats) -> Floats:
    """Jensen-Shannon distance of counts (..., j), 0 to 0.83; NaN where one is empty."""
    p, q = shares(reference), shares(current)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log(p / middle), 0) + np.where(q > 0, q * np.log(q / middle), 0)
    empty = np.isnan(p).any(axis=-1) | np.isnan(q).any(axis=-1)
    distance: Floats = np.sqrt(np.maximum(terms.sum(axis=-1) / 2, 0))
    return np.where(empty, np.nan, distance)


def shares(counts: Floats) -> Floats:
    """Counts as fractions of their sum, along the last axis."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


class Distance:
    """The distance that a verdict takes of one column, beside one reference.

    A number's is the Wasserstein distance without the reference's outermost values, a category's is
    Jensen-Shannon's with null as a category. A reference that is nearly constant has no scale: there it is
    the share of rows that have another value. The change of the share of missing numbers is added; where one
    side has no value at all and the other has, the distance is infinite.
    """

    def __init__(self, reference: Column) -> None:
        self._numeric = reference.kind == "numeric"
        self.test = "wasserstein" if self._numeric else "jensenshannon"
        self._support: Floats | None = None
        self._constant = False
        if self._numeric and reference.valued:
            support, counts = np.asarray(reference.support, np.float64), reference.counts.sum(axis=0)
            reached = np.cumsum(counts) / counts.sum()
            low, high = support[np.searchsorted(reached, [TAIL_SHARE, 1 - TAIL_SHARE])]
            self._support = np.clip(support, low, high) if high > low else support
            self._constant = bool(high == low)
            mean = self._support @ counts / counts.sum()
            self._deviation = float(np.sqrt((self._support - mean) ** 2 @ counts / counts.sum()))

    def __call__(self, reference: tuple[Floats, Floats], current: tuple[Floats, Floats]) -> Floats:
        """Of windows as counts (n, j) and missing rows (n,)."""
        (ours, our_missing), (theirs, their_missing) = reference, current
        if not self._numeric:
            return jensenshannon(
                np.concatenate([ours, our_missing[..., None]], axis=-1),
                np.concatenate([theirs, their_missing[..., None]], axis=-1),
            )
        filled, there = ours.sum(axis=-1), theirs.sum(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            gone = np.abs(our_missing / (our_missing + filled) - their_missing / (their_missing + there))
        if self._support is None:
            return np.where(there > 0, np.inf, 0.0)
        if self._constant:
            apart: Floats = np.abs(shares(ours) - shares(theirs)).sum(axis=-1) / 2
        else:
            apart = wasserstein(self._support, self._deviation, ours, theirs)
        distance = apart + gone
        return np.where((filled > 0) & (there > 0), distance, np.where(filled == there, 0.0, np.inf))
