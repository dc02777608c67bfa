"""Files that cannot be read whole: quarantined as files, named and counted, and never half loaded."""

import gzip
from pathlib import Path

import pytest

from flows.config import Settings
from flows.errors import WatchkeeperError
from tests.factories import (
    RETAIL_HEADER,
    ask,
    lake_contents,
    retail_row,
    run_table,
    shipped,
    sources_of,
    table_of,
    write_csv,
)

CONTRACT = shipped("online_retail.transactions")
TABLE = CONTRACT.identifier
LINES = ",".join(RETAIL_HEADER) + "\n" + ",".join(map(str, retail_row(StockCode="bad"))) + "\n"
HEADER = LINES.partition("\n")[0]

BAD = {
    "cut.csv.gz": (gzip.compress(LINES.encode(), mtime=0)[:-12], "truncated or damaged gzip"),
    "no-gzip.csv.gz": (LINES.encode(), "truncated or damaged gzip"),
    "flipped.csv.gz": (gzip.compress(LINES.encode(), mtime=0)[:-8] + b"\1" * 8, "truncated or damaged gzip"),
    "tail.csv.gz": (gzip.compress(LINES.encode(), mtime=0) + b"and more", "truncated or damaged gzip"),
    "zip.csv": (gzip.compress(LINES.encode(), mtime=0), "binary data, not text"),
    "binary.csv": (LINES.encode() + b"\0", "binary data, not text: it has NUL bytes"),
    "latin-1.csv": (LINES.replace("bad", "bäd").encode("latin-1"), "not UTF-8 text: byte 0xe4"),
    "utf-16.csv": (LINES.encode("utf-16"), "binary data, not text"),
    "cut-in-a-letter.csv": (LINES.encode() + "ä".encode()[:1], "not UTF-8 text: byte 0xc3"),
    "other.csv": (b"a,b\n1,2\n", "its header lacks InvoiceNo, StockCode"),
    "twice.csv": (LINES.replace(HEADER, HEADER + ",Country").encode(), "its header names Country twice"),
    "one-line.csv": (b"x" * 200_000, "its first line is not a header"),
}
WRITTEN = {name: content for name, (content, _) in BAD.items()}


def put(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files into a source folder."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_bad_files_are_named_and_counted_while_the_others_commit(settings: Settings, tmp_path: Path) -> None:
    source = put(tmp_path / "in", WRITTEN)
    write_csv(source / "good.csv", [retail_row()])
    result = run_table(settings, CONTRACT, source)
    assert (result.source_files, result.files_quarantined, result.rows_in) == (1, len(BAD), 1)
    refused = {path: entry.reason or "" for path, entry in sources_of(settings, CONTRACT).rejected.items()}
    assert refused.keys() == BAD.keys()
    for name, (_, reason) in BAD.items():
        assert refused[name].startswith(reason), name
    assert ask(settings, f"SELECT _source_file FROM {TABLE}") == [("good.csv",)]


def test_where_all_are_bad_the_error_names_them_and_the_lake_is_as_it_was(
    settings: Settings, tmp_path: Path
) -> None:
    few = dict(list(WRITTEN.items())[:3])
    with pytest.raises(WatchkeeperError, match="none of the 3 new files can be read") as refused:
        run_table(settings, CONTRACT, put(tmp_path / "in", few))
    for name in few:
        assert f"{name}: {BAD[name][1]}" in str(refused.value)
    assert lake_contents(settings) == {}
    write_csv(tmp_path / "in" / "good.csv", [retail_row()])
    run_table(settings, CONTRACT, tmp_path / "in")
    before = lake_contents(settings)
    with pytest.raises(WatchkeeperError, match=r"latin-1\.csv: not UTF-8"):
        run_table(settings, CONTRACT, put(tmp_path / "in", {"latin-1.csv": WRITTEN["latin-1.csv"]}))
    assert lake_contents(settings) == before


def test_a_bad_file_beside_an_empty_one_is_no_silence(settings: Settings, tmp_path: Path) -> None:
    source = put(tmp_path / "in", {"bad.csv": b"\0", "empty.csv": HEADER.encode()})
    with pytest.raises(WatchkeeperError, match=r"bad\.csv: binary data"):
        run_table(settings, CONTRACT, source)


def test_a_known_bad_file_is_not_reported_again(settings: Settings, tmp_path: Path) -> None:
    source = put(tmp_path / "in", {"a.csv": b"\0", "copy-of-a.csv": b"\0"})
    write_csv(source / "good.csv", [retail_row()])
    run_table(settings, CONTRACT, source)
    assert run_table(settings, CONTRACT, source).outcome == "unchanged"
    write_csv(source / "more.csv", [retail_row(Quantity=2)])
    assert run_table(settings, CONTRACT, source).files_quarantined == 0
    assert len(table_of(settings, TABLE).snapshots()) == 2


def test_a_bad_file_that_changed_and_is_still_bad_is_reported_again(
    settings: Settings, tmp_path: Path
) -> None:
    source = put(tmp_path / "in", {"a.csv": b"\0"})
    write_csv(source / "good.csv", [retail_row()])
    run_table(settings, CONTRACT, source)
    with pytest.raises(WatchkeeperError, match=r"a\.csv: binary data"):
        run_table(settings, CONTRACT, put(source, {"a.csv": b"\0\0"}))


def test_a_bad_file_that_was_mended_commits(settings: Settings, tmp_path: Path) -> None:
    source = put(tmp_path / "in", {"a.csv.gz": WRITTEN["cut.csv.gz"]})
    write_csv(source / "good.csv", [retail_row()])
    run_table(settings, CONTRACT, source)
    put(source, {"a.csv.gz": gzip.compress(LINES.encode(), mtime=0)})
    result = run_table(settings, CONTRACT, source)
    assert (result.rows_committed, result.files_quarantined) == (1, 0)
    assert sources_of(settings, CONTRACT).rejected == {}
    assert ask(settings, f"SELECT stock_code FROM {TABLE} WHERE _source_file = 'a.csv.gz'") == [("bad",)]


def test_a_bad_correction_leaves_the_rows_that_were_good(settings: Settings, tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", [retail_row(Quantity=1)])
    run_table(settings, CONTRACT, tmp_path / "in")
    put(tmp_path / "in", {"a.csv": WRITTEN["binary.csv"]})
    write_csv(tmp_path / "in" / "b.csv", [retail_row(Quantity=2)])
    assert run_table(settings, CONTRACT, tmp_path / "in").files_quarantined == 1
    assert ask(settings, f"SELECT _source_file, quantity FROM {TABLE} ORDER BY 1") == [
        ("a.csv", 1),
        ("b.csv", 2),
    ]
    write_csv(tmp_path / "in" / "a.csv", [retail_row(Quantity=3)])
    run_table(settings, CONTRACT, tmp_path / "in")
    assert ask(settings, f"SELECT _source_file, quantity FROM {TABLE} ORDER BY 1") == [
        ("a.csv", 3),
        ("b.csv", 2),
    ]


def test_a_good_file_put_back_after_a_bad_correction_changes_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    write_csv(tmp_path / "in" / "a.csv", [retail_row(Quantity=1)])
    write_csv(tmp_path / "in" / "b.csv", [retail_row(Quantity=2)])
    run_table(settings, CONTRACT, tmp_path / "in")
    put(tmp_path / "in", {"a.csv": b"\0"})
    write_csv(tmp_path / "in" / "c.csv", [retail_row(Quantity=3)])
    run_table(settings, CONTRACT, tmp_path / "in")
    write_csv(tmp_path / "in" / "a.csv", [retail_row(Quantity=1)])
    assert run_table(settings, CONTRACT, tmp_path / "in").outcome == "unchanged"
    assert ask(settings, f"SELECT sum(quantity) FROM {TABLE}") == [(6,)]


def test_hidden_files_and_other_patterns_are_not_looked_at(settings: Settings, tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "good.csv", [retail_row()])
    for name in (".a.csv", ".git/a.csv", "notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"\0")
    result = run_table(settings, CONTRACT, tmp_path / "in")
    assert (result.rows_committed, result.files_quarantined) == (1, 0)
