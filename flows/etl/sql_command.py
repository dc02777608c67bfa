"""`task sql`: a query over the committed lake, answered here or by Athena; what was read goes to stderr."""

import argparse
import csv
import sys
from decimal import Decimal

import duckdb

from flows.config import Settings, load_settings
from flows.console import mebibytes
from flows.errors import WatchkeeperError, run_command
from flows.etl.lake import Lake
from flows.etl.sql import Query, connect, execute, plain


def show(connection: duckdb.DuckDBPyConnection, sql: str, form: str) -> None:
    """Print the answer on standard output.

    Raises:
        WatchkeeperError: DuckDB refuses the query, or stops at a row.
    """
    try:
        if form == "json":
            # On a line of its own, lest a comment at the query's end takes the parenthesis with it.
            around = "SELECT CAST(to_json(answer) AS VARCHAR) FROM (\n{}\n) AS answer"
            rows = execute(connection, sql, around)
            print("[" + ",\n ".join(row[0] for row in rows.fetchall()) + "]")
        elif form == "csv":
            answer = execute(connection, sql)
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow([column[0] for column in answer.description or []])
            while rows_ := answer.fetchmany(10_000):
                writer.writerows([cell(value) for value in row] for row in rows_)
        else:
            connection.sql(sql).show(max_rows=200)
    except duckdb.Error as error:
        raise WatchkeeperError(plain(error)) from None


def cell(value: object) -> object:
    """A value as CSV shows it: a decimal with all its digits, never `0E-18`."""
    return format(value, "f") if isinstance(value, Decimal) else value


def main() -> int:
    """Plan, say what will be read, answer."""
    args = argparse.ArgumentParser(prog="task sql --", description=__doc__)
    args.add_argument(
        "sql", help='for example "SELECT country, count(*) FROM online_retail.transactions GROUP BY 1"'
    )
    args.add_argument("--format", choices=("table", "csv", "json"), default="table")
    args.add_argument("--as-of", metavar="SNAPSHOT|TIME", help="read the tables as they were")
    args.add_argument("--engine", choices=("duckdb", "athena"), default="duckdb", help="who answers")
    given, settings = args.parse_args(), load_settings()
    if given.engine == "athena":
        if given.as_of:
            raise WatchkeeperError("Athena has no --as-of; write FOR TIMESTAMP AS OF behind the table's name")
        return through_athena(settings, given.sql, given.format)
    query = Query(Lake(settings), given.sql, given.as_of)
    show(query.connection, query.sql, given.format)
    for scan in query.scans:
        print(f"scanned {scan}", file=sys.stderr)
    return 0


def through_athena(settings: Settings, sql: str, form: str) -> int:
    """Have Athena answer, print that, and say what was read and what it cost."""
    from flows.aws import athena  # boto3 takes a third of a second, which no query of this machine needs

    answer, connection = athena.ask(settings, sql), connect()
    answer.relation(connection).create_view("answer")
    show(connection, "SELECT * FROM answer", form)
    cost = answer.dollars(settings.athena_dollars_per_tb)
    print(f"scanned {mebibytes(answer.bytes_scanned)} for {cost:.5f} dollars", file=sys.stderr)
    return 0


if __name__ == "__main__":
    run_command(main)
