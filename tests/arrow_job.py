"""A small job done by pyarrow in Spark's stead: the same arguments, the same folders, files and columns.

It knows one contract, `STALL`, and is for what surrounds Spark: land, commit, quarantine and maintenance.
"""

import csv
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.config import Settings
from flows.etl.contract import SOURCE_COLUMN
from flows.etl.inspect_file import open_text
from flows.etl.job import VERDICT_COLUMNS
from flows.etl.runners.life import Engine
from flows.etl.runners.local import LocalRunner
from flows.paths import in_arrow, path_of, read_rows
from flows.s3_path import AnyPath

STALL = """\
description: What a stall sold.
source: {pattern: "*.csv*", format: csv}
columns:
  kind: {type: string}
  amount: {type: int}
partition: {column: kind, transform: identity}
rules:
  - {name: sold, column: amount, range: {min: 0}}
table_rules: {max_quarantined_ratio: 0.5}
duplicates: keep
"""
TYPES = {"string": pa.string(), "int": pa.int32(), "bigint": pa.int64()}
ESCAPED = "\"#%'*/:=?\\{[]^\x7f"
"""What Spark quotes in the name of a partition's folder, beside control characters."""
Row = dict[str, Any]


class ArrowEngine(Engine):
    """Does the job in this process."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(LocalRunner(settings))

    def run(self, program: str, path: AnyPath, name: str, on_progress: object, on_log: object) -> None:
        """See `Engine.run`."""
        said = json.loads(path.read_text())
        cells: dict[str, list[Row]] = {}
        for row in [*read_new(said), *read_kept(said)]:
            sink = 1 if row["_rule"] else 0
            cells.setdefault(f"_sink={sink}/_p0={escaped(row['kind'])}", []).append(row)
        for cell, rows in cells.items():
            write(said, path_of(said["output"]) / cell / f"part-{uuid.uuid4().hex}.zstd.parquet", rows)
        path_of(said["summary"]).write_text("{}")


def read_new(job: Row) -> Iterator[Row]:
    """The rows of the raw zone's files, judged."""
    for group in job["groups"]:
        for file in map(path_of, group["files"]):
            sha256 = file.name[:64]
            with open_text(file) as stream:
                lines = [line.decode().rstrip("\n") for line in stream.readlines()[1:]]
            for line, (kind, amount) in zip(lines, csv.reader(lines), strict=True):
                bad = int(amount) < 0
                own = {"kind": kind, "amount": int(amount), SOURCE_COLUMN: job["sources"][sha256]}
                said = {"_rule": "sold", "_raw": line, "_sha256": sha256} if bad else {"_rule": None}
                yield own | said


def read_kept(job: Row) -> Iterator[Row]:
    """The rows of the lake that stay."""
    for group in job["kept"]["groups"]:
        for file in group["files"]:
            for row in read_rows(path_of(file), ["kind", "amount", SOURCE_COLUMN]).to_pylist():
                if row[SOURCE_COLUMN] not in job["kept"]["except_sources"]:
                    yield row | {"_rule": None}


def escaped(value: str) -> str:
    """A value as a folder's name."""
    return "".join(f"%{ord(c):02X}" if c in ESCAPED or c < " " else c for c in value)


def write(job: Row, path: AnyPath, rows: list[Row]) -> None:
    """One file, with Iceberg's field ids."""
    columns = [*job["kept"]["columns"], *VERDICT_COLUMNS]
    schema = pa.schema(
        [pa.field(name, TYPES[kind], metadata={"PARQUET:field_id": str(n)}) for name, kind, n in columns]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    name, files = in_arrow(path)
    pq.write_table(pa.Table.from_pylist(rows, schema), name, filesystem=files, compression="zstd")
