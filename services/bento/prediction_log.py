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
        ("truth", pa.string()),
        *[(name, pa.float64()) for name in (*DESCRIPTORS, *EMBEDDING)],
    ]
)


def entropy(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Shannon entropy of each row of probabilities, in nats."""
    p = np.clip(probabilities.astype(np.float64), 1e-12, 1)
    return np.asarray(-(p * np.log(p)).sum(axis=1))


def log_rows(
    model: tuple[str, str],
    classes: Sequence[str],
    ids: Sequence[str],
    when: datetime,
    probabilities: npt.NDArray[np.float32],
    embedding: npt.NDArray[np.float32] | None,
    looks: Sequence[dict[str, float]],
    truth: Sequence[str] | None = None,
) -> pa.Table:
    """Rows of the log for n answers of one model.

    Args:
        model: its name and version.
        classes: labels, in the order of the columns of `probabilities`, of shape (n, classes).
        ids: request ids; article ids in a reference.
        when: the time of the answers.
        probabilities: calibrated, of shape (n, classes).
        embedding: of shape (n, at most 32); missing numbers are null.
        looks: the descriptors of each picture; empty dicts for tabular rows.
        truth: labels, where they are known.
    """
    best = probabilities.argmax(axis=1)
    columns: dict[str, object] = {
        "request_id": list(ids),
        "time": [when] * len(ids),
        "model": [model[0]] * len(ids),
        "model_version": [model[1]] * len(ids),
        "label": [classes[number] for number in best],
        "probability": probabilities.max(axis=1).astype(np.float64),
        "entropy": entropy(probabilities),
        "truth": list(truth) if truth is not None else [None] * len(ids),
    }
    columns |= {name: [look.get(name) for look in looks] for name in DESCRIPTORS}
    size = 0 if embedding is None else embedding.shape[1]
    for number, name in enumerate(EMBEDDING):
        known = embedding is not None and number < size
        columns[name] = embedding[:, number].astype(np.float64) if known else [None] * len(ids)  # type: ignore[index]
    return pa.table(columns, schema=SCHEMA)
