"""A path in a bucket behaves as pathlib's do, as far as it goes, and is never one of this machine."""

from pathlib import Path

import pytest

from flows.s3_path import S3Path


def test_parts_are_pathlibs() -> None:
    path = S3Path("s3://bucket/lake/raw/ab/abc.csv.gz")
    assert str(path.parent / "x" / "y") == "s3://bucket/lake/raw/ab/x/y"
    assert (path.name, path.stem, path.suffix) == ("abc.csv.gz", "abc.csv", ".gz")
    assert (path.bucket, path.key, path.in_arrow) == (
        "bucket",
        "lake/raw/ab/abc.csv.gz",
        "bucket/lake/raw/ab/abc.csv.gz",
    )
    assert str(path.with_name("d")) == "s3://bucket/lake/raw/ab/d"
    assert path.is_relative_to(S3Path("s3://bucket/lake/"))
    assert not path.is_relative_to(S3Path("s3://other/lake"))
    assert not path.is_relative_to(Path("/bucket/lake"))


def test_a_bucket_alone_is_a_path_without_a_key() -> None:
    assert (str(S3Path("s3://bucket/")), S3Path("s3://bucket").key) == ("s3://bucket", "")


def test_nothing_is_quoted_but_in_a_uri() -> None:
    path = S3Path("s3://bucket/_p0=a b%2Fé/x")
    assert path.parts[1] == "_p0=a b%2Fé"
    assert path.as_uri() == "s3://bucket/_p0%3Da%20b%252F%C3%A9/x"


def test_equal_paths_are_one_in_a_set_and_have_an_order() -> None:
    one, other = S3Path("s3://b-1/a/b"), S3Path("s3://b-1/a") / "b"
    assert {one, other} == {one}
    assert one != Path("/b-1/a/b")
    assert sorted([S3Path("s3://b-1/b"), one]) == [one, S3Path("s3://b-1/b")]
    assert repr(one) == "S3Path('s3://b-1/a/b')"


def test_it_is_never_taken_for_a_path_of_this_machine() -> None:
    with pytest.raises(TypeError):
        Path(S3Path("s3://bucket/a"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'/bucket/a' does not begin with s3://"):
        S3Path("/bucket/a")
