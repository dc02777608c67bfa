"""Files and folders that appear whole or not at all, and survive a loss of power."""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Scratch:
    """A folder for half-done things beside what they will become, on the same file system.

    Writers hold a shared lock, which ends with their process, however it ends. Who gets the lock alone knows
    that whatever lies here is a dead writer's.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def path(self) -> Iterator[Path]:
        """A path for one file or folder, removed at the end unless it was moved away."""
        with self._lock(fcntl.LOCK_SH):
            path = self.root / ".tmp" / uuid.uuid4().hex
            path.parent.mkdir(exist_ok=True)
            try:
                yield path
            finally:
                remove(path)

    def sweep(self) -> None:
        """Remove dead writers' leftovers, if there is no living writer."""
        try:
            with self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB):
                for path in (self.root / ".tmp").glob("*"):
                    remove(path)
        except BlockingIOError:
            pass  # the next one will

    @contextmanager
    def _lock(self, mode: int) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as lock:
            fcntl.flock(lock, mode)
            yield


def write_synced(path: Path, data: bytes) -> None:
    """Write a file that survives a loss of power."""
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder of plain files so that it survives a loss of power."""
    target.mkdir()
    for path in sorted(source.rglob("*")):
        if path.is_dir():
            (target / path.relative_to(source)).mkdir(parents=True, exist_ok=True)
        else:
            copy_file(path, target / path.relative_to(source))
    sync(target)


def copy_file(source: Path, target: Path) -> None:
    """Copy one file and put it on disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    sync(target)


def sync(path: Path) -> None:
    """Put a file, or a folder's names, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
