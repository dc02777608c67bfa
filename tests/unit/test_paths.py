"""Files of a store on this machine; `tests/stack/test_lake_s3.py` has those of one in a bucket."""

import errno
from pathlib import Path

import pyarrow as pa
import pytest

from flows.errors import WatchkeeperError
from flows.paths import (
    files_below,
    mapped,
    path_of,
    read_footer,
    read_rows,
    refuse_outage,
    remove_folder,
    total,
    write_rows,
    write_whole,
)
from flows.s3_path import S3Error, S3Path


def test_a_location_of_the_lake_is_taken_letter_by_letter() -> None:
    assert path_of("file:///lake/_p0=a%20b/x") == path_of("/lake/_p0=a%20b/x") == Path("/lake/_p0=a%20b/x")
    assert path_of("s3://bucket/_p0=a%20b/x") == S3Path("s3://bucket/_p0=a%20b/x")


def test_a_write_that_fails_leaves_what_was_there_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "new" / "x"
    write_whole(target, b"old")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as stream:
            stream.write(data[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(target, b"new")
    assert [(path.name, path.read_bytes()) for path in target.parent.iterdir()] == [("x", b"old")]


def test_rows_are_read_without_what_their_folders_say(tmp_path: Path) -> None:
    path = tmp_path / "_p0=1" / "x.parquet"
    write_rows(pa.table({"a": [1, 2], "b": ["x", "y"]}), path)
    assert read_rows(path, ["a"]).to_pylist() == [{"a": 1}, {"a": 2}]
    assert read_rows(path).column_names == ["a", "b"]
    assert read_rows(path, filters=[("b", "=", "y")])["a"].to_pylist() == [2]
    assert read_footer(path).num_rows == 2
    assert total([path, path]) == 2 * path.stat().st_size


def test_every_file_below_a_folder_is_found_and_goes_with_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b" / "c", b"1")
    write_whole(tmp_path / "a" / "d", b"2")
    assert set(files_below(tmp_path / "a")) == {tmp_path / "a" / "b" / "c", tmp_path / "a" / "d"}
    remove_folder(tmp_path / "a")
    remove_folder(tmp_path / "a")
    assert list(files_below(tmp_path / "a")) == []


def test_work_keeps_the_order_of_its_paths() -> None:
    assert mapped(str, [Path("b"), Path("a")]) == ["b", "a"]
    names = [f"s3://bucket/{n}" for n in range(40)]
    assert mapped(str, [S3Path(name) for name in names]) == names
    assert mapped(str, []) == []


def test_only_a_store_that_cannot_be_read_is_an_outage() -> None:
    there = S3Path("s3://bucket/raw/x")
    for error in (S3Error("down"), PermissionError("no"), FileNotFoundError("gone"), OSError("AWS Error X")):
        with pytest.raises(WatchkeeperError, match=r"s3://bucket/raw/x cannot be read"):
            refuse_outage(there, error)
        refuse_outage(Path("x"), error)
    for damage in (OSError("Corrupt snappy compressed data"), EOFError("ends early"), ValueError("NUL")):
        refuse_outage(there, damage)
