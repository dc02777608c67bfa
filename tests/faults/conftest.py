"""One Prefect server for all faults of a worker, and real retail days."""

from collections.abc import Iterator

import pytest

from flows.server import server
from tests.factories import settings_of


@pytest.fixture(scope="session")
def prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """API URL of a server in a home of its own."""
    with server(settings_of(tmp_path_factory.mktemp("prefect-home"))) as url:
        yield url
