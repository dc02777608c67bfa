"""Fixtures for every folder: a home of the test's own, and a Prefect that never sees the user's."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Before anything imports Prefect: merely importing it would make ~/.prefect.
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="watchkeeper-prefect-")
atexit.register(shutil.rmtree, os.environ["PREFECT_HOME"], ignore_errors=True)
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["DO_NOT_TRACK"] = "1"

import pytest  # noqa: E402

from flows.config import Settings  # noqa: E402
from tests.everything import EVERYTHING  # noqa: E402
from tests.factories import settings_of  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is slow, unless everything is asked for."""
    if not EVERYTHING:
        skip = pytest.mark.skip(reason="slow: runs with WATCHKEEPER_REQUIRE_STACK=1")
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(skip)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of an empty home below the test's temporary folder."""
    return settings_of(tmp_path / "home")
