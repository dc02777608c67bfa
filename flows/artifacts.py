"""Prefect's artifacts, patiently: they are for looking at, and no run fails for want of one.

Prefect's client asks a server again that it has reached before. An artifact has a client of its own, which
has not, and gives up at once while a server restarts.
"""

import time
from collections.abc import Callable
from typing import Any

import httpx
from prefect import artifacts as prefects
from prefect import get_run_logger

PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 2.0


def create_table_artifact(key: str, table: list[dict[str, Any]], description: str) -> None:
    """Keep a table; see Prefect."""
    patiently(key, lambda: prefects.create_table_artifact(key=key, table=table, description=description))


def create_link_artifact(key: str, link: str, description: str) -> None:
    """Keep a link; see Prefect."""
    patiently(key, lambda: prefects.create_link_artifact(key=key, link=link, description=description))


def create_markdown_artifact(key: str, markdown: str, description: str) -> None:
    """Keep a text; see Prefect."""
    patiently(
        key, lambda: prefects.create_markdown_artifact(key=key, markdown=markdown, description=description)
    )


def patiently(key: str, create: Callable[[], object]) -> None:
    """Create one, asked again while the server is away; after that the run goes on without."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            create()
            return
        except httpx.TransportError as error:
            if time.monotonic() > until:
                get_run_logger().warning("artifact %s is not kept: Prefect's server is away: %s", key, error)
                return
        time.sleep(PAUSE_SECONDS)
