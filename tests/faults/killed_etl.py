"""Run the ETL flow and die by SIGKILL at one point: `python -m tests.faults.killed_etl POINT DATASET SOURCE`.

The product knows nothing of this: the points are functions of the flow's steps, replaced in this process.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.config import Settings, load_settings
from flows.session import session

HALF = 1000


def die(*_args: object, **_options: object) -> None:
    """End as a machine does that loses its power."""
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: object, name: str, times: int = 1) -> None:
    """Die when a function is called for the n-th time."""
    wrap(owner, name, lambda inner, args, options: die(), times)


def after(owner: object, name: str, times: int = 1) -> None:
    """Die when a function's n-th call returns."""

    def finish(inner: Any, args: Any, options: Any) -> None:
        inner(*args, **options)
        die()

    wrap(owner, name, finish, times)


def wrap(owner: object, name: str, last: Callable[[Any, Any, Any], object], times: int) -> None:
    """Replace a function; its n-th call does `last` instead."""
    inner, calls = getattr(owner, name), []

    def replaced(*args: object, **options: object) -> object:
        calls.append(1)
        return last(inner, args, options) if len(calls) == times else inner(*args, **options)

    setattr(owner, name, replaced)


def in_the_middle_of_a_copy() -> None:
    """Die with half of a file in the raw zone's temporary copy."""
    from flows.etl import land

    def half(_inner: object, args: Any, _options: object) -> None:
        source, path, _, target = args
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open(path) as stream:
            (target.parent / ".half.tmp").write_bytes(stream.read(HALF))
        die()

    wrap(land, "copy_to_raw", half, times=3)


def when_spark_has_written(settings: Settings) -> None:
    """Die as soon as one data file is there, whole or not."""

    def watch() -> None:
        known = set((settings.home / "lake").glob("*/*/data/*/**/*.parquet"))
        while not set((settings.home / "lake").glob("*/*/data/*/**/*.parquet")) - known:
            time.sleep(0.005)
        die()

    threading.Thread(target=watch, daemon=True).start()


def arm(point: str, settings: Settings) -> None:
    """Prepare one way to die; must run inside the session, since it imports the flow."""
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.table.update.snapshot import _SnapshotProducer
    from sqlalchemy.orm import Session

    from flows.etl import flow, lake, land, quarantine, steps
    from flows.etl.runners.life import Engine
    from flows.etl.runners.local import LocalRunner
    from flows.etl.sources import Sources

    points: dict[str, Callable[[], None]] = {
        "before the first copy": lambda: before(land, "copy_to_raw"),
        "in the middle of a copy": in_the_middle_of_a_copy,
        "after land": lambda: after(flow, "make_plan"),
        "before Spark": lambda: before(LocalRunner, "submit"),
        "while Spark starts": lambda: before(LocalRunner, "follow"),
        "while Spark writes": lambda: when_spark_has_written(settings),
        "after Spark": lambda: after(Engine, "run"),
        "before the verdict": lambda: before(steps, "reach_verdict"),
        "after the quarantine is stored": lambda: after(quarantine, "store"),
        "after the verdict": lambda: after(steps, "reach_verdict"),
        "before the sources are stored": lambda: before(Sources, "store"),
        "after the sources are stored": lambda: after(Sources, "store"),
        "while manifests are written": lambda: before(_SnapshotProducer, "new_manifest_output"),
        "before the manifest list": lambda: before(_SnapshotProducer, "_summary"),
        "before the table's metadata": lambda: before(SqlCatalog, "commit_table"),
        "before the catalog's row": lambda: before(Session, "commit"),
        "after the catalog's row": lambda: after(Session, "commit"),
        "after the commit": lambda: after(lake.Lake, "commit"),
        "before staging is cleared": lambda: before(steps, "discard"),
        "before the report": lambda: before(flow, "publish"),
    }
    points[point]()


def main(point: str, dataset: str, source: str) -> None:
    """Run the flow until it dies; returning from here is the test's failure."""
    settings = load_settings()
    with session(settings):
        from flows.etl.flow import etl

        arm(point, settings)
        etl(dataset, source)


if __name__ == "__main__":
    main(*sys.argv[1:])
    print(f"still alive: {Path(sys.argv[0]).name} passed the point without dying", file=sys.stderr)
