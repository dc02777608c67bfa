"""Which files of a landing zone wait for a run: those of which the next one would change the table.

Told without reading what waits: a file of another size than all that the table holds is no copy. Of the
others, and of small ones that may hold no row, each is read once.
"""

from collections.abc import Iterable
from pathlib import Path

from pyarrow.fs import FileInfo

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl.contract import Contract
from flows.etl.inspect_file import inspect_table_file
from flows.etl.raw_zone import raw_path
from flows.etl.source_files import Source, hash_file
from flows.etl.sources import Entry, Sources

SMALL = 1 << 16
"""Bytes; a file without rows is a header, and smaller."""
Key = tuple[str, int, int]
"""Path, bytes, and when it was changed: as long as these stay, its content does."""


class Waiting:
    """What is known of the files of one table's landing zone."""

    def __init__(self, settings: Settings, contract: Contract) -> None:
        self._raw, self._contract = settings.raw, contract
        self._sizes: dict[str, int | None] = {}
        self._read: dict[Key, str | None] = {}

    def among(self, source: Source, found: dict[str, FileInfo], known: Sources) -> list[FileInfo]:
        """Those of the files that were found that neither the table holds, nor a copy's content, nor no row.

        A correction is seen by its size: one as long as what it replaces is taken by the next run unseen.
        """
        entries = [*known.committed.items(), *known.rejected.items()]
        same = {path for path, entry in entries if path not in found or self._fits(path, entry, found[path])}
        left = [file for path, file in found.items() if path not in same]
        held = [(path, entry) for path, entry in entries if path in same]
        self._read = {key: self._read[key] for key in map(key_of, left) if key in self._read}
        return [file for file in left if not self._is_nothing_new(source, file, held)]

    def _fits(self, path: str, entry: Entry, file: FileInfo) -> bool:
        """Whether a file may be what the table holds of its path."""
        return self._size(path, entry) in (file.size, None)

    def _size(self, path: str, entry: Entry) -> int | None:
        """Bytes of a content; None where the raw zone does not have it."""
        if entry.sha256 not in self._sizes:
            raw = raw_path(self._raw, entry.sha256, path)
            self._sizes[entry.sha256] = raw.stat().st_size if raw.exists() else None
        return self._sizes[entry.sha256]

    def _is_nothing_new(self, source: Source, file: FileInfo, held: Iterable[tuple[str, Entry]]) -> bool:
        """Whether a run would have nothing to do with it."""
        alike = {entry.sha256 for path, entry in held if self._fits(path, entry, file)}
        if file.size > SMALL and not alike:
            return False
        key = key_of(file)
        if key not in self._read:
            self._read[key] = self._digest(source, file)
        return self._read[key] is None or self._read[key] in alike

    def _digest(self, source: Source, file: FileInfo) -> str | None:
        """Of its content; None for one without a row, nothing for one that cannot be read."""
        try:
            digest = hash_file(source, file.path.removeprefix(f"{source.root}/"))
        except WatchkeeperError:
            return ""
        small = file.size <= SMALL
        return None if small and self._has_no_row(file) else digest

    def _has_no_row(self, file: FileInfo) -> bool:
        """Whether it is whole, and only a header or nothing."""
        finding = inspect_table_file(Path(file.path), self._contract)
        return finding.empty and not finding.reason


def key_of(file: FileInfo) -> Key:
    """Of a file as it is now."""
    return file.path, file.size, file.mtime_ns
