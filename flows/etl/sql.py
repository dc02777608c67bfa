"""SQL over the committed lake. DuckDB answers; PyIceberg says which files it has to read.

DuckDB's own planner shows which filters reach each table; PyIceberg prunes the table's files with them,
by partition, by bucket and by statistics, as Athena does on AWS. What PyIceberg does not understand only
costs files: DuckDB applies every filter itself.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyiceberg.expressions import AlwaysFalse, AlwaysTrue, And, BooleanExpression, Or
from pyiceberg.expressions.parser import parse
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.table import Table
from pyparsing import ParseBaseException

from flows.console import mebibytes
from flows.errors import WatchkeeperError
from flows.etl.lake import Lake
from flows.paths import path_of, rows_of
from flows.s3_path import AnyPath

MARK = "::"
"""Between table and column in the planner's stand-ins, so that a filter tells which table it is for."""
TOKEN = re.compile(
    r"(?:TIMESTAMPTZ|TIMESTAMP|DATE) '(?P<day>[^' ]+)(?: (?P<clock>[^' ]+))?'"
    r"|CAST\('(?P<decimal>[^']+)' AS DECIMAL\(\d+, \d+\)\)"
    r"|(?P<text>'(?:[^']|'')*')"
    rf'|"[^"]*{MARK}(?P<column>[^"]+)"'
)
"""What DuckDB writes in its plan and Iceberg otherwise; texts are matched so that nothing in them is."""


@dataclass(frozen=True)
class Scan:
    """The files that a query reads of one table."""

    table: str
    paths: list[AnyPath]
    bytes: int
    files_in_table: int
    schema: pa.Schema

    def __str__(self) -> str:
        return f"{self.table}: {len(self.paths)} of {self.files_in_table} files, {mebibytes(self.bytes)}"


class Query:
    """One query, planned: `scans` says what it will read, `connection` can run it."""

    def __init__(self, lake: Lake, sql: str, as_of: str | None = None) -> None:
        self.sql = sql.strip().rstrip(";")
        self.connection = connect()
        tables = {name: (table, snapshot_of(table, as_of)) for name, table in self._tables(lake).items()}
        filters = pushed_filters(self.sql, {name: schema_at(*found) for name, found in tables.items()})
        self.scans = [plan_scan(name, *found, filters[name]) for name, found in tables.items()]
        for scan in self.scans:
            self._register(scan)

    def _tables(self, lake: Lake) -> dict[str, Table]:
        found = {name: lake.table(name) for name in tables_in(self.connection, self.sql)}
        for name in (name for name, table in found.items() if table is None):
            raise WatchkeeperError(
                f"no table {name!r} in the lake; there are: "
                + (", ".join(lake.tables()) or "none yet, run `task demo`")
            )
        return {name: table for name, table in found.items() if table is not None}

    def _register(self, scan: Scan) -> None:
        self.connection.register(scan.table + MARK, rows_of(scan.paths, scan.schema))
        create_view(self.connection, scan.table, "*", scan.table + MARK)

    def run(self, template: str = "{}") -> duckdb.DuckDBPyConnection:
        """Run the query, or another one around it.

        Raises:
            WatchkeeperError: DuckDB refuses it.
        """
        return execute(self.connection, self.sql, template)


def execute(
    connection: duckdb.DuckDBPyConnection, sql: str, template: str = "{}"
) -> duckdb.DuckDBPyConnection:
    """Run a query, or another one around it.

    Raises:
        WatchkeeperError: DuckDB refuses it.
    """
    try:
        return connection.execute(template.format(sql))
    except duckdb.Error as error:
        raise WatchkeeperError(plain(error)) from None


def connect() -> duckdb.DuckDBPyConnection:
    """A DuckDB that sees the lake's tables and nothing else of this machine."""
    connection = duckdb.connect()
    connection.execute("SET python_enable_replacements = false; SET TimeZone = 'UTC'")
    connection.execute("SET enable_external_access = false")
    return connection


def tables_in(connection: duckdb.DuckDBPyConnection, sql: str) -> list[str]:
    """The `dataset.table` names that a query reads, by DuckDB's own parser.

    Raises:
        WatchkeeperError: it is not one SELECT.
    """
    parsed = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()[0][0]
    tree = json.loads(parsed)
    if tree["error"]:
        told = tree["error_message"] + "; " if tree["error_type"] == "parser" else ""
        raise WatchkeeperError(f"{told}task sql takes one SELECT")
    if len(tree["statements"]) != 1:
        raise WatchkeeperError("task sql takes one SELECT at a time")
    return sorted(set(base_tables(tree)))


def base_tables(tree: object) -> Iterator[str]:
    """Names with a schema; those without are the query's own."""
    if isinstance(tree, dict):
        if tree.get("type") == "BASE_TABLE" and tree["schema_name"]:
            yield f"{tree['schema_name']}.{tree['table_name']}".lower()
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            yield from base_tables(branch)


def create_view(connection: duckdb.DuckDBPyConnection, table: str, columns: str, source: str) -> None:
    """`dataset.table` over a registered frame."""
    schema, name = table.split(".")
    connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    connection.execute(f'CREATE VIEW "{schema}"."{name}" AS SELECT {columns} FROM "{source}"')


def plain(error: duckdb.Error) -> str:
    """DuckDB's message for people, without the statement that we made of theirs."""
    return str(error).partition("\n\nLINE ")[0].strip()


def snapshot_of(table: Table, as_of: str | None) -> int | None:
    """The snapshot to read: the current one, one by its id, or the one of a moment (UTC unless it says)."""
    name = ".".join(table.name())
    if as_of is None:
        current = table.current_snapshot()
        return current.snapshot_id if current else None
    if as_of.isdigit() and len(as_of) > 8:
        if table.snapshot_by_id(int(as_of)) is None:
            ids = ", ".join(str(snapshot.snapshot_id) for snapshot in table.snapshots()[-5:])
            raise WatchkeeperError(f"{name} has no snapshot {as_of}; its newest are {ids}")
        return int(as_of)
    try:
        moment = datetime.fromisoformat(as_of)
    except ValueError:
        raise WatchkeeperError(
            f"--as-of takes a snapshot id or a time such as 2026-01-31T12:00, not {as_of!r}"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    found = table.snapshot_as_of_timestamp(int(moment.timestamp() * 1000))
    if found is None:
        first = datetime.fromtimestamp(table.snapshots()[0].timestamp_ms / 1000, UTC)
        raise WatchkeeperError(
            f"{name} did not exist at {moment.isoformat()}; its first snapshot is of {first:%F %T} UTC"
        )
    return found.snapshot_id


def schema_at(table: Table, snapshot: int | None) -> pa.Schema:
    """The table's columns as of a snapshot."""
    return schema_to_pyarrow(table.scan(snapshot_id=snapshot).projection(), include_field_ids=False)


def pushed_filters(sql: str, schemas: dict[str, pa.Schema]) -> dict[str, BooleanExpression]:
    """What DuckDB's planner filters each table by, as far as Iceberg can say it."""
    planner = connect()
    for name, schema in schemas.items():
        marked = [field.with_name(name + MARK + field.name) for field in schema]
        planner.register(name + MARK, ds.dataset(pa.schema(marked).empty_table()))
        columns = ", ".join(f'"{name}{MARK}{field.name}" AS "{field.name}"' for field in schema)
        create_view(planner, name, columns, name + MARK)
    try:
        plan = planner.execute(f"EXPLAIN (FORMAT json) {sql}").fetchall()
    except duckdb.Error as error:
        raise WatchkeeperError(plain(error)) from None
    filters: dict[str, BooleanExpression] = {name: AlwaysFalse() for name in schemas}
    for node in scans_of(json.loads(plan[0][1])):
        owners = [name for name in schemas if name + MARK in str(node)]
        wanted = condition(node.get("Filters", [])) if len(owners) == 1 else AlwaysTrue()
        for name in owners or schemas:
            filters[name] = Or(filters[name], wanted)
    return filters


def scans_of(nodes: list[dict[str, object]]) -> Iterator[dict[str, list[str]]]:
    """What DuckDB's plan says of each scan of a registered frame."""
    for node in nodes:
        if str(node["name"]).strip().endswith("ARROW_SCAN"):
            yield node["extra_info"]  # type: ignore[misc]
        yield from scans_of(node["children"])  # type: ignore[arg-type]


def condition(filters: list[str] | str) -> BooleanExpression:
    """Those filters that Iceberg understands, together."""
    wanted: BooleanExpression = AlwaysTrue()
    texts = [filters] if isinstance(filters, str) else filters
    if any(text.count("'") % 2 or "\\" in text for text in texts):
        return wanted  # a line break or an escape within a text, of which no two parsers think alike
    for text in texts:
        try:
            wanted = And(wanted, parse(TOKEN.sub(in_icebergs_words, text)))
        except (ParseBaseException, ValueError, TypeError):  # not Iceberg's to say: it costs files only
            pass
    return wanted


def in_icebergs_words(token: re.Match[str]) -> str:
    """A column or a literal of DuckDB's plan as Iceberg writes it."""
    if token["column"]:
        return f'"{token["column"]}"'
    if token["decimal"]:
        return f"'{token['decimal']}'"
    if token["day"]:
        clock = re.sub(r"([+-]\d\d)$", r"\1:00", f"T{token['clock']}") if token["clock"] else ""
        return f"'{token['day']}{clock}'"
    return token[0]


def plan_scan(name: str, table: Table, snapshot: int | None, filters: BooleanExpression) -> Scan:
    """The files that Iceberg cannot rule out."""
    schema = schema_at(table, snapshot)
    every = list(table.scan(snapshot_id=snapshot).plan_files())
    try:
        tasks = list(table.scan(row_filter=filters, snapshot_id=snapshot).plan_files())
    except (TypeError, ValueError, OverflowError):  # a literal that does not fit the column's type
        tasks = every
    paths = [path_of(task.file.file_path) for task in tasks]
    return Scan(name, paths, sum(task.file.file_size_in_bytes for task in tasks), len(every), schema)
