"""A contract that changes while its table lives: what may change in place, and what is refused."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyiceberg.types import DecimalType, LongType

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl.contract import Contract
from flows.etl.lake import Lake
from flows.etl.sql import Query
from tests.factories import (
    ask,
    compact_table,
    contract_in,
    data_files,
    lake_contents,
    run_table,
    settings_of,
    table_of,
    write_csv,
)

TABLE = "shop.items"
FIRST: dict[str, Any] = {
    "description": "Items.",
    "source": {"pattern": "*.csv", "format": "csv"},
    "columns": {
        "id": {"type": "int"},
        "price": {"type": "decimal(10,2)"},
        "shelf": {"type": "int"},
        "name": {"type": "string"},
    },
    "partition": {"column": "shelf", "transform": "truncate[10]"},
    "bucket": {"column": "id", "count": 2},
    "sort": ["id"],
    "duplicates": "drop",
}
WIDER = FIRST["columns"] | {
    "id": {"type": "long"},
    "price": {"type": "decimal(12,2)"},
    "shelf": {"type": "long"},
    "colour": {"type": "string", "optional": True},
}
BIG = 5_000_000_000


def changed(tmp_path: Path, **changes: object) -> Contract:
    """The contract with other fields."""
    return contract_in(tmp_path / "contracts", "shop", "items", FIRST | changes)


def load(settings: Settings, tmp_path: Path, contract: Contract, name: str, header: str, *rows: str) -> None:
    """Write one source file and bring it in."""
    write_csv(tmp_path / "in" / name, [row.split(",") for row in rows], header.split(","))
    assert run_table(settings, contract, tmp_path / "in").outcome == "committed"


def grow(settings: Settings, folder: Path) -> Contract:
    """A table of two source files, one from before the contract grew; returns today's contract."""
    old = ["1,99999999.99,5,a", "2,-1.00,15,b", "3,,25,c"]
    load(settings, folder, changed(folder), "old.csv", "id,price,shelf,name", *old)
    new = [f"{BIG},9999999999.99,{BIG},d,red", "4,0.50,5,e,"]
    contract = changed(folder, columns=WIDER)
    load(settings, folder, contract, "new.csv", "id,price,shelf,name,colour", *new)
    return contract


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The home of such a table, for tests that only read it."""
    folder = tmp_path_factory.mktemp("grown")
    grow(settings_of(folder / "home"), folder)
    return settings_of(folder / "home")


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The home of a table of the first contract, for tests that are refused."""
    folder = tmp_path_factory.mktemp("settled")
    settings = settings_of(folder / "home")
    load(settings, folder, changed(folder), "a.csv", "id,price,shelf,name", "1,1.25,5,a")
    return settings


OLD_ROWS = [
    (1, Decimal("99999999.99"), 5, "a", None),
    (2, Decimal(-1), 15, "b", None),
    (3, None, 25, "c", None),
]
NEW_ROWS = [(4, Decimal("0.50"), 5, "e", None), (BIG, Decimal("9999999999.99"), BIG, "d", "red")]
EVERYTHING = f"SELECT id, price, shelf, name, colour FROM {TABLE} ORDER BY ALL"


def test_old_rows_are_read_in_the_new_types_and_a_new_column_is_null(grown: Settings) -> None:
    assert ask(grown, EVERYTHING) == OLD_ROWS + NEW_ROWS
    schema = table_of(grown, TABLE).schema()
    assert schema.find_type("id") == LongType()
    assert schema.find_type("price") == DecimalType(12, 2)
    assert len(table_of(grown, TABLE).snapshots()) == 2, "the schema changed with the commit that needed it"


@pytest.mark.parametrize(
    ("where", "ids", "files"),
    [
        ("id = 1", [1], 1),
        (f"id = {BIG}", [BIG], 1),
        (f"id > {2**31}", [BIG], 1),
        ("price = 99999999.99", [1], 1),
        ("price > 100000000", [BIG], 1),
        ("price < 0", [2], 1),
        ("shelf BETWEEN 10 AND 19", [2], 1),
        ("shelf = 5", [1, 4], 2),
        ("colour = 'red'", [BIG], 4),  # Iceberg does not know that old files have none
        ("colour IS NULL AND name = 'c'", [3], 1),
    ],
)
def test_queries_prune_files_of_both_schemas(grown: Settings, where: str, ids: list[int], files: int) -> None:
    query = Query(Lake(grown), f"SELECT id FROM {TABLE} WHERE {where} ORDER BY 1")
    assert [row[0] for row in query.run().fetchall()] == ids
    assert len(query.scans[0].paths) <= files


def test_iceberg_itself_reads_both_schemas(grown: Settings) -> None:
    rows = table_of(grown, TABLE).scan(row_filter=f"id >= {BIG} or price < 0").to_arrow().to_pylist()
    assert {(row["id"], row["price"], row["colour"]) for row in rows} == {
        (2, Decimal("-1.00"), None),
        (BIG, Decimal("9999999999.99"), "red"),
    }


def test_a_correction_rewrites_files_of_the_old_schema_in_the_new_one(
    settings: Settings, tmp_path: Path
) -> None:
    """`old.csv` shares shelf 5 with nobody of its own time; the correction keeps what others have there."""
    load(
        settings,
        tmp_path,
        grow(settings, tmp_path),
        "old.csv",
        "id,price,shelf,name,colour",
        f"1,{BIG}.00,5,A,blue",
        "2,-1.00,15,b,",
    )
    assert ask(settings, EVERYTHING) == [
        (1, Decimal(BIG), 5, "A", "blue"),
        (2, Decimal(-1), 15, "b", None),
        *NEW_ROWS,
    ]
    for path in data_files(settings, TABLE):
        types = {field.name: str(field.type) for field in pq.read_schema(path)}
        assert (types["id"], types["price"], types["shelf"]) == ("int64", "decimal128(12, 2)", "int64")


def test_rows_of_others_in_an_old_file_are_rewritten_in_the_new_schema(
    settings: Settings, tmp_path: Path
) -> None:
    first = changed(tmp_path)
    header = "id,price,shelf,name"
    write_csv(tmp_path / "in" / "a.csv", [["1", "1.25", "5", "a"]], header.split(","))
    load(settings, tmp_path, first, "b.csv", header, "4,3.75,5,b")
    [old] = data_files(settings, TABLE)
    assert str(pq.read_schema(old).field("id").type) == "int32"
    contract = changed(tmp_path, columns=WIDER)
    load(settings, tmp_path, contract, "a.csv", header, "1,1.50,5,a")
    [new] = data_files(settings, TABLE)
    assert str(pq.read_schema(new).field("id").type) == "int64"
    assert ask(settings, EVERYTHING) == [
        (1, Decimal("1.50"), 5, "a", None),
        (4, Decimal("3.75"), 5, "b", None),
    ]


def test_compaction_joins_files_of_both_schemas(settings: Settings, tmp_path: Path) -> None:
    contract = grow(settings, tmp_path)
    before = ask(settings, EVERYTHING)
    load(settings, tmp_path, contract, "more.csv", "id,price,shelf,name", "1,7.00,5,z")
    upkeep = compact_table(settings, contract)
    assert (upkeep.files_rewritten, upkeep.files_written) == (3, 1), "1 and 4 share a cell"
    assert ask(settings, EVERYTHING) == [(1, Decimal(7), 5, "z", None), *before]


def without(column: str) -> dict[str, Any]:
    """The first contract's columns but one."""
    return {name: value for name, value in FIRST["columns"].items() if name != column}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a column dropped": (
        {"columns": without("name")},
        "column 'name' is in the table, but no longer in the contract",
    ),
    "a column renamed": (
        {"columns": without("name") | {"title": {"type": "string", "source": "name"}}},
        "column 'name' is in the table, but no longer in the contract",
    ),
    "a type narrowed": (
        {"columns": FIRST["columns"] | {"price": {"type": "decimal(9,2)"}}},
        "column 'price' is decimal(10, 2), the contract says decimal(9, 2)",
    ),
    "a scale changed": (
        {"columns": FIRST["columns"] | {"price": {"type": "decimal(12,3)"}}},
        "column 'price' is decimal(10, 2), the contract says decimal(12, 3)",
    ),
    "a number made text": (
        {"columns": FIRST["columns"] | {"id": {"type": "string"}}, "bucket": None},
        "column 'id' is int, the contract says string",
    ),
    "another partition": (
        {"partition": {"column": "shelf", "transform": "identity"}},
        "partitioned by [('shelf', 'truncate[10]'), ('id', 'bucket[2]')], the contract says "
        "[('shelf', 'identity'), ('id', 'bucket[2]')]",
    ),
    "more buckets": (
        {"bucket": {"column": "id", "count": 4}},
        "partitioned by [('shelf', 'truncate[10]'), ('id', 'bucket[2]')], the contract says "
        "[('shelf', 'truncate[10]'), ('id', 'bucket[4]')]",
    ),
    "no bucket": (
        {"bucket": None},
        "partitioned by [('shelf', 'truncate[10]'), ('id', 'bucket[2]')], the contract says "
        "[('shelf', 'truncate[10]')]",
    ),
    "another order": ({"sort": ["name"]}, "sorted by ['id'], the contract says ['name']"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_any_other_change_is_refused_with_the_remedy(settled: Settings, tmp_path: Path, case: str) -> None:
    changes, complaint = REFUSED[case]
    contract = changed(tmp_path, **changes)
    write_csv(tmp_path / "in" / "b.csv", [["2", "1.25", "5", "b"]], ["id", "price", "shelf", "name"])
    before = lake_contents(settled)
    with pytest.raises(WatchkeeperError) as refused:
        run_table(settled, contract, tmp_path / "in")
    assert complaint in str(refused.value)
    assert "undo it, or name a new table: copy the contract to a new file" in str(refused.value)
    assert lake_contents(settled) == before


def test_columns_in_another_order_are_the_same_table(settings: Settings, tmp_path: Path) -> None:
    header = "id,price,shelf,name"
    load(settings, tmp_path, changed(tmp_path), "a.csv", header, "1,1.25,5,a")
    swapped = changed(tmp_path, columns=dict(reversed(FIRST["columns"].items())))
    load(settings, tmp_path, swapped, "b.csv", header, "2,2.50,5,b")
    assert ask(settings, f"SELECT id, price, shelf, name FROM {TABLE} ORDER BY 1") == [
        (1, Decimal("1.25"), 5, "a"),
        (2, Decimal("2.50"), 5, "b"),
    ]
