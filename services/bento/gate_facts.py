"""What the gate judges: the same held-out rows, and what both models said about them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.bento.gate_policy import Policy


@dataclass(frozen=True)
class Scores:
    """What one model said about the rows.

    Attributes:
        version: the model's version.
        ids: (n,) str, in row order.
        outputs: (n, k) calibrated probabilities, or (n,) values for regression.
        latency_seconds: median seconds of a one-row prediction, both models measured side by side.
    """

    version: str
    ids: NDArray[Any]
    outputs: NDArray[Any]
    latency_seconds: float


@dataclass(frozen=True)
class Facts:
    """The held-out rows and what the models said about them.

    Attributes:
        labels: (n,) class numbers, or targets for regression.
        classes: the names, in the order of the class numbers; () for regression.
        challenger: the new model's.
        champion: the live model's; None where there is none yet.
    """

    labels: NDArray[Any]
    classes: tuple[str, ...]
    challenger: Scores
    champion: Scores | None


def fault_of(facts: Facts, policy: Policy) -> str | None:
    """Why these facts cannot be compared, or None."""
    labels, k = facts.labels, len(facts.classes)
    if (policy.task == "classification") != bool(facts.classes):
        return f"The policy is for {policy.task}, the facts name {k} classes."
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.number) or not np.isfinite(labels).all():
        return f"The labels are not a list of finite numbers: {labels.dtype} of shape {labels.shape}."
    if k and not (np.issubdtype(labels.dtype, np.integer) and ((labels >= 0) & (labels < k)).all()):
        return f"The labels are not class numbers from 0 to {k - 1}."
    shape = (len(labels), k) if k else (len(labels),)
    champion, challenger = facts.champion, facts.challenger
    for role, scores in (("challenger", challenger), ("champion", champion)):
        fault = _fault_of_scores(scores, shape) if scores else None
        if fault:
            return f"The {role}'s {fault}"
    if len(set(challenger.ids.tolist())) < len(labels):
        return "The challenger's row ids repeat; a row counts once."
    if champion and not np.array_equal(champion.ids, challenger.ids):
        strange = sorted(set(challenger.ids.tolist()) - set(champion.ids.tolist()))
        named = (
            f": {len(strange)} rows of the challenger's, such as {strange[0]!r}" if strange else " in order"
        )
        return f"Champion and challenger were scored on rows that differ{named}."
    return None


def _fault_of_scores(scores: Scores, shape: tuple[int, ...]) -> str | None:
    """Why these scores cannot be judged, or None; `shape` is what the outputs must have."""
    outputs = scores.outputs
    if outputs.shape != shape:
        return f"outputs have the shape {outputs.shape}, the labels ask for {shape}."
    if scores.ids.shape != shape[:1]:
        return f"row ids have the shape {scores.ids.shape}, there are {shape[0]} labels."
    if not np.issubdtype(outputs.dtype, np.number):
        return f"outputs are {outputs.dtype}, not numbers."
    if not np.isfinite(outputs).all():
        return f"outputs are not finite in {int((~np.isfinite(outputs)).sum())} places."
    if outputs.ndim == 2 and (outputs.min(initial=0) < 0 or (np.abs(outputs.sum(axis=1) - 1) > 1e-3).any()):
        return "outputs are not probabilities: a row has one below 0 or does not sum to 1."
    if not (np.isfinite(scores.latency_seconds) and scores.latency_seconds > 0):
        return f"latency is {scores.latency_seconds} s, not a time."
    return None
