"""The prediction log's columns: what is kept of every answer, and of every reference row of a model.

`reference.parquet` of a model has these columns, so that drift compares like with like. The ETL contract
`serving/predictions.yaml` commits them as a lake table; a test keeps the two the same.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

EMBEDDING_SIZE = 32
DESCRIPTORS = ("width", "height", "bytes", "brightness", "contrast", "sharpness", "colourfulness")
EMBEDDING = tuple(f"embedding_{number:02}" for number in range(EMBEDDING_SIZE))

SCHEMA = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        ("label", pa.string()),
        ("probability", pa.float64()),
        ("entropy", pa.float64()),
        ("value", pa.float64()),
        ("shadow", pa.bool_()),
        ("truth", pa.string()),
        *[(name, pa.float64()) for name in (*DESCRIPTORS, *EMBEDDING)],
    ]
)


def entropy(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Shannon entropy of each row of probabilities, in nats."""
    p = np.clip(probabilities.astype(np.float64), 1e-12, 1)
    return np.asarray(-(p * np.log(p)).sum(axis=1))


def answers(classes: Sequence[str], outputs: npt.NDArray[np.float32]) -> dict[str, object]:
    """The columns that say what was answered."""
    nothing = [None] * len(outputs)
    if not classes:
        return {
            "label": nothing,
            "probability": nothing,
            "entropy": nothing,
            "value": outputs.astype(np.float64),
        }
    return {
        "label": [classes[number] for number in outputs.argmax(axis=1)],
        "probability": outputs.max(axis=1).astype(np.float64),
        "entropy": entropy(outputs),
        "value": nothing,
    }


def log_rows(
    model: tuple[str, str],
    classes: Sequence[str],
    ids: Sequence[str],
    when: datetime | Sequence[datetime],
    outputs: npt.NDArray[np.float32],
    embedding: npt.NDArray[np.float32] | None,
    looks: Sequence[dict[str, float]],
    truth: Sequence[str] | None = None,
    shadow: bool = False,
) -> pa.Table:
    """Rows of the log for n answers of one model.

    Args:
        model: its name and version.
        classes: labels, in the order of the columns of `outputs`; none for a regression.
        ids: request ids; article ids in a reference.
        when: the time of the answers, or of each.
        outputs: calibrated probabilities of shape (n, classes), or values of shape (n,).
        embedding: of shape (n, at most 32); missing numbers are null.
        looks: the descriptors of each picture; empty dicts for tabular rows.
        truth: labels, where they are known.
        shadow: these answers were not returned to anybody.
    """
    columns: dict[str, object] = {
        "request_id": list(ids),
        "time": [when] * len(ids) if isinstance(when, datetime) else list(when),
        "model": [model[0]] * len(ids),
        "model_version": [model[1]] * len(ids),
        **answers(classes, outputs),
        "shadow": [shadow] * len(ids),
        "truth": list(truth) if truth is not None else [None] * len(ids),
    }
    columns |= {name: [look.get(name) for look in looks] for name in DESCRIPTORS}
    size = 0 if embedding is None else embedding.shape[1]
    for number, name in enumerate(EMBEDDING):
        known = embedding is not None and number < size
        columns[name] = embedding[:, number].astype(np.float64) if known else [None] * len(ids)  # type: ignore[index]
    return pa.table(columns, schema=SCHEMA)


FEEDBACK = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("label", pa.string(), nullable=False),
    ]
)


def feedback_rows(rows: Sequence[tuple[str, datetime, str]]) -> pa.Table:
    """Labels that arrived for earlier answers: request id, when it came, label."""
    ids, times, labels = zip(*rows, strict=True)
    return pa.table({"request_id": ids, "time": times, "label": labels}, schema=FEEDBACK)
