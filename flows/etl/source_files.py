"""The source: files in a folder or a bucket, listed, opened and hashed; nothing of them is kept."""

import fnmatch
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.fs as pafs

from flows.errors import WatchkeeperError
from flows.etl.contract import Contract

CHUNK = 1 << 20
GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Source:
    """A source folder on a file system: local or S3."""

    files: pafs.FileSystem
    root: str
    glob: str = "*"

    def list(self, pattern: str) -> list[str]:
        """Paths below the root, sorted, that match both the source's glob and `pattern`.

        Raises:
            WatchkeeperError: see `find`.
        """
        return sorted(name for name in self.find() if fnmatch.fnmatch(name, pattern))

    def find(self) -> dict[str, pafs.FileInfo]:
        """Every file that matches the source's glob, by its path below the root, but for hidden ones.

        Raises:
            WatchkeeperError: a folder cannot be listed, or a file's name is not UTF-8.
        """
        try:
            listed = self.files.get_file_info(pafs.FileSelector(self.root, recursive=True))
            found = {i.path[len(self.root) :].lstrip("/"): i for i in listed if i.type == pafs.FileType.File}
        except UnicodeDecodeError as error:
            raise WatchkeeperError(f"the name of {error.object!r} is not UTF-8; rename that file") from None
        except OSError as error:
            raise WatchkeeperError(f"source {self.root} cannot be listed: {error}") from None
        return {
            name: info
            for name, info in found.items()
            if fnmatch.fnmatch(name, self.glob) and not any(p.startswith(".") for p in name.split("/"))
        }

    def open(self, path: str) -> IO[bytes]:
        """Open a file below the root."""
        stream: IO[bytes] = self.files.open_input_stream(f"{self.root}/{path}", compression=None)
        return stream


def open_source(source: str) -> Source:
    """Understand a folder, a file, a glob or an `s3://` prefix.

    Raises:
        WatchkeeperError: it does not exist or cannot be listed.
    """
    plain = GLOB.split(source, maxsplit=1)[0]
    root = source if plain == source else plain.rpartition("/")[0] or ("/" if plain.startswith("/") else ".")
    try:
        if source.startswith("s3://"):
            base = root.removeprefix("s3://").rstrip("/")  # a key is no URI: it may have any letter
            files, _ = pafs.FileSystem.from_uri("s3://" + base.partition("/")[0])
        else:
            files, base = pafs.LocalFileSystem(), str(Path(root).expanduser().absolute())
        kind = files.get_file_info(base).type
    except (OSError, pa.ArrowException) as error:
        raise WatchkeeperError(f"source {source} cannot be listed: {error}") from None
    if kind == pafs.FileType.File:
        folder, _, name = base.rpartition("/")
        return Source(files, folder or "/", glob=name)
    if kind == pafs.FileType.NotFound:
        raise WatchkeeperError(
            f"source {source} does not exist; --source takes a folder, a glob or an s3:// prefix"
        )
    return Source(files, base, glob=source.removeprefix(root).lstrip("/") or "*")


def refuse_empty_source(contracts: list[Contract], source: str) -> None:
    """Say so where a source holds no file for any table, or one that may not be read.

    Raises:
        WatchkeeperError: nothing matches, a file may not be read, or the source cannot be listed.
    """
    opened = open_source(source)
    found = [name for contract in contracts for name in opened.list(contract.source.pattern)]
    if isinstance(opened.files, pafs.LocalFileSystem):
        for path in (f"{opened.root}/{name}" for name in found):
            if not os.access(path, os.R_OK):
                raise WatchkeeperError(f"file {path} cannot be read: permission denied; change its mode")
    if not found:
        patterns = ", ".join(f"{contract.source.pattern} ({contract.table})" for contract in contracts)
        raise WatchkeeperError(f"no file of {source} matches the data set's patterns: {patterns}")


def hash_file(source: Source, path: str) -> str:
    """The sha256 of a file's bytes.

    Raises:
        WatchkeeperError: it may not be read, or is gone.
    """
    digest = hashlib.sha256()
    try:
        with source.open(path) as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise WatchkeeperError(f"file {source.root}/{path} cannot be read: {error}") from None
    return digest.hexdigest()


def hash_picture(source: Source, path: str) -> str | None:
    """The sha256 of a picture; None where there is none, which breaks a rule of its row only."""
    try:
        if source.files.get_file_info(f"{source.root}/{path}").type != pafs.FileType.File:
            return None
    except OSError as error:
        raise WatchkeeperError(f"file {source.root}/{path} cannot be read: {error}") from None
    return hash_file(source, path)
