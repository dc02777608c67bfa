"""`task sql`: what it reads, that pruning never changes an answer, and what it prints."""

import csv
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from flows.config import CHECKOUT, Settings
from flows.errors import WatchkeeperError, run_command
from flows.etl import sql_command
from flows.etl.lake import Lake
from flows.etl.sql import Query
from tests.factories import (
    ask,
    contract_in,
    data_files,
    retail_row,
    run_table,
    settings_of,
    shipped,
    table_of,
    write_csv,
)

RETAIL = shipped("online_retail.transactions")
TRANSACTIONS = "online_retail.transactions"
SALES = "shop.sales"
NAMES = [
    "a",
    "it's",
    'a"b::c',
    "x::y",
    "back\\slash",
    "back\\nslash",
    "TIMESTAMP '2020-01-01 00:00:00'",
    "50%",
    "é" * 30,
]
NAMES += [
    "line\nbreak",
    "b" * 16 + "x",
    "b" * 16 + "y",
    "日本語",
    "shop.sales::name",
    "AND (1 = 1)",
    "--",
    "'",
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake with three tables, made once: every test below only reads."""
    folder = tmp_path_factory.mktemp("lake")
    settings = settings_of(folder / "home")
    load_retail(settings, folder / "retail")
    load_shop(settings, folder)
    return settings


def load_retail(settings: Settings, folder: Path) -> None:
    """Six data files: two months, and buckets 0 (customers 1 and 2), 3 (customer 7) and null."""
    rows = [
        retail_row(
            StockCode=f"{customer}-{month}",
            CustomerID=customer,
            InvoiceDate=f"{month}-05 08:26:00",
            UnitPrice=price,
        )
        for month, price in (("2010-12", "1.250"), ("2011-01", "2.500"))
        for customer in (1, 2, 7, "")
    ]
    write_csv(folder / "a.csv", rows)
    assert run_table(settings, RETAIL, folder).files == 6


def load_shop(settings: Settings, folder: Path) -> None:
    """Items in a file a group, people by age and bucket, and sales that are as odd as texts can be."""
    base = {
        "description": "Of the shop.",
        "duplicates": "keep",
        "source": {"pattern": "*", "format": "jsonl"},
    }
    tables: dict[str, dict[str, object]] = {
        "items": {
            "columns": {"code": {"type": "string"}, "kind": {"type": "string"}},
            "partition": {"column": "kind", "transform": "identity"},
        },
        "people": {
            "columns": {"id": {"type": "string"}, "age": {"type": "int"}, "city": {"type": "string"}},
            "rules": [{"name": "id_not_8_long", "column": "id", "length": 8}],
            "partition": {"column": "age", "transform": "truncate[10]"},
            "bucket": {"column": "id", "count": 3},
        },
        "sales": {
            "columns": {
                "n": {"type": "int"},
                "buyer": {"type": "long"},
                "amount": {"type": "decimal(20,18)"},
                "name": {"type": "string"},
                "day": {"type": "date"},
                "moment": {"type": "timestamp"},
                "seen": {"type": "timestamptz"},
                "paid": {"type": "boolean"},
                "weight": {"type": "double"},
            },
            "partition": {"column": "day", "transform": "month"},
            "bucket": {"column": "buyer", "count": 4},
            "sort": ["name"],
        },
    }
    rows: dict[str, list[dict[str, object]]] = {
        "items": [
            {"code": f"c{n}", "kind": kind} for n, kind in enumerate(["hat", "coat", "a/b=1", "", "hat"])
        ],
        "people": [
            {"id": f"person{n:02}", "age": n * 3 if n else None, "city": "ab"[n % 2]} for n in range(20)
        ],
        "sales": list(sales()),
    }
    for table, contract in tables.items():
        path = folder / table / f"{table}.jsonl"
        path.parent.mkdir()
        path.write_text("".join(json.dumps(row) + "\n" for row in rows[table]))
        run_table(settings, contract_in(folder / "contracts", "shop", table, base | contract), path.parent)


def sales() -> Iterator[dict[str, object]]:
    """Rows with nulls, extremes, and texts that look like SQL."""
    chance = random.Random(11)
    for n in range(240):
        day = datetime(2020, 1, 1) + timedelta(
            days=chance.randrange(0, 150), microseconds=chance.randrange(10**12)
        )
        row = {
            "n": chance.choice([n, -n, 2**31 - 1, 0]),
            "buyer": chance.choice([1, 2, 3, 5, 8, 2**62, -(2**62)]),
            "amount": chance.choice(
                ["0", "-1.000000000000000001", "12.5", f"{n}e-1".replace("e-1", ".1")][:4]
            )
            if n % 2
            else "0.050830508474576271",
            "name": chance.choice(NAMES),
            "day": day.date().isoformat(),
            "moment": day.isoformat(),
            "seen": day.replace(tzinfo=UTC).isoformat(),
            "paid": chance.random() < 0.5,
            "weight": chance.choice([0.1, -1e300, 1e-300, 3.0]),
        }
        if float(str(row["amount"])) >= 100:
            row["amount"] = "99.999999999999999999"
        yield {name: None if chance.random() < 0.1 else value for name, value in row.items()}


@pytest.mark.parametrize(
    ("where", "files"),
    [
        ("true", 6),
        ("customer_id = 1", 2),
        ("customer_id = 7", 2),
        ("7 = customer_id", 2),
        ("customer_id IN (1, 2)", 2),
        ("customer_id IN (1, 7)", 4),
        ("customer_id = 1 OR customer_id = 7", 4),
        ("customer_id IS NULL", 2),
        ("customer_id IS NOT NULL", 4),
        ("customer_id = 1 OR customer_id IS NULL", 4),
        ("customer_id = 99", 0),
        ("customer_id > 2", 2),
        ("NOT (customer_id <= 2)", 2),
        ("customer_id BETWEEN 3 AND 8", 2),
        ("invoice_date >= '2011-01-01'", 3),
        ("invoice_date < TIMESTAMP '2011-01-01'", 3),
        ("invoice_date BETWEEN '2010-12-01' AND '2010-12-31'", 3),
        ("invoice_date::DATE = '2011-01-05'", 3),
        ("year(invoice_date) = 2010", 3),
        ("invoice_date >= '2012-01-01'", 0),
        ("unit_price = 2.5", 3),
        ("unit_price < 2", 3),
        ("stock_code = '7-2011-01'", 1),
        ("customer_id = 7 AND invoice_date >= '2011-01-01'", 1),
        ("customer_id = 7 AND invoice_date >= '2011-01-01' AND unit_price > 2", 1),
        ("(customer_id = 7 AND unit_price < 2) OR (customer_id IS NULL AND unit_price > 2)", 2),
        ("country = 'United Kingdom' AND customer_id = 7", 2),
        ("lower(country) = 'united kingdom' AND customer_id = 7", 2),
        ("is_cancelled", 6),
        ("_source_file = 'b.csv'", 0),
    ],
)
def test_only_the_files_that_can_matter_are_read(
    settings: Settings, whole: duckdb.DuckDBPyConnection, where: str, files: int
) -> None:
    query = f"SELECT * FROM {TRANSACTIONS} WHERE {where}"
    assert checked(settings, whole, query) == {TRANSACTIONS: (files, 6)}


@pytest.mark.parametrize(
    ("query", "files"),
    [
        ("SELECT * FROM shop.items WHERE kind = 'hat'", {"shop.items": (1, 4)}),
        ("SELECT * FROM shop.items WHERE kind IN ('coat', 'a/b=1')", {"shop.items": (2, 4)}),
        ("SELECT * FROM shop.items WHERE kind IS NULL", {"shop.items": (1, 4)}),
        ("SELECT * FROM shop.items WHERE kind <> 'hat'", {"shop.items": (3, 4)}),
        ("SELECT * FROM shop.people WHERE age = 33 AND id = 'person11'", {"shop.people": (1, 13)}),
        ("SELECT * FROM shop.people WHERE age IS NULL", {"shop.people": (1, 13)}),
        ("SELECT count(*) FROM shop.items", {"shop.items": (4, 4)}),
        (
            "SELECT a.kind FROM shop.items a JOIN shop.items b USING (kind) WHERE a.kind = 'hat'",
            {"shop.items": (1, 4)},
        ),
        (
            "SELECT a.code FROM shop.items a, shop.items b WHERE a.kind = 'hat' AND b.kind = 'coat'",
            {"shop.items": (2, 4)},
        ),
        (
            "WITH hats AS (SELECT * FROM shop.items WHERE kind = 'hat') SELECT * FROM hats, hats h",
            {"shop.items": (1, 4)},
        ),
        (
            "SELECT * FROM (SELECT kind AS k FROM shop.items) WHERE k = 'coat'",
            {"shop.items": (1, 4)},
        ),
        (
            "SELECT (SELECT max(code) FROM shop.items WHERE kind = 'coat') x FROM shop.items i "
            "WHERE kind = 'hat'",
            {"shop.items": (2, 4)},
        ),
        (
            "FROM shop.items WHERE kind = 'hat' UNION ALL FROM shop.items WHERE kind IS NULL",
            {"shop.items": (2, 4)},
        ),
        (
            "SELECT city FROM shop.people, shop.items WHERE kind = 'hat' AND age = 33",
            {"shop.items": (1, 4), "shop.people": (2, 13)},
        ),
        (
            "SELECT items.code FROM shop.items LEFT JOIN shop.people ON items.code = people.id AND age = 33",
            {"shop.items": (4, 4), "shop.people": (2, 13)},
        ),
        ("SELECT 1 WHERE EXISTS (FROM shop.items WHERE kind = 'shoe')", {"shop.items": (0, 4)}),
        ('SELECT * FROM "SHOP"."Items" WHERE "KIND" = \'hat\'', {"shop.items": (1, 4)}),
        ("WITH items AS (SELECT 1 AS kind) SELECT * FROM items", {}),
    ],
)
def test_filters_find_their_table_through_joins_and_subqueries(
    settings: Settings, whole: duckdb.DuckDBPyConnection, query: str, files: dict[str, tuple[int, int]]
) -> None:
    found = checked(settings, whole, query)
    assert found.keys() == files.keys()
    assert all(
        found[table][1] == every and found[table][0] <= most for table, (most, every) in files.items()
    ), found


@pytest.fixture(scope="module")
def whole(settings: Settings) -> duckdb.DuckDBPyConnection:
    """A DuckDB that reads every file of every table by itself."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for name in Lake(settings).tables():
        schema, table = name.split(".")
        columns = ", ".join(f'"{column}"' for column in table_of(settings, name).schema().column_names)
        files = f"read_parquet({list(data_files(settings, name))}, hive_partitioning = false)"
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        connection.execute(f"CREATE VIEW {schema}.{table} AS SELECT {columns} FROM {files}")
    return connection


def checked(settings: Settings, whole: duckdb.DuckDBPyConnection, sql: str) -> dict[str, tuple[int, int]]:
    """For each table the files that a query reads and all that there are; the answer is that of `whole`."""
    query = Query(Lake(settings), sql)
    answer, wanted = query.run().fetchall(), whole.execute(sql).fetchall()
    assert sorted(answer, key=repr) == sorted(wanted, key=repr), sql
    return {scan.table: (len(scan.paths), scan.files_in_table) for scan in query.scans}


class Predicates:
    """Random conditions over the sales: values that are there, near them, and far off."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def one(self, depth: int = 2) -> str:
        """A condition, of others where `depth` allows."""
        if depth and self.chance.random() < 0.6:
            parts = [self.one(depth - 1) for _ in range(self.chance.choice([2, 2, 3]))]
            joined = f" {self.chance.choice(['AND', 'OR'])} ".join(f"({part})" for part in parts)
            return f"NOT ({joined})" if self.chance.random() < 0.2 else joined
        return self.atom(self.chance.choice(list(VALUES)))

    def atom(self, column: str) -> str:
        """A condition on one column."""
        shape = self.chance.choice(["op", "op", "op", "in", "between", "null", "odd"])
        if shape == "null":
            return f"{column} IS {self.chance.choice(['', 'NOT '])}NULL"
        if shape == "in":
            values = ", ".join(self.value(column) for _ in range(self.chance.choice([1, 2, 3, 20])))
            return f"{column} {self.chance.choice(['', 'NOT '])}IN ({values})"
        if shape == "between":
            return f"{column} BETWEEN {self.value(column)} AND {self.value(column)}"
        if shape == "odd":
            return self.chance.choice(ODD[column])
        operator = self.chance.choice(["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM"])
        return f"{column} {operator} {self.value(column)}"

    def value(self, column: str) -> str:
        """A literal for a column."""
        return self.chance.choice(VALUES[column])


TEXTS = ["'" + name.replace("'", "''") + "'" for name in [*NAMES, "", "zzz", "b" * 16]]
VALUES = {
    "n": ["0", "5", "-100", "2147483647", "3000000000", "5.5"],
    "buyer": ["1", "2", "5", "7", "4611686018427387904", "-4611686018427387904", "4"],
    "amount": [
        "0",
        "12.5",
        "0.050830508474576271",
        "-1.000000000000000001",
        "99.999999999999999999",
        "0.05",
        "1e-3",
    ],
    "name": TEXTS,
    "day": [
        "'2020-02-29'",
        "DATE '2020-01-31'",
        "'2020-03-01'",
        "'2021-01-01'",
        "'0001-01-01'",
        "DATE '2020-01-01' + 45",
    ],
    "moment": [
        "'2020-02-29'",
        "TIMESTAMP '2020-01-31 23:59:59.999999'",
        "'2020-03-01T12:00:00'",
        "'infinity'",
    ],
    "seen": ["'2020-02-29'", "TIMESTAMPTZ '2020-01-31 23:30:00-05'", "'2020-03-01 12:00:00+00'", "now()"],
    "paid": ["true", "false"],
    "weight": ["0.1", "-1e300", "1e-300", "3", "'nan'", "'inf'"],
}
ODD = {
    "n": ["n % 2 = 0", "abs(n) < 50", "n + 1 > 40", "n = -n"],
    "buyer": ["buyer + 1 = 3", "buyer % 2 = 1", "buyer::VARCHAR = '5'", "coalesce(buyer, 5) = 5"],
    "amount": ["amount * 2 > 1", "round(amount, 1) = 0.1", "amount::DOUBLE > 1.5", "amount > n"],
    "name": [
        "name LIKE 'b%'",
        "name LIKE '%::%'",
        "length(name) > 5",
        "upper(name) = 'A'",
        "name > 'é'",
        "starts_with(name, 'b')",
    ],
    "day": [
        "year(day) = 2020",
        "month(day) = 2",
        "day + INTERVAL 1 DAY > '2020-03-01'",
        "date_trunc('month', day) = '2020-02-01'",
    ],
    "moment": [
        "moment::DATE = day",
        "hour(moment) = 3",
        "moment::DATE BETWEEN '2020-02-01' AND '2020-02-10'",
    ],
    "seen": ["seen::DATE = day", "seen > moment::TIMESTAMPTZ"],
    "paid": ["paid", "NOT paid", "paid IS NOT TRUE"],
    "weight": ["weight > amount", "isnan(weight)"],
}


def test_pruning_never_changes_an_answer(settings: Settings, whole: duckdb.DuckDBPyConnection) -> None:
    predicates, narrowed = Predicates(7), 0
    for _ in range(120):
        query = f"SELECT * FROM {SALES} WHERE {predicates.one()}"
        [(read, every)] = checked(settings, whole, query).values()
        narrowed += read < every
    assert narrowed >= 40, "the predicates prune, or the test tests nothing"


def test_pruning_never_changes_the_answer_of_a_join(
    settings: Settings, whole: duckdb.DuckDBPyConnection
) -> None:
    predicates, narrowed = Predicates(8), 0
    for _ in range(25):
        join = predicates.chance.choice(["JOIN", "LEFT JOIN", "FULL JOIN"])
        query = (
            f"WITH a AS (SELECT * FROM {SALES} WHERE {predicates.one(1)}) "
            f"SELECT a.n, b.name, id FROM a {join} (SELECT * FROM {SALES} WHERE {predicates.one(1)}) b "
            "ON a.buyer = b.buyer AND a.day = b.day LEFT JOIN shop.people ON age = a.n AND age < 40"
        )
        read, every = checked(settings, whole, query)[SALES]
        narrowed += read < every
    assert narrowed >= 3


def command(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`task sql` as a process."""
    return subprocess.run(
        [sys.executable, "-m", "flows.etl.sql_command", *arguments],
        cwd=CHECKOUT,
        env=os.environ
        | {"WATCHKEEPER_HOME": str(settings.home), "PYTHONWARNINGS": "error::DeprecationWarning:flows"},
        capture_output=True,
        text=True,
        timeout=120,
    )


EXACT = (
    "SELECT DISTINCT amount, 'a,\"b\nc' AS text, NULL AS nothing, DATE '2020-02-29' AS day, true AS yes, "
    f"9007199254740993 AS big, sum(9007199254740993000000) AS sum FROM {SALES} "
    "WHERE amount IN (0, 0.050830508474576271) GROUP BY ALL ORDER BY 1 -- and a comment"
)


def test_json_is_exact_and_alone_on_standard_output(settings: Settings) -> None:
    done = command(settings, EXACT, "--format", "json")
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout, parse_float=Decimal)
    assert first["amount"] == Decimal(0)
    assert second["amount"] == Decimal("0.050830508474576271")
    assert (second["text"], second["nothing"], second["day"], second["yes"]) == (
        'a,"b\nc',
        None,
        "2020-02-29",
        True,
    )
    assert second["big"] == 9007199254740993
    assert second["sum"] % 9007199254740993000000 == 0
    assert done.stderr.startswith(f"scanned {SALES}: ")
    assert len(done.stderr.splitlines()) == 1


def test_csv_is_exact_and_alone_on_standard_output(settings: Settings) -> None:
    done = command(settings, EXACT, "--format", "csv")
    assert done.returncode == 0, done.stderr
    header, first, second = csv.reader(io.StringIO(done.stdout))
    assert header == ["amount", "text", "nothing", "day", "yes", "big", "sum"]
    assert first[0] == "0.000000000000000000"
    assert second[:6] == ["0.050830508474576271", 'a,"b\nc', "", "2020-02-29", "True", "9007199254740993"]


def test_a_table_is_for_people(settings: Settings) -> None:
    done = command(settings, "SELECT kind, count(*) AS many FROM shop.items GROUP BY 1 ORDER BY 2 DESC, 1")
    assert done.returncode == 0, done.stderr
    assert "│ hat     │     2 │" in done.stdout
    assert "decimal" not in done.stdout
    assert done.stderr == "scanned shop.items: 4 of 4 files, " + done.stderr.rpartition(", ")[2]


def test_a_reader_that_leaves_early_is_no_error(settings: Settings) -> None:
    asked = subprocess.Popen(
        [sys.executable, "-m", "flows.etl.sql_command", "SELECT * FROM range(300000)", "--format", "csv"],
        cwd=CHECKOUT,
        env=os.environ | {"WATCHKEEPER_HOME": str(settings.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with asked:
        assert asked.stdout
        assert asked.stderr
        assert asked.stdout.readline() == "range\n"
        asked.stdout.close()
        assert asked.stderr.read() == ""
    assert asked.returncode == 141


WRONG = {
    "SELECT * FROM shop.nothing": "no table 'shop.nothing' in the lake; there are: online_retail.",
    "SELECT * FROM nowhere": "Table with name nowhere does not exist!",
    "SELECT colour FROM shop.items": 'Referenced column "colour" not found in FROM clause!',
    "SELEC 1": 'syntax error at or near "SELEC"; task sql takes one SELECT',
    "SELECT (": 'syntax error at or near "("; task sql takes one SELECT',
    "SELECT 1; SELECT 2": "task sql takes one SELECT at a time",
    "": "task sql takes one SELECT at a time",
    "DROP TABLE shop.items": "task sql takes one SELECT",
    "DELETE FROM shop.items": "task sql takes one SELECT",
    "COPY (SELECT 1) TO '/tmp/watchkeeper-out.csv'": "task sql takes one SELECT",
    "ATTACH '/tmp/watchkeeper.db'": "task sql takes one SELECT",
    "INSTALL httpfs": "task sql takes one SELECT",
    "SET enable_external_access = true": "task sql takes one SELECT",
    "SELECT * FROM read_csv('/etc/passwd')": "file system operations are disabled",
    "SELECT * FROM read_text('/etc/passwd')": "file system operations are disabled",
    "SELECT * FROM glob('/etc/*')": "file system operations are disabled",
    "SELECT * FROM '/etc/passwd'": "Table with name /etc/passwd does not exist!",
    "SELECT CAST(code AS INTEGER) FROM shop.items": "to INT32 when casting from source column code",
    "SELECT error('my own words') FROM shop.items": "my own words",
    "SELECT * FROM settings": "Table with name settings does not exist!",
}


@pytest.mark.parametrize("form", ["table", "csv", "json"])
@pytest.mark.parametrize("query", WRONG)
def test_what_is_wrong_is_said_in_one_message(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    query: str,
    form: str,
) -> None:
    monkeypatch.setenv("WATCHKEEPER_HOME", str(settings.home))
    monkeypatch.setattr(sys, "argv", ["sql", query, "--format", form])
    with pytest.raises(SystemExit) as left:
        run_command(sql_command.main)
    said = capsys.readouterr()
    assert left.value.code == 2
    assert said.err.startswith("error: ")
    assert WRONG[query] in said.err
    assert "EXPLAIN" not in said.err
    assert "::" not in said.err


def test_a_lake_without_tables_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(WatchkeeperError, match="there are: none yet, run `task demo`"):
        ask(settings_of(tmp_path), "SELECT * FROM hm.articles")
    assert list(tmp_path.iterdir()) == [], "a question makes no lake"


def test_the_process_ends_with_the_same_code(settings: Settings) -> None:
    done = command(settings, "SELECT * FROM shop.nothing")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no table 'shop.nothing'")
    assert len(done.stderr.splitlines()) == 1
