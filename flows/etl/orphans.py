"""Orphans: old files below a table that no recent version names; maintenance removes them, the watch counts.

A file is one when it is older than the set age and no version of the table that was current within that age
names it; bad rows are kept for as long as snapshots are, at the least.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import StaticTable, Table

from flows.config import Settings
from flows.etl.lake import Lake
from flows.etl.sources import PROPERTY, Sources
from flows.etl.staged import profile_path
from flows.paths import files_below, path_of
from flows.s3_path import AnyPath


class Manifests:
    """Which files the manifests of one table name; none ever changes, so each is read once."""

    def __init__(self) -> None:
        self._lists: dict[str, list[ManifestFile]] = {}
        self._files: dict[str, frozenset[AnyPath]] = {}

    def named_by(self, versions: Iterable[Table], folder: AnyPath) -> set[AnyPath]:
        """Every file that one of these versions of a table refers to, themselves included."""
        names: set[AnyPath] = set()
        lists: dict[str, list[ManifestFile]] = {}
        files: dict[str, frozenset[AnyPath]] = {}
        for version in versions:
            names.add(path_of(version.metadata_location))
            for snapshot in version.snapshots():
                place = snapshot.manifest_list
                names.add(path_of(place))
                if snapshot.summary:
                    names.add(folder / "sources" / f"{snapshot.summary[PROPERTY]}.json")
                if place not in lists:
                    lists[place] = self._lists.get(place) or snapshot.manifests(version.io)
                for manifest in lists[place]:
                    path = manifest.manifest_path
                    files[path] = files.get(path) or self._files.get(path) or named_in(manifest, version.io)
        self._lists, self._files = lists, files
        return names.union(*files.values())


def named_in(manifest: ManifestFile, io: FileIO) -> frozenset[AnyPath]:
    """A manifest, its data files, and their profiles."""
    entries = manifest.fetch_manifest_entry(io)
    files = [path_of(entry.data_file.file_path) for entry in entries]
    return frozenset([path_of(manifest.manifest_path), *files, *map(profile_path, files)])


def orphans(settings: Settings, table: Table, now: float, manifests: Manifests) -> list[AnyPath]:
    """Files of the table's folders that were orphans at `now`, in seconds since the epoch.

    A file costs one look. What only earlier versions name is read where something is left without it.
    """
    dataset, name = table.name()
    folder, bad_rows = Lake(settings).folder(f"{dataset}.{name}"), settings.quarantine / dataset / name
    cutoff = now - settings.orphan_age_hours * 3600
    expired = now - settings.snapshot_retention_days * 86400
    old = {*old_files(folder, cutoff), *old_files(bad_rows, min(cutoff, expired))}
    left = old - manifests.named_by([table], folder) if old else old
    if not left:
        return []
    named = manifests.named_by([table, *earlier_versions(table, cutoff)], folder)
    if any(str(path).startswith(f"{bad_rows}/") for path in left):
        runs = {run for path in named if path.parent.name == "sources" for run in quarantine_runs(path)}
        named |= {bad_rows / f"{run}.parquet" for run in runs}
    return sorted(left - named, key=str)


def earlier_versions(table: Table, cutoff: float) -> Iterator[Table]:
    """Each earlier version that a reader may have opened since `cutoff`."""
    log = table.metadata.metadata_log
    changes = [*(entry.timestamp_ms for entry in log), table.metadata.last_updated_ms]
    for entry, (_, end) in zip(log, pairwise(changes), strict=True):
        if end >= cutoff * 1000 and path_of(entry.metadata_file).exists():
            yield StaticTable.from_metadata(entry.metadata_file, table.io.properties)


def quarantine_runs(sources: AnyPath) -> set[str]:
    """The quarantine files that a snapshot's sources refer to."""
    return set(Sources.load(sources.parent, sources.stem).quarantined.values()) if sources.exists() else set()


def old_files(folder: AnyPath, cutoff: float) -> list[AnyPath]:
    """Files that have not been touched since `cutoff`; runs may work in the folder meanwhile."""
    return [path for path in files_below(folder) if touched_before(path, cutoff)]


def old_folders(folder: AnyPath, cutoff: float) -> list[Path]:
    """Folders below `folder`, the deepest first, that have not changed since `cutoff`; a bucket has none."""
    if not isinstance(folder, Path):
        return []
    paths = (Path(base, name) for base, names, _ in os.walk(folder, topdown=False) for name in names)
    return [path for path in paths if touched_before(path, cutoff)]


def touched_before(path: AnyPath, moment: float) -> bool:
    """Whether it is older; what is gone meanwhile is not."""
    try:
        return path.lstat().st_mtime < moment
    except FileNotFoundError:
        return False
