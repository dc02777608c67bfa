"""Ours in `task bench:drift`: the Spark job over the files of two frames, then distances from its cells."""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from flows.console import no_log, no_progress
from flows.drift.summaries import JOB, SCHEMA
from flows.etl.runners.local import LocalRunner
from observability.drift.profiles import Cells, Kind, joined, windows
from tests.bench.drift.scale import plain
from tests.factories import settings_of


def main(folder: Path) -> None:
    """Print the distance of each column."""
    files = {
        frame: sorted(map(str, (folder / frame).glob("*.parquet"))) for frame in ("reference", "current")
    }
    schema = pq.read_schema(files["reference"][0])
    numeric = {field.name: str(field.type) == "double" for field in schema}
    with tempfile.TemporaryDirectory() as scratch:
        order: dict[str, object] = {
            "groups": [{"files": files["reference"] + files["current"]}],
            "columns": [{"name": name, "numeric": is_numeric} for name, is_numeric in numeric.items()],
            "time": None,
            "period": "day",
            "by": [],
            "layout": [],
            "scales": {},
            "output": f"{scratch}/cells",
            "summary": f"{scratch}/_summary.json",
        }
        job = Path(scratch) / "job.json"
        job.write_text(json.dumps(order))
        LocalRunner(settings_of(Path(scratch)), JOB).run(job, no_progress, no_log)
        done = json.loads((Path(scratch) / "_summary.json").read_text())
        parts: dict[str, list[Cells]] = {"reference": [], "current": []}
        for cells, data in done["files"].items():
            table = pq.read_table(cells, partitioning=None).select(SCHEMA.names).cast(SCHEMA)
            held = {name: table[name].to_numpy(zero_copy_only=False) for name in Cells.__dataclass_fields__}
            parts[Path(data).parent.name].append(Cells(**held))
    kinds: dict[str, Kind] = {
        name: "numeric" if is_numeric else "categorical" for name, is_numeric in numeric.items()
    }
    before, now = windows(joined(parts["reference"]), joined(parts["current"]), kinds)
    print(
        json.dumps(
            {name: float(np.round(plain(before.columns[name], now.columns[name]), 6)) for name in kinds}
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
