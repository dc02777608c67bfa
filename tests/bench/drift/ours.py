"""Ours in `task bench:drift`: the Spark job over the files of two frames, then distances from its cells."""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

from flows.console import no_log, no_progress
from flows.drift.summaries import SCHEMA
from flows.etl.runners.life import Engine
from flows.etl.runners.local import LocalRunner
from observability.drift.profiles import Cells, Kind, joined, windows
from tests.bench.drift.plain import plain
from tests.factories import settings_of


def main(folder: Path) -> None:
    """Print the distance of each column; a second time, from the profiles that the first has left."""
    schema = pq.read_schema(next((folder / "reference").glob("*.parquet")))
    numeric = {field.name: str(field.type) == "double" for field in schema}
    profiles = folder / "profiles"
    if not profiles.exists():
        profile(folder, numeric, profiles)
    done = json.loads((profiles / "_summary.json").read_text())
    parts: dict[str, list[Cells]] = {"reference": [], "current": []}
    for cells, data in done["files"].items():
        table = pq.read_table(cells, partitioning=None).select(SCHEMA.names).cast(SCHEMA)
        held = {name: table[name].to_numpy(zero_copy_only=False) for name in Cells.__dataclass_fields__}
        parts[Path(data).parent.name].append(Cells(**held))
    kinds: dict[str, Kind] = {
        name: "numeric" if is_numeric else "categorical" for name, is_numeric in numeric.items()
    }
    before, now = windows(joined(parts["reference"]), joined(parts["current"]), kinds)
    found = {name: plain(before.columns[name], now.columns[name]) for name in kinds}
    print(json.dumps({name: round(distance, 6) for name, distance in found.items()}))


def profile(folder: Path, numeric: dict[str, bool], profiles: Path) -> None:
    """Run the flow's own Spark job over both frames, into `profiles`."""
    profiles.mkdir()
    order: dict[str, object] = {
        "groups": [{"files": sorted(map(str, folder.glob("*/*.parquet")))}],
        "columns": [{"name": name, "numeric": is_numeric} for name, is_numeric in numeric.items()],
        "time": None,
        "period": "day",
        "by": [],
        "layout": [],
        "scales": {},
        "output": f"{profiles}/cells",
        "summary": f"{profiles}/_summary.json",
    }
    job = profiles / "job.json"
    job.write_text(json.dumps(order))
    Engine(LocalRunner(settings_of(profiles))).run("profile", job, "bench", no_progress, no_log)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
