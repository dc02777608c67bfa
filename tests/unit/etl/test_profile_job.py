"""The profile job tells each file by the name that the lake has for it."""

import sys

import pytest

from flows.etl.runners.programs import ETL

sys.path.append(str(ETL))  # as spark-submit sees it
from flows.etl.profile_job import plain


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///lake/_p0=a%20b/x%252F.parquet", "/lake/_p0=a b/x%2F.parquet"),
        ("s3://the-lake/lake/_p0=a%20b/x", "s3://the-lake/lake/_p0=a b/x"),
        ("s3a://the-lake/lake/_p0=%C3%A9/x", "s3://the-lake/lake/_p0=é/x"),
    ],
)
def test_a_file_has_the_name_that_the_lake_knows(uri: str, path: str) -> None:
    assert plain(uri) == path
