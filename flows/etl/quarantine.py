"""Rows that broke a rule: where they came from, kept until the rule or the file is fixed.

One Parquet file a run: `source_file`, `sha256`, `line` (from 1, as the file is written; null for formats
without lines), `rule`, `raw` (the row's text).
"""

import codecs
from collections import Counter, defaultdict

import pyarrow as pa
import pyarrow.compute as pc

from flows.etl.contract import Contract
from flows.etl.inspect_file import open_text
from flows.etl.land import Arrival
from flows.etl.sources import Sources
from flows.paths import mapped, read_rows, write_rows
from flows.s3_path import AnyPath

SCHEMA = pa.schema(
    [
        ("source_file", pa.string()),
        ("sha256", pa.string()),
        ("line", pa.int64()),
        ("rule", pa.string()),
        ("raw", pa.string()),
    ]
)


def collect(staged: list[AnyPath], arrivals: list[Arrival], contract: Contract) -> pa.Table:
    """The job's quarantined rows with their line numbers, in the order of the files."""
    if not staged:
        return SCHEMA.empty_table()
    columns = {"source_file": "_source_file", "sha256": "_sha256", "rule": "_rule", "raw": "_raw"}
    parts = mapped(lambda path: read_rows(path, list(columns.values())), staged)
    rows = pa.concat_tables(parts).rename_columns({old: new for new, old in columns.items()})
    numbered = rows.append_column("line", number_lines(rows, arrivals, contract))
    return (
        numbered.select(SCHEMA.names)
        .cast(SCHEMA)
        .sort_by([("source_file", "ascending"), ("line", "ascending")])
    )


def number_lines(rows: pa.Table, arrivals: list[Arrival], contract: Contract) -> pa.Array:
    """Line of each row in its file. Spark reads lines without their numbers, so the raw zone is asked.

    Of equal texts the n-th row gets the n-th line.
    """
    if contract.source.format == "parquet":
        return pa.nulls(len(rows), pa.int64())
    raw = {arrival.sha256: arrival.raw for arrival in arrivals}
    wanted: dict[str, set[bytes]] = defaultdict(set)
    keys = list(
        zip(rows["sha256"].to_pylist(), (text.encode() for text in rows["raw"].to_pylist()), strict=True)
    )
    for digest, text in keys:
        wanted[digest].add(text)
    found = {digest: lines_of(raw[digest], texts) for digest, texts in wanted.items()}
    used: Counter[tuple[str, bytes]] = Counter()
    numbers = []
    for digest, text in keys:
        places = found[digest].get(text, [])
        numbers.append(places[used[digest, text]] if used[digest, text] < len(places) else None)
        used[digest, text] += 1
    return pa.array(numbers, pa.int64())


def lines_of(path: AnyPath, wanted: set[bytes]) -> dict[bytes, list[int]]:
    """Numbers of the lines that are one of `wanted`."""
    found: dict[bytes, list[int]] = defaultdict(list)
    with open_text(path) as stream:
        for number, line in enumerate(stream, 1):
            text = line.rstrip(b"\r\n")
            if number == 1:
                text = text.removeprefix(codecs.BOM_UTF8)  # as Spark does
            if text in wanted:
                found[text].append(number)
    return found


def count_by_rule(rows: pa.Table) -> dict[str, int]:
    """Rows a rule."""
    counts = pc.value_counts(rows["rule"])
    return {str(item["values"]): int(item["counts"].as_py()) for item in counts}


def read_open(folder: AnyPath, known: Sources) -> pa.Table:
    """The rows of the table's current source files: what a later correction replaced is not among them."""
    parts = []
    for run in sorted(set(known.quarantined.values())):
        files = [path for path, last in known.quarantined.items() if last == run]
        parts.append(read_rows(folder / f"{run}.parquet", filters=[("source_file", "in", files)]))
    rows = pa.concat_tables(parts) if parts else SCHEMA.empty_table()
    return rows.sort_by([("source_file", "ascending"), ("line", "ascending")])


def store(rows: pa.Table, folder: AnyPath, run: str) -> AnyPath | None:
    """Write a run's rows; None where there are none."""
    if not len(rows):
        return None
    path = folder / f"{run}.parquet"
    write_rows(rows, path)
    return path
