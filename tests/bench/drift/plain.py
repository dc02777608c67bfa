"""Evidently's default distances, from profiles."""

import numpy as np

from observability.drift.distances import jensenshannon, wasserstein
from observability.drift.profiles import Column


def plain(before: Column, now: Column) -> float:
    """Jensen-Shannon of categories, Wasserstein in the reference's deviations of numbers; 0 of none."""
    if not before.valued or not now.valued:
        return 0.0
    counts = (before.counts.sum(axis=0), now.counts.sum(axis=0))
    if before.kind == "categorical":
        return float(jensenshannon(*counts))
    return float(wasserstein(np.asarray(before.support, float), before.deviation, *counts))
