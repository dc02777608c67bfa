"""A contract as an Iceberg table: schema, partition spec, sort order, and what may change in place."""

import re

from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.transforms import parse_transform
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    PrimitiveType,
    StringType,
    TimestampType,
    TimestamptzType,
)

from flows.errors import WatchkeeperError
from flows.etl.contract import SOURCE_COLUMN, Contract

TYPES: dict[str, PrimitiveType] = {
    "string": StringType(),
    "int": IntegerType(),
    "long": LongType(),
    "double": DoubleType(),
    "boolean": BooleanType(),
    "date": DateType(),
    "timestamp": TimestampType(),
    "timestamptz": TimestamptzType(),
}
FIRST_PARTITION_FIELD = 1000  # by Iceberg's specification


def iceberg_type(kind: str) -> PrimitiveType:
    """The Iceberg type of a contract type."""
    if match := re.fullmatch(r"decimal\((\d+),(\d+)\)", kind):
        return DecimalType(int(match[1]), int(match[2]))
    return TYPES[kind]


def lake_types(contract: Contract) -> dict[str, PrimitiveType]:
    """Each column's Iceberg type in the contract's order; the source file comes last."""
    return {name: iceberg_type(c.type) for name, c in contract.columns.items()} | {
        SOURCE_COLUMN: StringType()
    }


def field_ids(contract: Contract, table: Table | None) -> dict[str, int]:
    """Iceberg's field id of each column, also of those that the next commit will add."""
    held = {field.name: field.field_id for field in table.schema().fields} if table else {}
    last = table.metadata.last_column_id if table else 0
    new = [name for name in lake_types(contract) if name not in held]
    return held | {name: last + number for number, name in enumerate(new, 1)}


def schema_of(contract: Contract) -> Schema:
    """The schema of a table that does not exist yet; every column may be null."""
    ids = field_ids(contract, None)
    fields = [
        NestedField(ids[name], name, kind, required=False) for name, kind in lake_types(contract).items()
    ]
    return Schema(*fields)


def layout_of(contract: Contract, schema: Schema) -> PartitionSpec:
    """Time or value first, then the bucket of the key."""
    fields = [
        PartitionField(
            source_id=schema.find_field(column).field_id,
            field_id=FIRST_PARTITION_FIELD + number,
            transform=parse_transform(transform),
            name=f"{column}_{transform.partition('[')[0]}",
        )
        for number, (column, transform) in enumerate(contract.layout)
    ]
    return PartitionSpec(*fields)


def sort_of(contract: Contract, schema: Schema) -> SortOrder:
    """How rows lie within a file."""
    fields = [
        SortField(schema.find_field(name).field_id, parse_transform("identity")) for name in contract.sort
    ]
    return SortOrder(*fields) if fields else SortOrder(order_id=0)


def evolve(contract: Contract, tx: Transaction) -> None:
    """Add the contract's new columns and widen types, within the commit that first needs them."""
    held = {field.name: field.field_type for field in tx.table_metadata.schema().fields}
    wanted = lake_types(contract)
    if held == wanted:
        return
    with tx.update_schema() as update:
        for name, kind in wanted.items():
            if name not in held:
                update.add_column(name, kind)
            elif held[name] != kind:
                update.update_column(name, field_type=kind)


def refuse_incompatible(contract: Contract, table: Table) -> None:
    """A contract may gain a column or widen a type.

    Raises:
        WatchkeeperError: any other change to a table that exists, with the remedy.
    """
    faults = list(column_faults(contract, table))
    schema = table.schema()
    held_layout = [(schema.find_column_name(f.source_id), str(f.transform)) for f in table.spec().fields]
    if held_layout != contract.layout:
        faults.append(f"partitioned by {held_layout}, the contract says {contract.layout}")
    held_sort = [schema.find_column_name(f.source_id) for f in table.sort_order().fields]
    if held_sort != contract.sort:
        faults.append(f"sorted by {held_sort}, the contract says {contract.sort}")
    if faults:
        raise WatchkeeperError(
            f"contract {contract.identifier} does not fit its table:\n  "
            + "\n  ".join(faults)
            + "\n  A contract may gain a column or widen a type. For any other change undo it, or name a new"
            + " table: copy the contract to a new file and run the ETL for it."
        )


def column_faults(contract: Contract, table: Table) -> list[str]:
    """Columns that were dropped or whose type became another, in words."""
    wanted = lake_types(contract)
    faults = []
    for field in table.schema().fields:
        if field.name not in wanted:
            faults.append(f"column {field.name!r} is in the table, but no longer in the contract")
        elif not widens(field.field_type, wanted[field.name]):
            faults.append(
                f"column {field.name!r} is {field.field_type}, the contract says {wanted[field.name]}"
            )
    return faults


def widens(held: IcebergType, wanted: IcebergType) -> bool:
    """Iceberg's allowed promotions. Source: https://iceberg.apache.org/spec/#schema-evolution"""
    if isinstance(held, DecimalType) and isinstance(wanted, DecimalType):
        return held.scale == wanted.scale and held.precision <= wanted.precision
    return held == wanted or (isinstance(held, IntegerType) and isinstance(wanted, LongType))
