"""Publish a version, promote it, and die by SIGKILL: `python -m tests.faults.promoting POINT ROOT FOLDER`.

The product knows nothing of this: the points are functions, replaced in this process.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.bento import files, registry, store
from services.bento.ledger import Ledger
from services.bento.registry import Registry
from services.bento.store import LocalStore
from tests.faults.killed_etl import after, before, die, wrap


def half_of_a_copy(_inner: object, args: Any, _options: object) -> None:
    """Die with half of a file copied."""
    source, target = args
    data = source.read_bytes()
    target.write_bytes(data[: len(data) // 2])
    die()


def half_of_an_entry(_inner: object, args: Any, _options: object) -> None:
    """Die with half of an entry in its temporary file."""
    path, data = args
    path.write_bytes(data[: len(data) // 2])
    die()


POINTS: dict[str, Callable[[], None]] = {
    "before the copy": lambda: before(store, "copy_folder"),
    "in the middle of a file": lambda: wrap(files, "copy_file", half_of_a_copy, times=3),
    "between two files": lambda: after(files, "copy_file", times=2),
    "after the copy, before the rename": lambda: after(store, "copy_folder"),
    "after the rename": lambda: after(Path, "rename"),
    "after the version is published": lambda: after(Registry, "add"),
    "before the checksum": lambda: before(registry, "verify", times=2),
    "before the entry": lambda: before(store, "write_synced"),
    "in the middle of the entry": lambda: wrap(store, "write_synced", half_of_an_entry, times=1),
    "before the link": lambda: before(os, "link"),
    "after the link": lambda: after(os, "link"),
    "after the temporary file is gone": lambda: after(files, "remove", times=2),
    "after the entry": lambda: after(Ledger, "write"),
}
LINKED = list(POINTS).index("after the link")


def publish_and_promote(root: Path, folder: Path, expected: str) -> None:
    """What the flow does once the gate has said yes."""
    made = Registry(LocalStore(root), "articles")
    made.promote(made.add(folder), expected, flow_run=f"process {os.getpid()}")


if __name__ == "__main__":
    POINTS[sys.argv[1]]()
    publish_and_promote(Path(sys.argv[2]), Path(sys.argv[3]), "old")
    print(f"still alive: passed {sys.argv[1]!r} without dying", file=sys.stderr)
