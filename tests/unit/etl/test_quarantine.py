"""Rows that broke a rule are found again in the file that they came from."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.etl.contract import Contract
from flows.etl.inspect_file import Finding
from flows.etl.land import Arrival
from flows.etl.quarantine import SCHEMA, collect, count_by_rule, lines_of, store
from tests.factories import contract_in

Bad = tuple[str, str, str, str]
"""Source file, sha256, rule, text."""


def table(folder: Path, form: str = "csv") -> Contract:
    text = {
        "description": "x",
        "source": {"pattern": "*", "format": form},
        "columns": {"id": {"type": "int"}},
        "duplicates": "keep",
    }
    return contract_in(folder, "d", "t", text)


def arrival(folder: Path, path: str, content: bytes) -> Arrival:
    """A file of the raw zone; its path at the source stands for its sha256."""
    raw = folder / path.replace("/", "-")
    raw.write_bytes(content)
    return Arrival(path, "sha-" + path, "v", len(content), raw, Finding())


def staged(path: Path, rows: list[Bad]) -> Path:
    """The quarantine's part of a job's output, beside a column of the lake."""
    names = ("_source_file", "_sha256", "_rule", "_raw")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": pa.array([None] * len(rows), pa.int32()), **columns}), path)
    return path


def rows_of(rows: pa.Table) -> list[tuple[str, int | None, str, str]]:
    return [(r["source_file"], r["line"], r["rule"], r["raw"]) for r in rows.to_pylist()]


def test_each_row_has_the_number_of_its_line_in_the_order_of_the_files(tmp_path: Path) -> None:
    a = arrival(tmp_path, "a.csv", b"id\nx\n1\ny\n")
    b = arrival(tmp_path, "b.csv.gz", gzip.compress(b"id\r\n\r\nx\r\n", mtime=0))
    first = staged(tmp_path / "out" / "_sink=1" / "1.parquet", [("b.csv.gz", b.sha256, "bad_id", "x")])
    second = staged(
        tmp_path / "out" / "_sink=1" / "2.parquet",
        [("a.csv", a.sha256, "ragged_line", "y"), ("a.csv", a.sha256, "bad_id", "x")],
    )
    found = collect([first, second], [a, b], table(tmp_path))
    assert found.schema == SCHEMA
    assert rows_of(found) == [
        ("a.csv", 2, "bad_id", "x"),
        ("a.csv", 4, "ragged_line", "y"),
        ("b.csv.gz", 3, "bad_id", "x"),
    ]


def test_equal_lines_have_a_number_each(tmp_path: Path) -> None:
    a = arrival(tmp_path, "a.csv", b"id\nx\n1\nx\nx\n")
    output = staged(tmp_path / "1.parquet", [("a.csv", a.sha256, "bad_id", "x")] * 3)
    assert [row[1] for row in rows_of(collect([output], [a], table(tmp_path)))] == [2, 4, 5]


def test_of_dropped_copies_the_first_line_is_named(tmp_path: Path) -> None:
    a = arrival(tmp_path, "a.csv", b"id\nx\nx\n")
    output = staged(tmp_path / "1.parquet", [("a.csv", a.sha256, "bad_id", "x")])
    assert [row[1] for row in rows_of(collect([output], [a], table(tmp_path)))] == [2]


@pytest.mark.parametrize("text", ["naïve 東京 😀", 'a,"b,""c', " x ", "tab\there"])
def test_a_text_is_found_as_it_is_written(tmp_path: Path, text: str) -> None:
    a = arrival(tmp_path, "a.csv", f"id\n{text}\n".encode())
    output = staged(tmp_path / "1.parquet", [("a.csv", a.sha256, "bad_id", text)])
    assert rows_of(collect([output], [a], table(tmp_path))) == [("a.csv", 2, "bad_id", text)]


def test_the_first_line_is_found_behind_a_byte_order_mark(tmp_path: Path) -> None:
    a = arrival(tmp_path, "a.jsonl", b"\xef\xbb\xbf{x\n{y\n")
    output = staged(tmp_path / "1.parquet", [("a.jsonl", a.sha256, "ragged_line", "{x")])
    assert rows_of(collect([output], [a], table(tmp_path, "jsonl"))) == [("a.jsonl", 1, "ragged_line", "{x")]


def test_a_format_without_lines_has_no_numbers(tmp_path: Path) -> None:
    a = arrival(tmp_path, "a.parquet", b"")
    output = staged(tmp_path / "1.parquet", [("a.parquet", a.sha256, "bad_id", '{"id":"x"}')])
    found = collect([output], [a], table(tmp_path, "parquet"))
    assert rows_of(found) == [("a.parquet", None, "bad_id", '{"id":"x"}')]


def test_no_bad_rows_are_an_empty_table(tmp_path: Path) -> None:
    found = collect([], [], table(tmp_path))
    assert (found.schema, len(found)) == (SCHEMA, 0)
    assert count_by_rule(found) == {}


def test_rows_are_counted_by_rule(tmp_path: Path) -> None:
    a = arrival(tmp_path, "a.csv", b"")
    rows = [("a.csv", a.sha256, rule, "x") for rule in ("r", "s", "r")]
    found = collect([staged(tmp_path / "1.parquet", rows)], [a], table(tmp_path))
    assert count_by_rule(found) == {"r": 2, "s": 1}


def test_a_runs_rows_are_kept_whole_under_its_name(tmp_path: Path) -> None:
    rows = SCHEMA.empty_table()
    assert store(rows, tmp_path / "q", "run1") is None
    assert not (tmp_path / "q").exists()
    rows = pa.Table.from_pylist(
        [{"source_file": "a", "sha256": "s", "line": 2, "rule": "r", "raw": "x"}], SCHEMA
    )
    path = store(rows, tmp_path / "q", "run1")
    assert path == tmp_path / "q" / "run1.parquet"
    assert pq.read_table(path) == rows
    assert [file.name for file in (tmp_path / "q").iterdir()] == ["run1.parquet"]


def test_only_wanted_lines_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a\nb\na\n")
    assert lines_of(tmp_path / "a", {b"a", b"z"}) == {b"a": [1, 3]}
