"""How right a model is: measured on labels, and promised by its confidence."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from flows.drift.performance import estimate, measured, mistakes

CLASSES = ["a", "b", "c"]


def traffic(rows: int, seed: int, drop: float = 0.0) -> pa.Table:
    """Answers of a calibrated model; `drop` takes so much from the truth of its confidence."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.4, 1.0, rows)
    said = rng.integers(0, 3, rows)
    right = rng.random(rows) < confidence - drop
    truth = np.where(right, said, (said + rng.integers(1, 3, rows)) % 3)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return pa.table(
        {
            "request_id": [f"{n:032x}" for n in range(rows)],
            "time": [start + timedelta(seconds=n) for n in range(rows)],
            "label": [CLASSES[n] for n in said],
            "probability": confidence,
            "truth": [CLASSES[n] for n in truth],
        }
    )


def test_confidence_promises_what_labels_show() -> None:
    answers = traffic(20_000, 0)
    found = measured(traffic(3000, 1), CLASSES, answers, answers)
    assert found.labels == 20_000
    assert found.macro_f1 is not None
    assert found.estimated == pytest.approx(found.macro_f1, abs=0.02)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.macro_f1 < found.high
    assert found.trusted


def test_an_overconfident_model_is_not_trusted() -> None:
    found = measured(traffic(3000, 1), CLASSES, traffic(500, 2), traffic(500, 2, drop=0.3))
    assert not found.trusted
    assert found.calibration_error > 0.2
    few = measured(traffic(3000, 1), CLASSES, traffic(500, 2), traffic(99, 2, drop=0.3))
    assert few.trusted, "too few labels: the reference's calibration is taken"


def test_without_labels_or_answers() -> None:
    found = measured(traffic(3000, 1), CLASSES, traffic(500, 2), None)
    assert (found.labels, found.macro_f1, found.low) == (0, None, None)
    assert found.estimated is not None
    assert measured(traffic(3000, 1), CLASSES, traffic(0, 2), None).estimated is None


def test_one_answer_is_too_little_to_promise_anything() -> None:
    assert estimate(np.array([0]), np.array([0.45]), mistakes(np.arange(3), np.arange(3), 3)) is None


def test_an_estimate_of_certainty_is_one() -> None:
    said = np.array([0, 1, 2, 0])
    wrong = mistakes(said, said, 3)
    assert estimate(said, np.ones(4), wrong) == pytest.approx(1.0)
    assert wrong.sum(axis=0) == pytest.approx([1, 1, 1])
