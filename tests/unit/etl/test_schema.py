"""A contract becomes an Iceberg table, and may only change as Iceberg's specification allows."""

from pathlib import Path

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import DecimalType, IntegerType, LongType, StringType

from flows.errors import WatchkeeperError
from flows.etl.contract import SOURCE_COLUMN, Contract
from flows.etl.schema import (
    evolve,
    field_ids,
    iceberg_type,
    layout_of,
    refuse_incompatible,
    schema_of,
    sort_of,
    widens,
)
from tests.factories import SHIPPED, contract_in, shipped

STALL = """\
description: What a stall sold.
source: {pattern: "*.csv", format: csv}
columns:
  id: {type: string}
  day: {type: date}
  amount: {type: int}
  price: {type: "decimal(12,3)"}
partition: {column: day, transform: month}
bucket: {column: amount, count: 4}
sort: [id, day]
duplicates: drop
"""
IDENTIFIERS = [f"{path.parent.name}.{path.stem}" for path in sorted(SHIPPED.glob("*/*.yaml"))]


@pytest.fixture
def catalog(tmp_path: Path) -> SqlCatalog:
    made = SqlCatalog(
        "lake", uri=f"sqlite:///{tmp_path / 'catalog.db'}", warehouse=(tmp_path / "lake").as_uri()
    )
    made.create_namespace("market")
    return made


def stall(folder: Path, *changes: tuple[str, str]) -> Contract:
    """The stall's contract with changes."""
    text = STALL
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    return contract_in(folder, "market", "stall", text)


def created(catalog: SqlCatalog, contract: Contract, schema: Schema | None = None) -> Table:
    """The contract's table, as PyIceberg makes it."""
    schema = schema or schema_of(contract)
    return catalog.create_table(
        f"market.{contract.table}",
        schema,
        partition_spec=layout_of(contract, schema),
        sort_order=sort_of(contract, schema),
    )


def evolved(table: Table, contract: Contract) -> Table:
    """The table after a commit under the contract."""
    with table.transaction() as tx:
        evolve(contract, tx)
    return table.refresh()


def ids_of(table: Table) -> dict[str, int]:
    return {field.name: field.field_id for field in table.schema().fields}


@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_field_ids_are_those_that_pyiceberg_gives_a_new_table(catalog: SqlCatalog, identifier: str) -> None:
    contract = shipped(identifier)
    assert ids_of(created(catalog, contract)) == field_ids(contract, None)


def test_field_ids_are_those_that_pyiceberg_gives_on_evolution(catalog: SqlCatalog, tmp_path: Path) -> None:
    table = created(catalog, stall(tmp_path))
    # New columns at the beginning, in the middle and at the end, beside a type that is widened.
    wider = stall(
        tmp_path,
        ("  id: {type: string}", "  colour: {type: string}\n  id: {type: string}"),
        ("amount: {type: int}", "amount: {type: long}\n  size: {type: int}"),
        ('price: {type: "decimal(12,3)"}', 'price: {type: "decimal(14,3)"}\n  weight: {type: double}'),
    )
    foretold = field_ids(wider, table)
    table = evolved(table, wider)
    assert ids_of(table) == foretold
    again = stall(
        tmp_path,
        ("  id: {type: string}", "  first: {type: int}\n  colour: {type: string}\n  id: {type: string}"),
        ("amount: {type: int}", "amount: {type: long}\n  size: {type: int}"),
        ('price: {type: "decimal(12,3)"}', 'price: {type: "decimal(14,3)"}\n  weight: {type: double}'),
    )
    foretold = field_ids(again, table)
    assert ids_of(evolved(table, again)) == foretold
    assert foretold["first"] == max(foretold.values())


def test_ids_that_a_dropped_column_had_are_not_given_again(catalog: SqlCatalog, tmp_path: Path) -> None:
    table = created(catalog, stall(tmp_path))
    with table.update_schema() as update:
        update.add_column("passing", StringType())
    with table.update_schema() as update:
        update.delete_column("passing")
    wider = stall(tmp_path, ("  id: {type: string}", "  id: {type: string}\n  colour: {type: string}"))
    foretold = field_ids(wider, table)
    assert ids_of(evolved(table, wider)) == foretold
    assert foretold["colour"] == 7  # five columns with the source file's, one that passed


def test_every_column_may_be_null_and_the_source_file_is_the_last(tmp_path: Path) -> None:
    fields = schema_of(stall(tmp_path)).fields
    assert not any(field.required for field in fields)
    assert [field.name for field in fields] == ["id", "day", "amount", "price", SOURCE_COLUMN]


def test_the_layout_and_the_order_of_rows_are_the_contracts(catalog: SqlCatalog, tmp_path: Path) -> None:
    table = created(catalog, stall(tmp_path))
    spec = [
        (f.name, str(f.transform), table.schema().find_column_name(f.source_id)) for f in table.spec().fields
    ]
    assert spec == [("day_month", "month", "day"), ("amount_bucket", "bucket[4]", "amount")]
    assert [table.schema().find_column_name(f.source_id) for f in table.sort_order().fields] == ["id", "day"]


def test_a_table_may_have_neither_layout_nor_order(catalog: SqlCatalog, tmp_path: Path) -> None:
    plain = stall(
        tmp_path,
        ("partition: {column: day, transform: month}\n", ""),
        ("bucket: {column: amount, count: 4}\n", ""),
        ("sort: [id, day]\n", ""),
    )
    table = created(catalog, plain)
    assert table.spec().is_unpartitioned()
    assert table.sort_order().is_unsorted
    refuse_incompatible(plain, table)


@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_a_contract_fits_the_table_that_it_made(catalog: SqlCatalog, identifier: str) -> None:
    contract = shipped(identifier)
    table = created(catalog, contract)
    refuse_incompatible(contract, table)
    assert evolved(table, contract).metadata.current_schema_id == 0


ALLOWED = {
    "a new column": ("  day: {type: date}", "  new: {type: double}\n  day: {type: date}"),
    "int to long": ("amount: {type: int}", "amount: {type: long}"),
    "more digits": ("decimal(12,3)", "decimal(38,3)"),
    "another order of the columns": (
        "  id: {type: string}\n  day: {type: date}\n",
        "  day: {type: date}\n  id: {type: string}\n",
    ),
    "a new rule": (
        "duplicates: drop",
        "duplicates: drop\nrules:\n  - {name: r, column: amount, range: {min: 0}}",
    ),
    "another description": ("What a stall sold.", "What a stall sold, by item."),
    "another way with duplicates": ("duplicates: drop", "duplicates: keep"),
}


@pytest.mark.parametrize("change", ALLOWED.values(), ids=ALLOWED.keys())
def test_what_iceberg_allows_is_done_in_place(
    catalog: SqlCatalog, tmp_path: Path, change: tuple[str, str]
) -> None:
    table = created(catalog, stall(tmp_path))
    before = ids_of(table)
    contract = stall(tmp_path, change)
    refuse_incompatible(contract, table)
    table = evolved(table, contract)
    held = {field.name: field.field_type for field in table.schema().fields}
    assert held == {name: iceberg_type(c.type) for name, c in contract.columns.items()} | {
        SOURCE_COLUMN: StringType()
    }
    assert before.items() <= ids_of(table).items()
    refuse_incompatible(contract, table)


REFUSED = {
    "a column that is gone": (
        '  price: {type: "decimal(12,3)"}\n',
        "",
        "column 'price' is in the table, but no longer in the contract",
    ),
    "a column of another name": (
        "  price: {type",
        "  cost: {type",
        "column 'price' is in the table, but no longer in the contract",
    ),
    "another type": (
        "id: {type: string}",
        "id: {type: long}",
        "column 'id' is string, the contract says long",
    ),
    "a date to a time": (
        "day: {type: date}",
        "day: {type: timestamp}",
        "column 'day' is date, the contract says timestamp",
    ),
    "fewer digits": (
        "decimal(12,3)",
        "decimal(11,3)",
        "column 'price' is decimal(12, 3), the contract says decimal(11, 3)",
    ),
    "another scale": (
        "decimal(12,3)",
        "decimal(12,2)",
        "column 'price' is decimal(12, 3), the contract says decimal(12, 2)",
    ),
    "another transform": (
        "transform: month",
        "transform: day",
        "partitioned by [('day', 'month'), ('amount', 'bucket[4]')], the contract says [('day', 'day'), ",
    ),
    "other buckets": (
        "count: 4",
        "count: 8",
        "the contract says [('day', 'month'), ('amount', 'bucket[8]')]",
    ),
    "no partition": (
        "partition: {column: day, transform: month}\n",
        "",
        "the contract says [('amount', 'bucket[4]')]",
    ),
    "another order of rows": (
        "sort: [id, day]",
        "sort: [day]",
        "sorted by ['id', 'day'], the contract says ['day']",
    ),
}


@pytest.mark.parametrize(("old", "new", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_any_other_change_is_refused_with_the_remedy(
    catalog: SqlCatalog, tmp_path: Path, old: str, new: str, said: str
) -> None:
    table = created(catalog, stall(tmp_path))
    with pytest.raises(WatchkeeperError) as refused:
        refuse_incompatible(stall(tmp_path, (old, new)), table)
    message = str(refused.value)
    assert message.startswith("contract market.stall does not fit its table:\n")
    assert said in message
    assert "undo it, or name a new table: copy the contract to a new file" in message


def test_every_misfit_is_said_at_once(catalog: SqlCatalog, tmp_path: Path) -> None:
    table = created(catalog, stall(tmp_path))
    changed = stall(
        tmp_path, ("id: {type: string}", "id: {type: int}"), ("count: 4", "count: 5"), ("[id, day]", "[]")
    )
    with pytest.raises(WatchkeeperError) as refused:
        refuse_incompatible(changed, table)
    assert all(said in str(refused.value) for said in ("column 'id'", "partitioned by", "sorted by"))


def test_a_wide_type_is_not_made_narrow_again(catalog: SqlCatalog, tmp_path: Path) -> None:
    table = evolved(created(catalog, stall(tmp_path)), stall(tmp_path, ("type: int", "type: long")))
    with pytest.raises(WatchkeeperError, match="column 'amount' is long, the contract says int"):
        refuse_incompatible(stall(tmp_path), table)


def test_a_type_widens_to_itself_and_to_what_holds_all_its_values() -> None:
    assert widens(IntegerType(), IntegerType())
    assert widens(IntegerType(), LongType())
    assert not widens(LongType(), IntegerType())
    assert not widens(IntegerType(), StringType())
    assert widens(DecimalType(5, 2), DecimalType(6, 2))
    assert not widens(DecimalType(5, 2), DecimalType(6, 3))
    assert not widens(DecimalType(5, 2), LongType())
