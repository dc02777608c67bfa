"""The profiles of a table's data files: made once a file by Spark, kept beside it, read for any window.

A file that has none yet, or one that cannot be read or does not count the file's rows, is profiled (again).
"""

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from flows.config import Settings
from flows.console import OnProgress, no_log, no_progress
from flows.errors import WatchkeeperError
from flows.etl.contract import Contract
from flows.etl.plan import by_schema
from flows.etl.runners.base import digest
from flows.etl.runners.life import Engine
from flows.etl.staged import parquet_below, plain_path, profile_path
from flows.paths import path_of, read_rows, remove_folder, write_whole
from flows.s3_path import AnyPath
from observability.drift.profiles import Cells, Kind, Scale, joined
from services.bento.store import LocalStore

DAY = 86_400
NUMBERS = ("int", "long", "double", "decimal")
SCHEMA = pa.schema(
    [
        ("period", pa.int64()),
        ("segment", pa.string()),
        ("column", pa.string()),
        ("bin", pa.int64()),
        ("category", pa.string()),
        ("count", pa.int64()),
        ("total", pa.float64()),
        ("squares", pa.float64()),
        ("layout", pa.string()),
    ]
)


@dataclass(frozen=True)
class Profiled:
    """The cells of data files, a row a cell of one file.

    Attributes:
        cells: with `period`; a table without event time has the day of the file's commit.
        segment: the values of the contract's `watch.by`, joined by the unit separator.
        file: which data file, by its path.
        live: whether that file is of the current snapshot.
    """

    cells: Cells
    segment: np.ndarray
    file: np.ndarray
    live: np.ndarray

    def where(self, chosen: np.ndarray) -> Cells:
        """Some of the cells."""
        names = Cells.__dataclass_fields__
        return Cells(**{name: getattr(self.cells, name)[chosen] for name in names})

    def at(self, chosen: np.ndarray) -> "Profiled":
        """Some of the cells, with all that is known of them."""
        rest = (self.segment[chosen], self.file[chosen], self.live[chosen])
        return Profiled(self.where(chosen), *rest)


def profiled(tables: dict[str, pa.Table], live: set[str], added: dict[str, int] | None) -> Profiled:
    """The cells of profiles.

    Args:
        tables: the profiles by the paths of their data files.
        live: paths of the files that the current snapshot has.
        added: the start of the day on which each was committed, where that is the period of its rows.
    """
    parts, segments, paths = [], [], []
    for path, table in tables.items():
        columns = {name: table[name].to_numpy(zero_copy_only=False) for name in Cells.__dataclass_fields__}
        if added is not None:
            columns["period"] = np.full(len(table), added[path], np.int64)
        parts.append(Cells(**columns))
        segments.append(table["segment"].to_numpy(zero_copy_only=False))
        paths.append(np.full(len(table), path, object))
    file = np.concatenate(paths)
    return Profiled(joined(parts), np.concatenate(segments), file, np.isin(file, list(live)))


def kinds_of(contract: Contract) -> dict[str, Kind]:
    """The watched columns, and what can be said of their values."""
    return {
        name: "numeric" if column.type.startswith(NUMBERS) else "categorical"
        for name, column in contract.columns.items()
        if column.drift
    }


def watched(contract: Contract) -> dict[str, list[str]]:
    """By the name that is reported, the columns that are watched together under it."""
    groups: dict[str, list[str]] = {}
    for name, column in contract.columns.items():
        if column.drift:
            groups.setdefault(name if column.drift is True else column.drift, []).append(name)
    return groups


class Summaries:
    """The profiles of one table.

    Args:
        settings: for the scales, which are fixed once a table, and for staging.
        contract: of the table.
    """

    def __init__(self, settings: Settings, contract: Contract) -> None:
        self._settings, self._contract = settings, contract
        self._kinds = kinds_of(contract)
        if not self._kinds:
            raise WatchkeeperError(
                f"{contract.identifier}: no column is marked for drift; add `drift: true` in its contract"
            )
        self._store = LocalStore(settings.drift / "scales")
        # What a profile must have been counted by to add up with others; of numbers also where the bins lie.
        self._layout: list[object] = [contract.watch.period, contract.event_time, *contract.watch.by]

    @property
    def scales(self) -> dict[str, Scale]:
        """Where the bins of the numeric columns lie that have been profiled."""
        prefix = f"{self._contract.identifier}/"
        held = {
            key.removeprefix(prefix): self._store.read(key) for key in self._store.list(prefix.rstrip("/"))
        }
        return {name: Scale(*json.loads(numbers)) for name, numbers in held.items() if name in self._kinds}

    def load(
        self,
        files: list[DataFile],
        engine: Engine,
        on_progress: OnProgress = no_progress,
        on_log: Callable[[str], None] = no_log,
    ) -> dict[str, pa.Table]:
        """The profile of each data file by its path, made where there is none that can be trusted.

        Raises:
            WatchkeeperError: the job failed, or what it made is damaged again.
        """
        held = self._read_all(files)
        if new := [file for file in files if plain_path(file.file_path) not in held]:
            self._make(new, engine, on_progress, on_log)
            held |= self._read_all(new)
        if gone := [file for file in new if plain_path(file.file_path) not in held]:
            raise WatchkeeperError(f"{profile_path(gone[0].file_path)} was damaged meanwhile; run again")
        return held

    def _read_all(self, files: list[DataFile]) -> dict[str, pa.Table]:
        """Those profiles that can be read and count every row of their files."""
        with ThreadPoolExecutor(8) as pool:
            tables = pool.map(partial(self._read, self.scales), files)
            found = zip(files, tables, strict=True)
            return {plain_path(file.file_path): table for file, table in found if table is not None}

    def _make(
        self, files: list[DataFile], engine: Engine, on_progress: OnProgress, on_log: Callable[[str], None]
    ) -> None:
        """Profile data files, and keep each profile beside its file."""
        # The same for the same files in a flow run that is run again, so that it finds its job.
        run = uuid.uuid4().hex if engine.run_id == "none" else engine.run_id
        folder = self._settings.staging / "drift" / digest(run, *(file.file_path for file in files))[:12]
        folder.mkdir(parents=True, exist_ok=True)
        try:
            job = folder / "job.json"
            job.write_text(json.dumps(self._job(files, folder)), encoding="utf-8")
            engine.run("profile", job, f"{self._contract.identifier} profile", on_progress, on_log)
            done = json.loads((folder / "_summary.json").read_text())
            for name, numbers in done["scales"].items():
                self._store.create(f"{self._contract.identifier}/{name}", json.dumps(numbers).encode())
            if {name: Scale(*numbers) for name, numbers in done["scales"].items()} != self.scales:
                self._make(files, engine, on_progress, on_log)  # another run fixed a scale meanwhile
                return
            for cells, data in done["files"].items():
                (written,) = parquet_below(path_of(cells))
                write_whole(profile_path(data), written.read_bytes())
        finally:
            remove_folder(folder)

    def _job(self, files: list[DataFile], folder: AnyPath) -> dict[str, object]:
        columns = [{"name": name, "numeric": kind == "numeric"} for name, kind in self._kinds.items()]
        return {
            "groups": [{"files": group} for group in by_schema(files)],
            "columns": columns,
            "time": self._contract.event_time,
            "period": self._contract.watch.period,
            "by": self._contract.watch.by,
            "layout": self._layout,
            "scales": {name: [scale.centre, scale.spread] for name, scale in self.scales.items()},
            "output": str(folder / "cells"),
            "summary": str(folder / "_summary.json"),
        }

    def _read(self, scales: dict[str, Scale], file: DataFile) -> pa.Table | None:
        """A file's profile; None where there is none that counts each row once a column, in these bins."""
        path = profile_path(file.file_path)
        try:
            table = read_rows(path).select(SCHEMA.names).cast(SCHEMA)
        except (OSError, pa.ArrowException, KeyError):
            return None
        rows = table.group_by(["column", "layout"]).aggregate([("count", "sum")]).to_pylist()
        counted = {(row["column"], row["layout"]): row["count_sum"] for row in rows}
        for name, kind in self._kinds.items():
            scale = scales.get(name)
            bins = [scale.centre, scale.spread] if scale and kind == "numeric" else []
            if counted.get((name, json.dumps(self._layout + bins))) != file.record_count:
                return None
        return table


def files_at(table: Table, snapshot: int | None = None) -> list[DataFile]:
    """The data files of a snapshot, the current one unless said.

    Raises:
        WatchkeeperError: no such snapshot.
    """
    if snapshot is not None and table.snapshot_by_id(snapshot) is None:
        known = ", ".join(str(s.snapshot_id) for s in table.snapshots()[-5:])
        raise WatchkeeperError(f"{'.'.join(table.name())} has no snapshot {snapshot}; the newest are {known}")
    return [task.file for task in table.scan(snapshot_id=snapshot).plan_files()]


def days_added(table: Table, snapshots: set[int | None]) -> dict[str, int]:
    """When each data file of these snapshots was committed: the start of that day, in seconds since 1970.

    Files whose snapshot has expired are older than all others; what maintenance rewrites is as young as that.
    """
    when = {snapshot.snapshot_id: snapshot.timestamp_ms // 1000 for snapshot in table.snapshots()}
    before = min(when.values(), default=DAY) - DAY
    found = {}
    for number in snapshots:
        snapshot = table.snapshot_by_id(number) if number else table.current_snapshot()
        for manifest in snapshot.manifests(table.io) if snapshot else []:
            for entry in manifest.fetch_manifest_entry(table.io):
                moment = when.get(entry.snapshot_id or 0, before)
                found[plain_path(entry.data_file.file_path)] = moment // DAY * DAY
    return found
