"""What the exporter says of drift: read from the newest verdict files, which are the truth of it."""

from collections.abc import Iterator
from datetime import datetime

from flows.config import Settings
from flows.drift.verdicts import News, newest
from observability.exporter import Sample
from observability.metrics import (
    DRIFT_COLUMNS,
    DRIFT_SCORE,
    DRIFT_STATE,
    DRIFT_THRESHOLD,
    DRIFT_TIME,
    LIVE_LABELS,
    LIVE_SCORE,
    OUTCOMES,
)

MODEL = "model."


def drift(settings: Settings) -> Iterator[Sample]:
    """Of each subject its newest verdict."""
    for subject, verdict in newest(settings).items():
        yield from of_verdict(subject, verdict)
        if subject.startswith(MODEL) and verdict["performance"]:
            yield from of_performance(subject.removeprefix(MODEL), verdict["performance"])


def of_verdict(subject: str, verdict: News) -> Iterator[Sample]:
    """The verdict and its columns; JSON has no infinite number, Prometheus has."""
    label = {"subject": subject}
    for outcome in OUTCOMES:
        yield DRIFT_STATE, {**label, "outcome": outcome}, float(verdict["outcome"] == outcome)
    yield DRIFT_TIME, label, datetime.fromisoformat(verdict["when"]).timestamp()
    columns = verdict["columns"]
    for name, column in columns.items():
        for metric, key in ((DRIFT_SCORE, "score"), (DRIFT_THRESHOLD, "threshold")):
            value = float("inf") if column[key] is None else column[key]
            yield metric, {**label, "column": name}, value
    if columns:
        yield DRIFT_COLUMNS, label, sum(c["drifted"] for c in columns.values()) / len(columns)


def of_performance(model: str, performance: News) -> Iterator[Sample]:
    """How right the model is."""
    yield LIVE_LABELS, {"model": model}, performance["labels"]
    of = {"labels": "macro_f1", "low": "low", "high": "high"}
    if performance["trusted"]:
        of["confidence"] = "estimated"
    for label, name in of.items():
        if performance[name] is not None:
            yield LIVE_SCORE, {"model": model, "of": label}, performance[name]
