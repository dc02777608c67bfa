"""Evidently in `task bench:drift`: its drift preset with its own defaults, over the files of two frames."""

import json
import os
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

os.environ["DO_NOT_TRACK"] = "1"

from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def distances(reference: pa.Table, current: pa.Table) -> dict[str, float]:
    """What the preset says of each column."""
    numeric = [field.name for field in reference.schema if pa.types.is_floating(field.type)]
    texts = [name for name in reference.column_names if name not in numeric]
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=texts)
    frames = [Dataset.from_pandas(table.to_pandas(), definition) for table in (current, reference)]
    said = Report([DataDriftPreset()]).run(*frames).dict()
    return {
        metric["config"]["column"]: float(metric["value"])
        for metric in said["metrics"]
        if "column" in metric.get("config", {})
    }


def main(folder: Path) -> None:
    """Print the distance of each column."""
    frames = [ds.dataset(folder / name, format="parquet").to_table() for name in ("reference", "current")]
    print(json.dumps(distances(*frames)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
