"""What is at the source: every picture with its article's id, and which of them have no score yet.

Nothing is read here but the listing. A picture that was scored is told by its size and time, as `make` and
`rsync` do it; where these differ its content decides, so that a touched or copied file is no new one.
"""

import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow.fs as pafs

from flows.errors import WatchkeeperError
from flows.etl.inspect_file import Finding
from flows.etl.land import Arrival, Landing
from flows.etl.source_files import Source, hash_file
from flows.etl.sources import Entry, Sources

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class Mark:
    """What a score was made of and for; kept as an entry's version in the table's sources."""

    model_version: str
    bytes: int
    modified_ns: int
    article_id: str

    def __str__(self) -> str:
        return f"{self.model_version} {self.bytes} {self.modified_ns} {self.article_id}"

    @classmethod
    def parse(cls, text: str) -> "Mark":
        """Read what `str` wrote."""
        version, size, modified, article_id = text.split(" ", 3)
        return cls(version, int(size), int(modified), article_id)

    def means(self, other: "Mark") -> bool:
        """Whether both are the same model's answer for the same article."""
        return (self.model_version, self.article_id) == (other.model_version, other.article_id)


def images_of(source: Source) -> dict[str, pafs.FileInfo]:
    """The pictures at the source by their path below it.

    Raises:
        WatchkeeperError: it cannot be listed, or there is none.
    """
    found = {path: info for path, info in source.find().items() if path.lower().endswith(SUFFIXES)}
    if not found:
        raise WatchkeeperError(
            f"no picture ({', '.join(SUFFIXES)}) below {source.root}; give another --source"
        )
    return found


def article_ids(paths: Iterable[str]) -> dict[str, str]:
    """The id of each picture: its file's stem, or its whole path where another picture would have the same.

    It depends on which pictures there are, not on the order in which they came.
    """
    stems = {path: PurePosixPath(path).stem for path in paths}
    taken = Counter(stems.values()) + Counter(stems.keys())
    return {path: stem if taken[stem] == 1 else path for path, stem in stems.items()}


def land_images(source: Source, known: Sources, model_version: str, replay: bool = False) -> Landing:
    """The pictures to score, and how many are scored already.

    Args:
        source: where they are.
        known: what the table of scores holds.
        model_version: the champion's.
        replay: those too that were quarantined.

    Raises:
        WatchkeeperError: see `images_of`.
    """
    found = images_of(source)
    ids = article_ids(found.keys() | known.committed.keys())
    marks = {
        path: Mark(model_version, info.size, info.mtime_ns or 0, ids[path])
        for path, info in sorted(found.items())
    }
    scored = {path for path, mark in marks.items() if is_scored(known.committed.get(path), mark)}
    scored |= touched_only(source, known, {path: marks[path] for path in marks.keys() - scored})
    if replay:
        scored -= known.quarantined.keys()
    arrivals = [arrival(source, path, mark) for path, mark in marks.items() if path not in scored]
    return Landing(arrivals, skipped=len(scored))


def is_scored(entry: Entry | None, mark: Mark) -> bool:
    """Whether the table holds just this score."""
    return entry is not None and bool(entry.sha256) and entry.version == str(mark)


def touched_only(source: Source, known: Sources, marks: dict[str, Mark]) -> set[str]:
    """Pictures with another time whose content is that which was scored."""
    doubtful = [
        path
        for path, mark in marks.items()
        if (entry := known.committed.get(path)) and entry.sha256 and Mark.parse(entry.version).means(mark)
    ]

    def is_same(path: str) -> bool:
        try:
            return hash_file(source, path) == known.committed[path].sha256
        except WatchkeeperError:  # the job will meet it again, and say why
            return False

    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        return {path for path, same in zip(doubtful, pool.map(is_same, doubtful), strict=True) if same}


def arrival(source: Source, path: str, mark: Mark) -> Arrival:
    """A picture as a source file of one row; its sha256 is known when the job has read it.

    It stays where it is: a score can be made again from its source, so the raw zone needs no copy.
    """
    return Arrival(path, "", str(mark), mark.bytes, Path(source.root) / path, Finding(rows=1))
