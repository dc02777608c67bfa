"""Where the registry keeps things: a folder of this machine, or a bucket (`s3_store.py`).

A store promises three things and the registry builds on nothing else: `create` makes a key exactly once,
whole, however many try; `add_folder` shows a folder whole or not at all; a process that dies leaves nothing
that a reader can see.
"""

import os
from pathlib import Path
from typing import Protocol

from observability.errors import WatchkeeperError
from services.bento.files import Scratch, copy_folder, sync, write_synced

Keys = list[str]


class RegistryError(WatchkeeperError):
    """The registry cannot do, or does not hold, what was asked."""


class MissingError(RegistryError):
    """A key that the store does not hold."""


class Store(Protocol):
    """Keys are names joined by '/'; a folder's key has no '/' at its end."""

    def create(self, key: str, data: bytes) -> bool:
        """Store under a key that nothing has. False: another was first, and it stays."""

    def read(self, key: str) -> bytes:
        """The bytes of a key. MissingError where there is none."""

    def add_folder(self, key: str, folder: Path) -> bool:
        """Store a folder that has a manifest, whole. False: there is one already, and it stays."""

    def fetch_folder(self, key: str, to: Path) -> Path:
        """A local path of a stored folder: its own, or a copy at `to`. MissingError where there is none."""

    def sweep(self) -> None:
        """Remove what killed writers left, unless somebody is writing just now."""

    def list(self, prefix: str, after: str = "") -> Keys:
        """All keys below a folder's key ('' for all), sorted; `after`: only those behind this key."""


class LocalStore:
    """A folder. The atomic steps are a hard link, which fails where its name is taken, and a rename."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._scratch = Scratch(root)

    def __str__(self) -> str:
        return str(self.root)

    def create(self, key: str, data: bytes) -> bool:
        """See `Store.create`."""
        target = self._path(key)
        if target.exists():
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._scratch.path() as half:
            write_synced(half, data)
            try:
                os.link(half, target)
            except FileExistsError:
                return False
            except PermissionError as error:  # what Linux says on FAT and some network mounts
                raise RegistryError(
                    f"{target}: {error.strerror}; put the registry on a file system with hard links, or on s3://"
                ) from None
        sync(target.parent)
        return True

    def read(self, key: str) -> bytes:
        """See `Store.read`."""
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise MissingError(f"{self._path(key)} is not there") from None

    def add_folder(self, key: str, folder: Path) -> bool:
        """See `Store.add_folder`."""
        target = self._path(key)
        if target.exists():
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._scratch.path() as half:
            copy_folder(folder, half)
            try:
                half.rename(target)
            except OSError:
                if target.exists():  # another was first
                    return False
                raise
        sync(target.parent)
        return True

    def fetch_folder(self, key: str, to: Path) -> Path:
        """See `Store.fetch_folder`: nothing is copied."""
        if not self._path(key).is_dir():
            raise MissingError(f"{self._path(key)} is not there")
        return self._path(key)

    def sweep(self) -> None:
        """See `Store.sweep`."""
        self._scratch.sweep()

    def list(self, prefix: str, after: str = "") -> Keys:
        """See `Store.list`."""
        top = self._path(prefix) if prefix else self.root
        found = (
            (Path(parent) / name).relative_to(self.root).as_posix()
            for parent, folders, files in os.walk(top)
            for name in files
        )
        return sorted(key for key in found if key > after and not key.startswith("."))

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise RegistryError(f"{key!r} is no key of a registry")
        return self.root.joinpath(*parts)


def open_store(location: str | Path) -> Store:
    """The store at a folder, or at `s3://bucket/prefix` with the credentials that boto3 finds."""
    if not str(location).startswith("s3://"):
        return LocalStore(Path(location))
    try:
        import boto3

        from services.bento.s3_store import S3Store
    except ImportError:  # the serving environment has it only where a bucket is used
        raise RegistryError(f"{location}: boto3 is not installed; install it, or give a folder") from None
    bucket, _, prefix = str(location).removeprefix("s3://").partition("/")
    if not bucket:
        raise RegistryError(f"{location}: no bucket; write s3://bucket/prefix")
    return S3Store(boto3.client("s3"), bucket, prefix)
