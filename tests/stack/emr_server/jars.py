"""Spark's way to S3: two jars, of the Hadoop that the pinned Spark is built with; Maven brings them."""

from pathlib import Path

import pytest

from tests.everything import EVERYTHING

REPOSITORY = Path.home() / ".m2" / "repository"
JARS = [
    REPOSITORY / "org/apache/hadoop/hadoop-aws/3.3.4/hadoop-aws-3.3.4.jar",
    REPOSITORY / "com/amazonaws/aws-java-sdk-bundle/1.12.262/aws-java-sdk-bundle-1.12.262.jar",
]
MISSING = [jar.name for jar in JARS if not jar.exists()]

needs_jars = pytest.mark.skipif(
    bool(MISSING) and not EVERYTHING, reason=f"Maven has not brought {', '.join(MISSING)}"
)
