"""`task sql -- --engine athena`: the same query where the lake is on AWS, with what it read and cost."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
from botocore.exceptions import BotoCoreError, ClientError

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl.runners.aws import Aws

LEAST_BYTES = 10 * 10**6
"""That each query is billed for. Source: https://aws.amazon.com/athena/pricing/"""
FIRST_SECONDS, LONGEST_SECONDS = 0.1, 2.0
"""Between two looks at a query."""
REMEDIES = {
    "AccessDeniedException": "attach the stack's policy: `task aws:check` says what lacks",
    "ExpiredTokenException": "renew your AWS login",
    "ThrottlingException": "run it again later",
    "TooManyRequestsException": "too many queries run already; run it again later",
}
TYPES = {
    "tinyint": "TINYINT",
    "smallint": "SMALLINT",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}
"""Athena's types by DuckDB's name; what is not here stays a text, as Athena gives it."""


@dataclass(frozen=True)
class Answer:
    """What Athena answered.

    Attributes:
        columns: name and DuckDB's type of each.
        rows: of texts; None is null.
        bytes_scanned: as Athena bills them.
    """

    columns: list[tuple[str, str]]
    rows: list[list[str | None]]
    bytes_scanned: int

    def relation(self, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        """The answer typed, for whoever prints it."""
        texts = pa.table([pa.array(column, pa.string()) for column in self._by_column()], self._numbers())
        typed = ", ".join(
            f'CAST("{number}" AS {kind}) AS "{name.replace(chr(34), chr(34) * 2)}"'
            for number, (name, kind) in enumerate(self.columns)
        )
        return connection.from_arrow(texts).project(typed)

    def dollars(self, per_tb: float) -> float:
        """What the query cost."""
        return max(self.bytes_scanned, LEAST_BYTES) / 10**12 * per_tb

    def _by_column(self) -> list[list[str | None]]:
        return [[row[number] for row in self.rows] for number in range(len(self.columns))]

    def _numbers(self) -> list[str]:
        return [str(number) for number in range(len(self.columns))]


def ask(settings: Settings, sql: str, client: Any | None = None) -> Answer:  # noqa: ANN401  # boto3 has no types
    """Run one query to its end; it is stopped where this process is.

    Args:
        settings: of the region and the workgroup.
        sql: one statement, tables as `dataset.table`.
        client: boto3's; that of the settings unless said.

    Raises:
        WatchkeeperError: Athena refuses it, in its own words, or cannot be asked.
    """
    workgroup = settings.athena_workgroup
    client = client or Aws(settings).client("athena")
    try:
        run = client.start_query_execution(QueryString=sql, WorkGroup=workgroup)["QueryExecutionId"]
        try:
            done = wait(client, run)
        except WatchkeeperError:
            raise
        except BaseException:  # nobody waits for it any more
            with suppress(ClientError):
                client.stop_query_execution(QueryExecutionId=run)
            raise
        columns, rows = results(client, run)
    except ClientError as error:
        raise WatchkeeperError(in_words(error, workgroup)) from None
    except BotoCoreError as error:
        raise WatchkeeperError(f"Athena cannot be asked: {error}; `task aws:check` says what lacks") from None
    return Answer(columns, rows, done.get("Statistics", {}).get("DataScannedInBytes", 0))


def in_words(error: ClientError, workgroup: str) -> str:
    """What a person can do about it."""
    said = error.response["Error"]
    remedy = REMEDIES.get(said["Code"], f"see workgroup {workgroup} (WATCHKEEPER_ATHENA_WORKGROUP)")
    return f"Athena: {said['Message'] or said['Code']}; {remedy}"


def wait(client: Any, run: str) -> dict[str, Any]:  # noqa: ANN401
    """The execution once it has succeeded.

    Raises:
        WatchkeeperError: it has not.
    """
    seconds = FIRST_SECONDS
    while True:
        execution: dict[str, Any] = client.get_query_execution(QueryExecutionId=run)["QueryExecution"]
        match execution["Status"]["State"]:
            case "SUCCEEDED":
                return execution
            case "FAILED" | "CANCELLED" as state:
                reason = execution["Status"].get("StateChangeReason", "it gives no reason")
                raise WatchkeeperError(f"Athena {state.lower()} the query: {reason}")
        time.sleep(seconds)
        seconds = min(2 * seconds, LONGEST_SECONDS)


def results(client: Any, run: str) -> tuple[list[tuple[str, str]], list[list[str | None]]]:  # noqa: ANN401
    """Columns and rows."""
    pages = list(client.get_paginator("get_query_results").paginate(QueryExecutionId=run))
    known = pages[0]["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]
    columns = [(column["Name"], duckdb_type(column)) for column in known]
    rows = ([cell.get("VarCharValue") for cell in row["Data"]] for row in rows_of(pages))
    # A SELECT's first row repeats the columns' names; what SHOW and DESCRIBE give does not.
    listed = list(rows)
    return columns, listed[1:] if listed and listed[0] == [name for name, _ in columns] else listed


def rows_of(pages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows of all pages."""
    for page in pages:
        yield from page["ResultSet"]["Rows"]


def duckdb_type(column: dict[str, Any]) -> str:
    """DuckDB's name of a column's type."""
    if column["Type"] == "decimal":
        return f"DECIMAL({column['Precision']}, {column['Scale']})"
    return TYPES.get(column["Type"], "VARCHAR")
