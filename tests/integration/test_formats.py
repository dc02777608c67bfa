"""Files as people write them, and a data set that is nothing but contracts in a folder."""

import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.config import CHECKOUT, Settings
from flows.etl.contract import Contract
from flows.etl.datasets import load_dataset
from tests.factories import (
    RETAIL_HEADER,
    ask,
    bad_rows,
    contract_in,
    retail_row,
    run_table,
    shipped,
    sources_of,
    write_csv,
)

RETAIL = shipped("online_retail.transactions")
EVERY_TYPE: dict[str, Any] = {
    "i": {"type": "int"},
    "n": {"type": "long"},
    "price": {"type": "decimal(38,18)"},
    "x": {"type": "double"},
    "yes": {"type": "boolean"},
    "day": {"type": "date"},
    "at": {"type": "timestamp"},
    "seen": {"type": "timestamptz"},
    "text": {"type": "string", "source": "The Text"},
}
PRICE = Decimal("12345678901234567890.050830508474576271")
AT = datetime(2020, 2, 29, 23, 59, 59, 123456)
ROW = (1, 2**62 + 1, PRICE, 1e-300, True, date(2020, 2, 29), AT, AT.replace(tzinfo=UTC), 'ä "q", ü')


def of_every_type(folder: Path, form: str) -> Contract:
    """A contract with a column of each type."""
    return contract_in(
        folder / "contracts",
        "misc",
        form,
        {
            "description": "Every type.",
            "source": {"pattern": "*", "format": form},
            "columns": EVERY_TYPE,
            "table_rules": {"max_quarantined_ratio": 1},
            "duplicates": "keep",
        },
    )


def retail_text(*rows: list[object]) -> str:
    """Lines of a retail file whose cells need no quotes."""
    lines = [RETAIL_HEADER, *([str(cell) for cell in row] for row in rows)]
    return "".join(",".join(line) + "\n" for line in lines)


def test_json_lines_keep_every_digit(settings: Settings, tmp_path: Path) -> None:
    contract = of_every_type(tmp_path, "jsonl")
    record = (
        f'{{"i": 1, "n": {2**62 + 1}, "price": {PRICE}, "x": 1e-300, "yes": true, "day": "2020-02-29", '
        '"at": "2020-02-29T23:59:59.123456", "seen": "2020-02-29 23:59:59.123456Z", '
        '"The Text": "ä \\"q\\", ü", "more": [1, {"a": 2}]}\n'
    )
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text("\ufeff" + record + "\n" + record.replace('"i": 1', '"i": "1"'))
    (tmp_path / "in" / "b.jsonl.gz").write_bytes(
        gzip.compress(record.replace("\n", "\r\n").encode(), mtime=0)
    )
    (tmp_path / "in" / "c.jsonl").write_text('{"i": 3}\n{"i": 4, "text": "of another name"}\n')
    result = run_table(settings, contract, tmp_path / "in")
    assert (result.rows_in, result.rows_committed, result.source_files) == (5, 5, 3)
    held = ask(settings, "SELECT * EXCLUDE _source_file FROM misc.jsonl ORDER BY i, _source_file")
    assert held == [ROW, ROW, ROW, (3, *[None] * 8), (4, *[None] * 8)]


def test_json_that_is_no_object_of_ours_is_quarantined_by_line(settings: Settings, tmp_path: Path) -> None:
    contract = of_every_type(tmp_path, "jsonl")
    lines = [
        '{"i": 1}',
        '{"i": 2',
        "[3]",
        '"four"',
        '{"i": "five"}',
        '{"i": 6}{"i": 7}',
        '{"day": "2021-02-29"}',
    ]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text("\ufeff" + "\n".join(lines))
    run_table(settings, contract, tmp_path / "in")
    assert bad_rows(settings, contract) == [
        ("a.jsonl", 2, "ragged_line", lines[1]),
        ("a.jsonl", 3, "ragged_line", lines[2]),
        ("a.jsonl", 4, "ragged_line", lines[3]),
        ("a.jsonl", 5, "bad_i", lines[4]),
        ("a.jsonl", 6, "ragged_line", lines[5]),
        ("a.jsonl", 7, "bad_day", lines[6]),
    ]
    assert ask(settings, "SELECT i FROM misc.jsonl") == [(1,)]


def test_the_first_line_of_json_can_be_bad_too(settings: Settings, tmp_path: Path) -> None:
    contract = of_every_type(tmp_path, "jsonl")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text('\ufeff{"i": "x"}\n{"i": 1}\n')
    run_table(settings, contract, tmp_path / "in")
    assert bad_rows(settings, contract) == [("a.jsonl", 1, "bad_i", '{"i": "x"}')]


def test_parquet_files_of_two_schemas_become_one_table(settings: Settings, tmp_path: Path) -> None:
    contract = of_every_type(tmp_path, "parquet")
    (tmp_path / "in").mkdir()
    typed = pa.schema(
        [
            ("i", pa.int32()),
            ("n", pa.int64()),
            ("price", pa.decimal128(38, 18)),
            ("x", pa.float64()),
            ("yes", pa.bool_()),
            ("day", pa.date32()),
            ("at", pa.timestamp("us")),
            ("seen", pa.timestamp("us", tz="Europe/Berlin")),
            ("The Text", pa.string()),
        ]
    )
    pq.write_table(
        pa.Table.from_pylist([dict(zip(typed.names, ROW, strict=True))], typed), tmp_path / "in" / "a.parquet"
    )
    other = pa.table(
        {
            "The Text": [None, "text for a number"],
            "extra": [b"\0", b"\1"],
            "i": pa.array(["2", "two"]),
            "n": pa.array([30000000000.0, None]),
            "price": pa.array([Decimal("0.5"), None], pa.decimal128(3, 1)),
            "x": pa.array([0.1, None]),
            "yes": ["no", None],
            "day": pa.array([datetime(2020, 1, 2), None], pa.timestamp("ms")),
            "at": ["2020-01-02", None],
            "seen": [None, None],
        }
    )
    pq.write_table(other, tmp_path / "in" / "b.parquet")
    result = run_table(settings, contract, tmp_path / "in")
    held = ask(settings, "SELECT * EXCLUDE _source_file FROM misc.parquet ORDER BY i")
    assert held == [ROW]
    assert result.quarantined_by_rule == {"bad_day": 1, "bad_i": 1}
    assert {row[:2] for row in bad_rows(settings, contract)} == {("b.parquet", None)}


def test_times_in_nanoseconds_are_kept_in_microseconds(settings: Settings, tmp_path: Path) -> None:
    contract = of_every_type(tmp_path, "parquet")
    (tmp_path / "in").mkdir()
    table = pa.table(
        {
            **{column.get("source", name): [None, None] for name, column in EVERY_TYPE.items()},
            "i": [1, 2],
            "at": pa.array([AT, datetime(1900, 1, 2, 3, 4, 5, 6)], pa.timestamp("ns")),
            "seen": pa.array([AT, None], pa.timestamp("ns", tz="America/New_York")),
        }
    )
    pq.write_table(table, tmp_path / "in" / "pandas.parquet")
    run_table(settings, contract, tmp_path / "in")
    assert ask(settings, 'SELECT "at", seen FROM misc.parquet ORDER BY i') == [
        (AT, AT.replace(tzinfo=UTC)),
        (datetime(1900, 1, 2, 3, 4, 5, 6), None),
    ]


def test_a_parquet_file_that_spark_cannot_open_is_refused_alone(settings: Settings, tmp_path: Path) -> None:
    contract = of_every_type(tmp_path, "parquet")
    empty: dict[str, Any] = {column.get("source", name): [None] for name, column in EVERY_TYPE.items()}
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table(empty | {"i": [1]}), tmp_path / "in" / "a.parquet")
    pq.write_table(pa.table(empty | {"o clock": [time(12, 30)]}), tmp_path / "in" / "b.parquet")
    result = run_table(settings, contract, tmp_path / "in")
    assert (result.rows_committed, result.files_quarantined) == (1, 1)
    refused = sources_of(settings, contract).rejected["b.parquet"].reason
    assert refused == "column o clock is a time of day, which Spark cannot read"


def test_columns_are_found_by_their_names_whatever_their_order(settings: Settings, tmp_path: Path) -> None:
    order = [7, 0, 6, 1, 5, 2, 4, 3]
    write_csv(tmp_path / "in" / "a.csv", [retail_row(Quantity=1)])
    row = retail_row(Quantity=2)
    write_csv(tmp_path / "in" / "b.csv", [[row[n] for n in order]], [RETAIL_HEADER[n] for n in order])
    write_csv(
        tmp_path / "in" / "c.csv", [["x", *retail_row(Quantity=3), ""]], ["", *RETAIL_HEADER, "quantity"]
    )
    assert run_table(settings, RETAIL, tmp_path / "in").rows_committed == 3
    rows = ask(
        settings, f"SELECT * EXCLUDE (quantity, _source_file) FROM {RETAIL.identifier} ORDER BY quantity"
    )
    assert rows[0] == rows[1] == rows[2]


def test_endings_and_marks_of_other_systems_change_nothing(settings: Settings, tmp_path: Path) -> None:
    text = retail_text(retail_row(), retail_row(Description="Wärmflasche")).encode()
    variants = {
        "unix.csv": text,
        "last-line-open.csv": text.rstrip(),
        "windows.csv": text.replace(b"\n", b"\r\n"),
        "old-mac.csv": text.replace(b"\n", b"\r"),
        "bom.csv": b"\xef\xbb\xbf" + text,
        "bom-windows.csv": b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"),
        "zip.csv.gz": gzip.compress(text, mtime=0),
        "upper.CSV.GZ": gzip.compress(text, 1, mtime=5),
        "bom.csv.gz": gzip.compress(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"), mtime=0),
        "two-members.csv.gz": gzip.compress(text[:100], mtime=0) + gzip.compress(text[100:], mtime=0),
    }
    (tmp_path / "in").mkdir()
    for name, content in variants.items():
        (tmp_path / "in" / name).write_bytes(content)
    anything = RETAIL.model_copy(update={"source": RETAIL.source.model_copy(update={"pattern": "*"})})
    result = run_table(settings, anything, tmp_path / "in")
    assert (result.source_files, result.rows_committed) == (len(variants), 2 * len(variants))
    columns = "* EXCLUDE _source_file"
    held = ask(
        settings, f"SELECT {columns}, count(*) FROM {RETAIL.identifier} GROUP BY ALL ORDER BY description"
    )
    assert [(row[2], row[-1]) for row in held] == [
        ("WHITE HANGING HEART T-LIGHT HOLDER", len(variants)),
        ("Wärmflasche", len(variants)),
    ]


def test_an_optional_column_may_be_missing(settings: Settings, tmp_path: Path) -> None:
    contract = contract_in(
        tmp_path / "contracts",
        "misc",
        "people",
        {
            "description": "People.",
            "source": {"pattern": "*.tsv", "format": "csv", "delimiter": "\t"},
            "columns": {
                "name": {"type": "string"},
                "born": {"type": "date", "format": "dd.MM.yyyy", "optional": True},
                "is_adult": {"type": "boolean", "expression": "born < date'2000-01-01'"},
            },
            "duplicates": "drop",
        },
    )
    write_csv(tmp_path / "in" / "a.tsv", [["Ada"]], ["name"])
    write_csv(tmp_path / "in" / "b.tsv", [["Bob\t31.12.1999"], ["Cid\t"]], ["name\tborn"])
    run_table(settings, contract, tmp_path / "in")
    assert ask(settings, "SELECT name, born, is_adult FROM misc.people ORDER BY 1") == [
        ("Ada", None, None),
        ("Bob", date(1999, 12, 31), True),
        ("Cid", None, None),
    ]


STORES = """
description: Stores.
source: {pattern: "stores*.csv", format: csv, delimiter: ";"}
columns:
  code: {type: string, source: Store Code}
  region: {type: string}
keys: [code]
partition: {column: region, transform: identity}
sort: [code]
duplicates: drop
"""
SALES = """
description: Sales.
source: {pattern: "sales*", format: jsonl}
columns:
  id: {type: long}
  store: {type: string}
  day: {type: date, format: yyyyMMdd}
  amount: {type: "decimal(9,2)"}
  currency: {type: string}
  note: {type: string, optional: true}
  cents: {type: long, expression: "amount * 100"}
event_time: day
rules:
  - {name: no_store, column: store, not_null: true}
  - {name: store_not_four_long, column: store, length: 4}
  - {name: negative_amount, column: amount, range: {min: 0}}
  - {name: before_we_were_founded, column: day, range: {min: 2020-01-01, max: "2029-12-31"}}
  - {name: unknown_currency, column: currency, allowed: [EUR, CHF]}
  - {name: shouted_note, column: note, pattern: "[^!]*"}
  - {name: franc_outside_switzerland, check: "currency <> 'CHF' OR store LIKE 'CH%'"}
  - {name: unknown_store, column: store, references: stores.code}
  - {name: id_twice, unique: [id]}
table_rules: {max_quarantined_ratio: 0.9}
partition: {column: day, transform: year}
bucket: {column: store, count: 2}
sort: [store, day]
duplicates: keep
"""
GOOD = {"id": 1, "store": "DE01", "day": "20240229", "amount": 1.50, "currency": "EUR"}
BAD: dict[str, dict[str, object]] = {
    "bad_amount": {"id": 10, "amount": "1.234"},
    "bad_day": {"id": 11, "day": "2024-02-29"},
    "no_store": {"id": 12, "store": " "},
    "store_not_four_long": {"id": 13, "store": "DE1"},
    "negative_amount": {"id": 14, "amount": -0.01},
    "before_we_were_founded": {"id": 15, "day": "20191231"},
    "unknown_currency": {"id": 16, "currency": "eur"},
    "shouted_note": {"id": 17, "note": "no!"},
    "franc_outside_switzerland": {"id": 18, "currency": "CHF"},
    "unknown_store": {"id": 19, "store": "DE99"},
    "id_twice": {"id": 1, "amount": 2},
}


def test_a_new_data_set_is_two_contracts_and_no_code(settings: Settings, tmp_path: Path) -> None:
    for table, text in (("stores", STORES), ("sales", SALES)):
        contract_in(tmp_path / "contracts", "shop", table, text)
    order = load_dataset(tmp_path / "contracts", "shop")
    assert [contract.table for contract in order] == ["stores", "sales"], "what is referred to comes first"
    stores, sales = order
    write_csv(
        tmp_path / "in" / "stores.csv",
        [["DE01;north / süd=1"], ["CH01;"], [";east"], ["DE01;west"]],
        ["Store Code;region"],
    )
    more = [
        GOOD | {"id": 2, "store": "CH01", "currency": "CHF", "note": "ok"},
        GOOD | {"id": 3, "amount": None},
    ]
    records = [GOOD, *more, *(GOOD | change for change in BAD.values())]
    (tmp_path / "in" / "sales.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    relaxed = stores.model_copy(update={"table_rules": sales.table_rules})
    assert run_table(settings, relaxed, tmp_path / "in").quarantined_by_rule == {
        "missing_code": 1,
        "duplicate_key": 1,
    }
    result = run_table(settings, sales, tmp_path / "in")
    assert result.quarantined_by_rule == dict.fromkeys(BAD, 1)
    assert [(line, rule) for _, line, rule, _ in bad_rows(settings, sales)] == [
        (number, rule) for number, rule in enumerate(BAD, 4)
    ]
    answer = asked_by_command(
        settings,
        "SELECT region, sum(cents) AS cents, sum(amount) AS amount FROM shop.sales s "
        "JOIN shop.stores ON code = store GROUP BY ALL ORDER BY ALL",
    )
    assert (
        answer == '[{"region":"north / süd=1","cents":150,"amount":1.50},\n '
        '{"region":null,"cents":150,"amount":1.50}]\n'
    )


def asked_by_command(settings: Settings, sql: str) -> str:
    """What `task sql` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.etl.sql_command", sql, "--format", "json"],
        cwd=CHECKOUT,
        env=os.environ | {"WATCHKEEPER_HOME": str(settings.home)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_later_run_may_not_repeat_what_must_be_unique(settings: Settings, tmp_path: Path) -> None:
    contract = contract_in(tmp_path / "contracts", "shop", "stores", STORES)
    write_csv(tmp_path / "in" / "stores1.csv", [["A;x"], ["B;x"]], ["Store Code;region"])
    run_table(settings, contract, tmp_path / "in")
    write_csv(
        tmp_path / "in" / "stores2.csv", [["B;y"], *([f"C{n};y"] for n in range(30))], ["Store Code;region"]
    )
    assert run_table(settings, contract, tmp_path / "in").quarantined_by_rule == {"duplicate_key": 1}
    write_csv(tmp_path / "in" / "stores1.csv", [["A;z"]], ["Store Code;region"])
    assert run_table(settings, contract, tmp_path / "in").rows_quarantined == 0, "its own rows do not count"
    assert ask(settings, "SELECT region FROM shop.stores WHERE code IN ('A', 'B')") == [("z",)]


@pytest.mark.parametrize("transform", ["truncate[3]", "identity"])
def test_any_text_can_name_a_partition(settings: Settings, tmp_path: Path, transform: str) -> None:
    contract = contract_in(
        tmp_path / "contracts",
        "shop",
        "words",
        {
            "description": "Words.",
            "source": {"pattern": "*", "format": "csv"},
            "columns": {"word": {"type": "string"}},
            "partition": {"column": "word", "transform": transform},
            "duplicates": "drop",
        },
    )
    words = [
        "a",
        "a/b=c",
        "%41",
        "é%",
        "..",
        "_p0=1",
        "日本語",
        "🙂🙂🙂🙂",
        "x y",
        "null",
        "50%",
        "2020-01-01",
        "'",
    ]
    write_csv(tmp_path / "in" / "a.csv", [[word] for word in words], ["word"])
    result = run_table(settings, contract, tmp_path / "in")
    assert (result.rows_committed, result.files) == (len(words), len(words))
    for word in words:
        quoted = word.replace("'", "''")
        assert ask(settings, f"SELECT word FROM shop.words WHERE word = '{quoted}'") == [(word,)]
