"""How right a model is on its traffic: measured where labels have arrived, estimated where they have not.

Sources:
    performance from confidence: Garg et al., Leveraging unlabeled data to predict out-of-distribution
    performance, ICLR 2022, and NannyML's "confidence-based performance estimation"; it holds where the model
    is calibrated and the world changes in what comes, not in what it means.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.drift.traffic import Champion
from services.bento.statistics import Floats, Ints, expected_calibration_error, f1_draws, macro_f1

CALIBRATION_BOUND = 0.1
"""Expected calibration error above which an estimate from confidence is not to be trusted."""
ENOUGH_LABELS = 100
"""For the calibration of traffic; below, that of the reference is taken."""
RESAMPLES = 500
TOLD = pa.schema([("request_id", pa.string()), ("truth", pa.string())])


@dataclass(frozen=True)
class Performance:
    """How right a model is in a window.

    Attributes:
        labels: answers whose label has arrived.
        macro_f1: on those; None without any.
        low: of its 95% interval.
        high: of it.
        estimated: what confidence promises of all answers; None without any.
        calibration_error: of confidence, on the labels that arrived or else on the reference.
        trusted: whether the calibration allows the estimate.
    """

    labels: int
    macro_f1: float | None
    low: float | None
    high: float | None
    estimated: float | None
    calibration_error: float
    trusted: bool


def performance(
    answers: pa.Table, feedback: pa.Table | None, champion: Champion, seed: int = 0
) -> Performance:
    """Of the champion's returned answers in a window.

    Args:
        answers: `request_id`, `label` and `probability`.
        feedback: `request_id`, `time` and `label`; the newest counts. None where none has arrived.
        champion: whose classes and reference are taken.
        seed: of the bootstrap.
    """
    labelled = None
    if feedback is not None and len(feedback):
        newest = (
            feedback.sort_by("time").group_by("request_id", use_threads=False).aggregate([("label", "last")])
        )
        told = newest.rename_columns(["request_id", "truth"]).cast(TOLD)
        answers = answers.set_column(0, "request_id", answers["request_id"].cast(pa.string()))
        labelled = answers.join(told, "request_id", join_type="inner")
        # A label that only another version knew says nothing of this one.
        labelled = labelled.filter(pc.is_in(labelled["truth"], pa.array(champion.manifest.classes)))
    return measured(champion.reference, champion.manifest.classes, answers, labelled, seed)


def measured(
    reference: pa.Table, classes: list[str], answers: pa.Table, labelled: pa.Table | None, seed: int = 0
) -> Performance:
    """The numbers.

    Args:
        reference: with `label`, `probability` and `truth`.
        classes: of the model.
        answers: `label` and `probability`.
        labelled: these and `truth`; None where no label has arrived.
        seed: of the bootstrap.
    """
    number = {name: place for place, name in enumerate(classes)}

    def numbers(table: pa.Table, column: str) -> Ints:
        return np.array([number[name] for name in table[column].to_pylist()], np.int64)

    trained, learned = numbers(reference, "label"), numbers(reference, "truth")
    error = calibration_error(reference["probability"].to_numpy(), trained == learned)
    count, f1, low, high = 0, None, None, None
    if labelled is not None and len(labelled):
        said, truth = numbers(labelled, "label"), numbers(labelled, "truth")
        count, f1 = len(truth), macro_f1(truth, said, classes)
        low, high = interval_of(truth, said, len(classes), seed)
        if count >= ENOUGH_LABELS:
            error = calibration_error(labelled["probability"].to_numpy(), truth == said)
    wrong = mistakes(learned, trained, len(classes))
    estimated = estimate(numbers(answers, "label"), answers["probability"].to_numpy(), wrong)
    return Performance(count, f1, low, high, estimated, error, error <= CALIBRATION_BOUND)


def interval_of(truth: Ints, said: Ints, k: int, seed: int) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of macro-F1 over the classes that have a row."""
    draws = f1_draws(truth, [said], k, RESAMPLES, np.random.default_rng(seed))[0]
    low, high = np.quantile(draws[:, np.bincount(truth, minlength=k) > 0].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def calibration_error(confidence: Floats, right: np.ndarray) -> float:
    """Expected calibration error of confidence alone: as of two classes, of which the first was answered."""
    answered = np.stack([confidence, np.full(len(confidence), -1.0)], axis=1)
    return expected_calibration_error(answered, np.where(right, 0, 1))


def mistakes(truth: Ints, said: Ints, k: int) -> Floats:
    """The share of each truth among the wrong answers of each class, (truth, said), smoothed."""
    counts = np.bincount(truth * k + said, minlength=k * k).reshape(k, k) + 1.0 / k
    np.fill_diagonal(counts, 0.0)
    return np.asarray(counts / np.maximum(counts.sum(axis=0), 1e-12))


def estimate(said: Ints, confidence: Floats, wrong: Floats) -> float | None:
    """Macro-F1 that confidence promises: each answer counts as right by its confidence, else as a mistake.

    None where no class is expected to have come.
    """
    k = len(wrong)
    right = np.bincount(said, confidence, k)
    confusion = wrong * np.bincount(said, 1 - confidence, k) + np.diag(right)
    f1 = 2 * right / np.maximum(confusion.sum(axis=0) + confusion.sum(axis=1), 1e-12)
    there = confusion.sum(axis=1) >= 0.5  # half an expected row
    return float(f1[there].mean()) if there.any() else None
