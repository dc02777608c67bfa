"""A file of Spark's becomes a data file of Iceberg's: its cell, its rows and its bounds."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.conversions import from_bytes
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Record
from pyiceberg.types import NestedField, PrimitiveType

from flows.etl.contract import SOURCE_COLUMN, Contract
from flows.etl.job import VERDICT_COLUMNS
from flows.etl.schema import layout_of, schema_of, sort_of
from flows.etl.staged import (
    NULL_FOLDER,
    count_copies,
    count_kept,
    count_rows,
    data_file,
    lake_files,
    partition_of,
    plain_path,
    quarantine_files,
)
from tests.factories import contract_in

STALL = """\
description: What a stall sold.
source: {pattern: "*.csv", format: csv}
columns:
  kind: {type: string}
  day: {type: date}
  amount: {type: int}
  price: {type: "decimal(12,3)"}
partition: {column: day, transform: month}
bucket: {column: amount, count: 4}
sort: [kind]
duplicates: drop
"""


def metadata_of(folder: Path, text: str = STALL) -> TableMetadata:
    """The metadata of the contract's table."""
    contract: Contract = contract_in(folder, "market", "stall", text)
    catalog = SqlCatalog("lake", uri="sqlite:///:memory:", warehouse=folder.as_uri())
    catalog.create_namespace("market")
    schema = schema_of(contract)
    return catalog.create_table(
        "market.stall",
        schema,
        partition_spec=layout_of(contract, schema),
        sort_order=sort_of(contract, schema),
    ).metadata


def written(path: Path, table: TableMetadata, rows: list[dict[str, Any]]) -> Path:
    """A file with Iceberg's field ids and the verdict's columns, as the job writes it."""
    schema = schema_to_pyarrow(table.schema(), include_field_ids=True)
    for name, kind, number in VERDICT_COLUMNS:
        arrow = {"string": pa.string(), "bigint": pa.int64()}[kind]
        schema = schema.append(pa.field(name, arrow, metadata={"PARQUET:field_id": str(number)}))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


def primitive(field: NestedField) -> PrimitiveType:
    assert isinstance(field.field_type, PrimitiveType)
    return field.field_type


def test_the_folders_tell_the_lakes_files_from_the_quarantines(tmp_path: Path) -> None:
    for name in (
        "_sink=0/_p0=1/a.parquet",
        "_sink=0/_p0=2/b.parquet",
        "_sink=1/_p0=x/c.parquet",
        "_sink=0/d.crc",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"a": [1, 2]}), tmp_path / name)
    assert [path.name for path in lake_files(tmp_path)] == ["a.parquet", "b.parquet"]
    assert [path.name for path in quarantine_files(tmp_path)] == ["c.parquet"]
    assert count_rows(lake_files(tmp_path)) == 4


def test_an_output_of_nothing_has_no_files(tmp_path: Path) -> None:
    assert lake_files(tmp_path / "none") == quarantine_files(tmp_path / "none") == []
    assert count_rows([]) == 0


PARTITIONED = {
    # Layout of the contract, folders of the file, values of the partition.
    "a month and a bucket": (
        "partition: {column: day, transform: month}\nbucket: {column: amount, count: 4}",
        ["_p0=491", "_p1=2"],
        [491, 2],
    ),
    "a month before 1970": ("partition: {column: day, transform: month}", ["_p0=-13"], [-13]),
    "a day": ("partition: {column: day, transform: day}", ["_p0=14944"], [14944]),
    "a text that looks like a number": (
        "partition: {column: kind, transform: identity}",
        ["_p0=007"],
        ["007"],
    ),
    "a text that a path cannot hold": (
        "partition: {column: kind, transform: identity}",
        ["_p0=" + quote("a/b=c: 100% ä 😀", safe="")],
        ["a/b=c: 100% ä 😀"],
    ),
    "the beginning of a text": ("partition: {column: kind, transform: 'truncate[3]'}", ["_p0=Gar"], ["Gar"]),
    "a truncated number": ("partition: {column: amount, transform: 'truncate[10]'}", ["_p0=-10"], [-10]),
    "a number as it is": ("partition: {column: amount, transform: identity}", ["_p0=7"], [7]),
    "nothing known": (
        "partition: {column: kind, transform: identity}\nbucket: {column: amount, count: 4}",
        [f"_p0={NULL_FOLDER}", f"_p1={NULL_FOLDER}"],
        [None, None],
    ),
    "no layout": ("", [], []),
}


@pytest.mark.parametrize(("layout", "folders", "values"), PARTITIONED.values(), ids=PARTITIONED.keys())
def test_a_files_cell_is_read_from_its_folders(
    tmp_path: Path, layout: str, folders: list[str], values: list[Any]
) -> None:
    begin, _, rest = STALL.partition("partition:")
    table = metadata_of(tmp_path, begin + layout + "\n" + rest[rest.index("sort:") :])
    path = tmp_path.joinpath("lake", "_sink=0", *folders, "part-0.parquet")
    assert partition_of(path, table) == Record(*values)


def test_a_data_file_has_the_rows_and_the_bounds_of_its_footer(tmp_path: Path) -> None:
    table = metadata_of(tmp_path)
    rows: list[dict[str, Any]] = [
        {
            "kind": "apple",
            "day": date(2010, 12, 1),
            "amount": -3,
            "price": Decimal("0.500"),
            SOURCE_COLUMN: "in a.csv",
        },
        {
            "kind": None,
            "day": date(2010, 12, 9),
            "amount": 12,
            "price": Decimal("9.125"),
            SOURCE_COLUMN: "in b.csv",
        },
    ]
    path = written(tmp_path / "la ke%20" / "_sink=0" / "_p0=491" / "_p1=2" / "part-0.parquet", table, rows)
    made = data_file(path, table)
    # Letter by letter, as Iceberg takes a location.
    assert made.file_path == str(path)
    assert plain_path(made.file_path) == plain_path(f"file://{path}") == str(path)
    assert made.partition == Record(491, 2)
    assert (made.record_count, made.file_size_in_bytes) == (2, path.stat().st_size)
    assert made.sort_order_id == table.default_sort_order_id
    ids = {field.name: (field.field_id, primitive(field)) for field in table.schema().fields}
    bounds: dict[str, Any] = {
        name: (from_bytes(kind, made.lower_bounds[number]), from_bytes(kind, made.upper_bounds[number]))
        for name, (number, kind) in ids.items()
        if number in made.lower_bounds
    }
    assert bounds["amount"] == (-3, 12)
    assert bounds["price"] == (Decimal("0.500"), Decimal("9.125"))
    assert bounds[SOURCE_COLUMN] == ("in a.csv", "in b.csv")
    assert made.null_value_counts[ids["kind"][0]] == 1


def test_the_verdicts_columns_leave_no_trace_in_the_tables_statistics(tmp_path: Path) -> None:
    table = metadata_of(tmp_path)
    path = written(tmp_path / "_sink=0" / "_p0=1" / "_p1=1" / "a.parquet", table, [{"amount": 1}])
    made = data_file(path, table)
    own = {field.field_id for field in table.schema().fields}
    for statistics in (made.lower_bounds, made.upper_bounds, made.null_value_counts, made.value_counts):
        assert set(statistics or {}) <= own


def test_a_file_outside_of_the_layout_is_not_taken(tmp_path: Path) -> None:
    table = metadata_of(tmp_path)
    path = written(tmp_path / "_sink=0" / "_p0=1" / "a.parquet", table, [{"amount": 1}])
    with pytest.raises(KeyError, match="_p1"):
        data_file(path, table)


def test_copies_are_counted_in_the_lakes_files_and_in_the_quarantines(tmp_path: Path) -> None:
    table = metadata_of(tmp_path)
    files = [
        written(tmp_path / "1.parquet", table, [{"_copies": 2}, {"_copies": None}, {"_copies": 1}]),
        written(tmp_path / "2.parquet", table, [{"_rule": "r", "_copies": 4}]),
        written(tmp_path / "3.parquet", table, [{"_copies": None}]),
        written(tmp_path / "4.parquet", table, []),
    ]
    assert count_copies(files) == 7
    assert count_copies([]) == 0


def test_rows_of_other_sources_are_kept(tmp_path: Path) -> None:
    table = metadata_of(tmp_path)
    files = []
    for number, sources in enumerate((["a.csv", "b.csv", "b.csv"], ["a.csv"], ["c.csv"])):
        path = tmp_path / "_sink=0" / "_p0=1" / "_p1=1" / f"{number}.parquet"
        files.append(data_file(written(path, table, [{SOURCE_COLUMN: source} for source in sources]), table))
    assert count_kept(files, ["a.csv"]) == 3
    assert count_kept(files, ["a.csv", "b.csv", "c.csv"]) == 0
    assert count_kept(files, []) == 5
    assert count_kept([], ["a.csv"]) == 0
