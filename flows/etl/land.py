"""Land: what arrived at the source, kept under its sha256 in the raw zone, and what of it can be read.

A file is known by its path below the source and by its content. What the lake holds already is skipped;
a known path with new content is a correction. Nothing here changes the lake.
"""

import hashlib
import os
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from flows.console import OnProgress, no_progress
from flows.etl.contract import Contract
from flows.etl.inspect_file import Finding, inspect_index, inspect_table_file
from flows.etl.raw_zone import copy_to_raw, raw_path
from flows.etl.source_files import Source, hash_file, hash_picture
from flows.etl.sources import Sources
from flows.s3_path import AnyPath


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
