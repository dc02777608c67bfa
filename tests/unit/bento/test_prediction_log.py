from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from services.bento.prediction_log import SCHEMA, log_rows
from tests.factories import shipped

KINDS = {
    "string": pa.string(),
    "boolean": pa.bool_(),
    "double": pa.float64(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
}
WHEN = datetime(2026, 11, 21, tzinfo=UTC)


def test_the_logs_contract_has_the_logs_columns() -> None:
    contract = shipped("serving.predictions")
    assert {name: KINDS[column.type] for name, column in contract.columns.items()} == dict(
        zip(SCHEMA.names, SCHEMA.types, strict=True)
    )


def test_a_row_says_label_probability_and_entropy() -> None:
    probabilities = np.array([[0.5, 0.5], [0.9, 0.1]], np.float32)
    rows = log_rows(
        ("m", "v1"),
        "ab",
        ["1", "2"],
        WHEN,
        probabilities,
        np.ones((2, 3), np.float32),
        [{}, {"width": 4.0}],
        "ba",
    )
    assert rows.schema == SCHEMA
    assert rows["label"].to_pylist() == ["a", "a"]
    assert rows["truth"].to_pylist() == ["b", "a"]
    assert rows["entropy"].to_pylist() == pytest.approx([np.log(2), 0.3251], abs=1e-4)
    assert rows["width"].to_pylist() == [None, 4.0]
    assert rows["embedding_02"].to_pylist() == [1.0, 1.0]
    assert rows["embedding_03"].to_pylist() == [None, None]
