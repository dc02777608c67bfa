"""What the exporter says of tables and of what waits for them: read from the lake and the landing zone."""

import contextlib
import fnmatch
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

from pyarrow.fs import FileInfo
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from flows.config import Settings
from flows.etl.contract import Contract
from flows.etl.datasets import datasets, load_all, load_dataset
from flows.etl.lake import Lake
from flows.etl.orphans import Manifests, orphans
from flows.etl.quarantine import count_by_rule, read_open
from flows.etl.scores import kept
from flows.etl.source_files import Source, open_source
from flows.etl.sources import PROPERTY, Sources
from flows.etl.steps import PREFIX
from flows.etl.waiting import Waiting
from flows.s3_path import AnyPath
from observability.exporter import Sample
from observability.metrics import (
    COMMIT_ROWS,
    LANDING_FILES,
    LANDING_TIME,
    ORPHAN_BYTES,
    ORPHAN_FILES,
    QUARANTINED_ROWS,
    TABLE_BYTES,
    TABLE_EVENT_TIME,
    TABLE_FILES,
    TABLE_MAX_AGE,
    TABLE_ROWS,
    TABLE_TIME,
)

SIZES = {
    TABLE_ROWS: "total-records",
    TABLE_FILES: "total-data-files",
    TABLE_BYTES: "total-files-size",
}


def tables(settings: Settings, lake: Lake) -> Iterator[Sample]:
    """Of each table of the lake its size, and what its newest data was like."""
    for identifier in lake.tables():
        if table := lake.table(identifier):
            yield from of_table(settings, table)


def of_table(settings: Settings, table: Table) -> Iterator[Sample]:
    """One table; compaction and work done again are no news of its data."""
    dataset, name = table.name()
    label = {"dataset": dataset, "table": name}
    now = table.current_snapshot()
    for metric, key in SIZES.items():
        yield metric, label, float((now.summary[key] if now and now.summary else None) or 0)
    if now and now.summary and (newest := now.summary[PREFIX + "newest-event"]):
        yield TABLE_EVENT_TIME, label, datetime.fromisoformat(newest).replace(tzinfo=UTC).timestamp()
    data = [s for s in table.snapshots() if s.summary and s.summary[PREFIX + "kind"] == "etl"]
    if data and now:
        newest_data = max(data, key=lambda snapshot: snapshot.timestamp_ms)
        yield from of_commit(label, newest_data, left_of(settings, label, newest_data, now))


def of_commit(label: dict[str, str], snapshot: Snapshot, bad: dict[str, int]) -> Iterator[Sample]:
    """The newest commit of new data, and by rule what is left of its bad rows."""
    said = snapshot.summary
    assert said  # who gives it has looked
    yield TABLE_TIME, label, snapshot.timestamp_ms / 1000
    for outcome in ("committed", "duplicate"):
        yield COMMIT_ROWS, {**label, "outcome": outcome}, float(said[f"{PREFIX}rows-{outcome}"] or 0)
    yield COMMIT_ROWS, {**label, "outcome": "quarantined"}, sum(bad.values())
    for rule, rows in bad.items():
        yield QUARANTINED_ROWS, {**label, "rule": rule}, rows


def left_of(settings: Settings, label: dict[str, str], commit: Snapshot, now: Snapshot) -> dict[str, int]:
    """By rule the rows of a commit that are in quarantine now: a replay may have taken them out."""
    then, since = commit.summary, now.summary
    assert then
    assert since
    if then[PROPERTY] == since[PROPERTY]:
        return dict(json.loads(then[PREFIX + "quarantined-by-rule"] or "{}"))
    place = label["dataset"], label["table"]
    names = str(then[PREFIX + "run"]), str(then[PROPERTY]), str(since[PROPERTY])
    sources = settings.lake.joinpath(*place, "sources")
    return dict(still_bad(sources, settings.quarantine.joinpath(*place), *names))


@lru_cache(maxsize=1024)
def still_bad(sources: AnyPath, bad_rows: AnyPath, run: str, then: str, now: str) -> dict[str, int]:
    """By rule the rows that the sources `now` have in quarantine, of the files that had some of `run` `then`.

    None of the files that this reads ever changes.
    """
    brought = {path for path, by in Sources.load(sources, then).quarantined.items() if by == run}
    held = Sources.load(sources, now).quarantined
    left = {path: by for path, by in held.items() if path in brought}
    return count_by_rule(read_open(bad_rows, Sources(quarantined=left)))


class Orphans:
    """What maintenance should have removed: folders are listed each time, manifests read once."""

    def __init__(self, settings: Settings, lake: Lake) -> None:
        self._settings, self._lake = settings, lake
        self._manifests: dict[str, Manifests] = defaultdict(Manifests)

    def collect(self) -> Iterator[Sample]:
        """Of each table that maintenance keeps those orphans that were orphans so long ago."""
        then = time.time() - self._settings.orphan_overdue_hours * 3600
        for contract in kept(self._settings, self._lake):
            if table := self._lake.table(contract.identifier):
                found = orphans(self._settings, table, then, self._manifests[contract.identifier])
                label = {"dataset": contract.dataset, "table": contract.table}
                yield ORPHAN_FILES, label, len(found)
                yield ORPHAN_BYTES, label, sum(map(size_of, found))


def size_of(path: AnyPath) -> int:
    """Bytes of a file; none where it is gone meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return path.lstat().st_size
    return 0


def contracts(settings: Settings) -> Iterator[Sample]:
    """How old a table may be, where its contract says so."""
    for contract in load_all(settings.contracts):
        if contract.table_rules.max_age_days is not None:
            label = {"dataset": contract.dataset, "table": contract.table}
            yield TABLE_MAX_AGE, label, contract.table_rules.max_age_days * 86_400


class LandingZones:
    """Files that wait; what was read of one to know that it does not is remembered."""

    def __init__(self, settings: Settings, lake: Lake) -> None:
        self._settings, self._lake = settings, lake
        self._waiting: dict[str, tuple[Contract, Waiting]] = {}

    def collect(self) -> Iterator[Sample]:
        """Of each table whose data set has a landing zone the files in it that the table lacks."""
        for dataset in datasets(self._settings.contracts):
            if (self._settings.landing / dataset).is_dir():
                source = open_source(str(self._settings.landing / dataset))
                found = source.find()
                for contract in load_dataset(self._settings.contracts, dataset):
                    yield from self._of_table(contract, source, found)

    def _of_table(self, contract: Contract, source: Source, found: dict[str, FileInfo]) -> Iterator[Sample]:
        """One table's, of the files that were found for its data set."""
        label = {"dataset": contract.dataset, "table": contract.table}
        known = self._lake.sources(self._lake.table(contract.identifier))
        pattern = contract.source.pattern
        own = {name: file for name, file in found.items() if fnmatch.fnmatch(name, pattern)}
        waiting = self._judge(contract).among(source, own, known)
        yield LANDING_FILES, label, len(waiting)
        if waiting:
            yield LANDING_TIME, label, min(file.mtime.timestamp() for file in waiting)

    def _judge(self, contract: Contract) -> Waiting:
        """Who knows the table's files; begins anew where its contract has changed."""
        held = self._waiting.get(contract.identifier)
        if held is None or held[0] != contract:
            held = self._waiting[contract.identifier] = contract, Waiting(self._settings, contract)
        return held[1]
