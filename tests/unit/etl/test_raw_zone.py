"""The raw zone keeps a content under its sha256."""

from pathlib import Path

import pytest

from flows.etl.raw_zone import raw_path


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a.csv", ".csv"),
        ("a.csv.gz", ".csv.gz"),
        ("2010.12.01.CSV.GZ", ".csv.gz"),
        ("a.2010.csv", ".csv"),
        ("a.jpg", ".jpg"),
        ("a", ""),
        ("a.c/s;v", ""),
        ("a.c s\nv", ".csv"),
    ],
)
def test_the_raw_zone_keeps_the_ending_by_which_spark_picks_the_codec(name: str, kept: str) -> None:
    assert raw_path(Path("/raw"), "ab" * 32, name) == Path("/raw/ab") / ("ab" * 32 + kept)
