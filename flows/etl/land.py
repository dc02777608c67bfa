"""Land: what arrived at the source, kept under its sha256 in the raw zone, and what of it can be read.

A file is known by its path below the source and by its content. What the lake holds already is skipped;
a known path with new content is a correction. Nothing here changes the lake.
"""

import fnmatch
import hashlib
import os
import re
import uuid
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.fs as pafs

from flows.console import OnProgress, no_progress
from flows.errors import WatchkeeperError
from flows.etl.contract import Contract
from flows.etl.inspect_file import Finding, inspect_index, inspect_table_file
from flows.etl.sources import Sources
from flows.s3_path import AnyPath, S3Path

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


@dataclass(frozen=True)
class Arrival:
    """A file to process: its path at the source, its content and what inspection found."""

    path: str
    sha256: str
    version: str
    bytes: int
    raw: AnyPath
    finding: Finding
    pictures: tuple[tuple[str, str | None], ...] = ()
    copy: bool = False


@dataclass
class Landing:
    """What a run has to do with the files of its source."""

    arrivals: list[Arrival] = field(default_factory=list)
    skipped: int = 0

    @property
    def readable(self) -> list[Arrival]:
        """Files whose rows go to Spark."""
        return [a for a in self.arrivals if not a.finding.reason]

    @property
    def rejected(self) -> list[Arrival]:
        """Files that cannot be read whole: quarantined as files."""
        return [a for a in self.arrivals if a.finding.reason]


@dataclass(frozen=True)
class Seen:
    """A file at the source with its hashes; `pictures` belong to an image index."""

    path: str
    sha256: str
    version: str
    pictures: tuple[tuple[str, str | None], ...] = ()
    copy: bool = False
    """A correction to what another path holds: only its earlier rows are to go."""


def land(
    contract: Contract,
    source: Source,
    known: Sources,
    raw_zone: AnyPath,
    on_progress: OnProgress = no_progress,
) -> Landing:
    """List, hash, skip what the lake holds, copy what is new into the raw zone, and inspect it.

    Raises:
        WatchkeeperError: a file at the source may not be read.
    """
    names = source.list(contract.source.pattern)
    landing = Landing()
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        seen = list(pool.map(lambda name: identify(contract, source, name), names))
        new = list(only_new(seen, known))
        landing.skipped = len(seen) - len(new)
        for done, arrival in enumerate(pool.map(lambda s: bring(contract, source, s, raw_zone), new), 1):
            landing.arrivals.append(arrival)
            on_progress(done, len(new))
    # Where a correction cannot be read, its path keeps what it held, and another path is a copy of that.
    stays = {known.committed[a.path].sha256 for a in landing.rejected if a.path in known.committed}
    copies = [a for a in landing.readable if a.sha256 in stays]
    landing.arrivals = [a for a in landing.arrivals if a not in copies]
    landing.skipped += len(copies)
    return landing


def identify(contract: Contract, source: Source, path: str) -> Seen:
    """Hash a file and, where it is an image index, its pictures."""
    digest = hash_file(source, path)
    if contract.source.format != "images":
        return Seen(path, digest, digest)
    pictures = []
    folder = path.rpartition("/")[0]
    for name in inspect_index(path, lambda: source.open(path), contract):
        place = f"{folder}/{name}".lstrip("/")
        pictures.append((name, hash_picture(source, place)))
    whole = hashlib.sha256(repr((digest, sorted(set(pictures), key=repr))).encode()).hexdigest()
    return Seen(path, digest, whole, tuple(dict.fromkeys(pictures)))


def only_new(seen: Collection[Seen], known: Sources) -> Iterable[Seen]:
    """Drop what the lake holds, what it refused before, and copies of one content under another path."""
    now = {file.path: file.sha256 for file in seen}
    # A path with other content gives up what it held: `a` may have become `b`, as a rotated log does.
    held = {e.sha256: path for path, e in known.committed.items() if now.get(path, e.sha256) == e.sha256}
    refused_before = {e.sha256 for path, e in known.rejected.items() if now.get(path, e.sha256) == e.sha256}
    for file in seen:
        before = known.committed.get(file.path) or known.rejected.get(file.path)
        refused = known.rejected.get(file.path)
        if (before and before.version == file.version) or (refused and refused.version == file.version):
            continue
        copy = held.setdefault(file.sha256, file.path) != file.path
        if file.path in known.committed:
            yield replace(file, copy=copy)
        elif not copy and file.sha256 not in refused_before:
            yield file


def bring(contract: Contract, source: Source, file: Seen, raw_zone: AnyPath) -> Arrival:
    """Copy a new file (and its pictures) into the raw zone and find out whether it can be read."""
    raw = raw_path(raw_zone, file.sha256, file.path)
    copy_to_raw(source, file.path, file.sha256, raw)
    folder = file.path.rpartition("/")[0]
    for name, digest in file.pictures:
        if digest:
            place = f"{folder}/{name}".lstrip("/")
            copy_to_raw(source, place, digest, raw_path(raw_zone, digest, name))
    arrival = arrive(contract, file.path, file.sha256, file.version, raw, file.pictures)
    if file.copy and not arrival.finding.reason:
        return replace(arrival, finding=Finding(), copy=True)
    return arrival


def arrive(
    contract: Contract,
    path: str,
    sha256: str,
    version: str,
    raw: AnyPath,
    pictures: tuple[tuple[str, str | None], ...],
) -> Arrival:
    """A file of the raw zone as something to process; also how a rebuild brings old files back."""
    held = [
        (name, digest, raw_path(raw.parent.parent, digest, name) if digest else None)
        for name, digest in pictures
    ]
    finding = inspect_table_file(raw, contract, held)
    return Arrival(path, sha256, version, raw.stat().st_size, raw, finding, pictures)


def raw_path(raw_zone: AnyPath, sha256: str, name: str) -> AnyPath:
    """Where the raw zone keeps a content; the ending stays, since Spark picks the codec by it."""
    suffixes = Path(name.lower()).suffixes
    ending = "".join(suffixes[-2:] if suffixes[-1:] == [".gz"] else suffixes[-1:])
    return raw_zone / sha256[:2] / (sha256 + re.sub(r"[^a-z0-9.]", "", ending))


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


class Verified:
    """A stream that raises at its end where it was not what `sha256` says, so that its copier stops."""

    def __init__(self, stream: IO[bytes], path: str, sha256: str) -> None:
        self._stream, self._path, self._sha256 = stream, path, sha256
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """So many bytes, fewer only at the end (an uploader takes a short read for the last); else all.

        Raises:
            WatchkeeperError: this is the end, and the content is another.
        """
        data = self._stream.read() if size < 0 else self._stream.read(size)
        while len(data) < size and (more := self._stream.read(size - len(data))):
            data += more
        self._digest.update(data)
        if (size < 0 or len(data) < size) and self._digest.hexdigest() != self._sha256:
            raise WatchkeeperError(
                f"file {self._path} changed while it was landed; run again when its writer is done"
            )
        return data


def copy_to_raw(source: Source, path: str, sha256: str, target: AnyPath) -> None:
    """Copy once, verified, whole or not at all, read-only.

    Always a copy: a hard link would change with its source when that is overwritten in place.
    """
    try:
        if target.exists():
            return
        with source.open(path) as stream:
            verified = Verified(stream, path, sha256)
            target.upload(verified) if isinstance(target, S3Path) else store_read_only(verified, target)
    except OSError as error:
        raise WatchkeeperError(f"file {path} cannot be copied into the raw zone: {error}") from None


def store_read_only(stream: Verified, target: Path) -> None:
    """Write a file of this machine, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as out:
            while chunk := stream.read(CHUNK):
                out.write(chunk)
        temporary.chmod(0o444)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
