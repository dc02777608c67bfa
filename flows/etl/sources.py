"""What a table holds: each source file that is committed in a snapshot, and the files that were refused.

Kept beside the table under its sha256 and named by the snapshot's `watchkeeper.sources` property, so that
it changes in the same atomic step as the data.
"""

import hashlib
from collections.abc import Set

from pydantic import BaseModel, ConfigDict

from flows.paths import write_whole
from flows.s3_path import AnyPath

PROPERTY = "watchkeeper.sources"


class Entry(BaseModel):
    """One source file: its content, and for an image index the pictures that it came with."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    version: str
    reason: str | None = None
    pictures: tuple[tuple[str, str | None], ...] = ()


class Sources(BaseModel):
    """The source files of one snapshot, by path below the source folder."""

    model_config = ConfigDict(frozen=True)

    committed: dict[str, Entry] = {}
    rejected: dict[str, Entry] = {}
    quarantined: dict[str, str] = {}
    """Source path to the quarantine file (its run's name) that holds its bad rows."""

    def after(self, change: "Sources", gone: Set[str] = frozenset()) -> "Sources":
        """These sources once `change` is committed: its entries replace those of the same path.

        Paths that are `gone` hold nothing any more.
        """
        held = {path: entry for path, entry in self.committed.items() if path not in gone}
        done = change.committed.keys() | gone
        # A rebuild of what a path held already does not take back that its correction was refused.
        same = {path for path, entry in change.committed.items() if entry == held.get(path)}
        rejected = {path: entry for path, entry in self.rejected.items() if path not in done - same}
        quarantined = {path: run for path, run in self.quarantined.items() if path not in done}
        return Sources(
            committed=held | change.committed,
            rejected=rejected | change.rejected,
            quarantined=quarantined | change.quarantined,
        )

    def store(self, folder: AnyPath) -> str:
        """Write under its sha256, whole or not at all; returns that sha256."""
        text = self.model_dump_json(exclude_none=True).encode()
        digest = hashlib.sha256(text).hexdigest()
        write_whole(folder / f"{digest}.json", text)
        return digest

    @classmethod
    def load(cls, folder: AnyPath, digest: str | None) -> "Sources":
        """The sources of a snapshot; none for a table without one."""
        if digest is None:
            return cls()
        return cls.model_validate_json((folder / f"{digest}.json").read_text(encoding="utf-8"))
