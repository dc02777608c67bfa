"""The maintenance flow: rewrite small files, expire old snapshots, remove what nothing refers to.

Run by `task maintain` and its deployment. Removes nothing that a reader may still need: a file goes only
when it is older than the set age and no version of the table that was current within that age names it.
"""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from prefect import flow, get_run_logger
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from flows.artifacts import create_table_artifact
from flows.config import Settings, load_settings
from flows.console import no_log
from flows.etl import steps
from flows.etl.contract import Contract
from flows.etl.engine import engine_of
from flows.etl.flow import step
from flows.etl.lake import Lake, OvertakenError, files_with
from flows.etl.land import Landing
from flows.etl.orphans import Manifests, old_files, old_folders, orphans
from flows.etl.plan import Plan
from flows.etl.runners.config import RunnerName
from flows.etl.runners.life import Engine
from flows.etl.schema import refuse_incompatible
from flows.etl.scores import kept
from flows.paths import mapped
from flows.s3_path import AnyPath, S3Path
from flows.watched import watched


@dataclass
class Upkeep:
    """What maintenance did to one table."""

    files_rewritten: int = 0
    files_written: int = 0
    snapshots_expired: int = 0
    files_removed: int = 0
    bytes_removed: int = 0
    notes: list[str] = field(default_factory=list)


@watched
@flow(name="maintain", persist_result=False)
def maintain(runner: RunnerName | None = None) -> dict[str, Upkeep]:
    """Keep every table that has a contract in good order, and the scores.

    Args:
        runner: where Spark runs; as the settings say unless said.
    """
    settings = load_settings()
    lake, engine = Lake(settings), engine_of(settings, runner)
    done: dict[str, Upkeep] = {}
    for contract in kept(settings, lake):
        if lake.table(contract.identifier) is not None:
            done[contract.identifier] = maintain_table(settings, contract, engine)
    remove_abandoned(settings)
    rows = [
        {"table": name, **upkeep.__dict__, "notes": "; ".join(upkeep.notes)} for name, upkeep in done.items()
    ]
    create_table_artifact(key="maintenance", table=rows, description="What maintenance did")
    return done


def maintain_table(settings: Settings, contract: Contract, engine: Engine) -> Upkeep:
    """The three steps on one table, each as a Prefect task."""
    upkeep, log = Upkeep(), get_run_logger()
    step("compact", contract, lambda _: compact(settings, contract, upkeep, engine, log.info))
    step("expire", contract, lambda _: expire(settings, contract, upkeep))
    step("sweep", contract, lambda _: sweep(settings, contract, upkeep))
    return upkeep


def compact(
    settings: Settings,
    contract: Contract,
    upkeep: Upkeep,
    engine: Engine,
    on_log: Callable[[str], None] = no_log,
) -> None:
    """Rewrite each cell of the layout that has more than one file, in one snapshot with the same rows."""
    base = Lake(settings).table(contract.identifier)
    small = crowded(files_with(base, AlwaysTrue()))
    if base is None or not small:
        return
    refuse_incompatible(contract, base)
    plan = Plan.of(settings, contract, base, Landing(), "compaction", flow_run=engine.run_id)
    plan.replaced.extend(small)
    try:
        staged = steps.run_spark(settings, plan, engine, on_log=on_log)
        steps.reach_verdict(settings, plan, staged)
        steps.commit(settings, plan, staged, engine.run_id)
    except OvertakenError as overtaken:
        upkeep.notes.append(f"left for the next time: {overtaken}")
        return
    finally:
        steps.discard(plan)
    upkeep.files_rewritten, upkeep.files_written = len(small), len(staged.files)


def crowded(files: list[DataFile]) -> list[DataFile]:
    """Files that share their cell of the layout with others."""
    cells: dict[str, list[DataFile]] = defaultdict(list)
    for file in files:
        cells[repr((file.spec_id, file.partition))].append(file)
    return [file for cell in cells.values() if len(cell) > 1 for file in cell]


def expire(settings: Settings, contract: Contract, upkeep: Upkeep) -> None:
    """Forget snapshots that were superseded before the retention; the current one always stays."""
    table = Lake(settings).table(contract.identifier)
    assert table is not None
    old = superseded_before(table, datetime.now(UTC) - timedelta(days=settings.snapshot_retention_days))
    if not old:
        return
    try:
        table.maintenance.expire_snapshots().by_ids(old).commit()
    except CommitFailedException:
        upkeep.notes.append("snapshots not expired: a run committed meanwhile")
        return
    upkeep.snapshots_expired = len(old)


def superseded_before(table: Table, moment: datetime) -> list[int]:
    """Snapshots whose successor is older than `moment`: nobody saw them as current since."""
    line = sorted(table.snapshots(), key=lambda snapshot: snapshot.timestamp_ms)
    limit = moment.timestamp() * 1000
    current = table.current_snapshot()
    return [old.snapshot_id for old, new in pairwise(line) if new.timestamp_ms < limit and old != current]


def sweep(settings: Settings, contract: Contract, upkeep: Upkeep) -> None:
    """Remove the table's orphans, and the folders that this leaves empty."""
    lake = Lake(settings)
    table = lake.table(contract.identifier)
    assert table is not None
    now = time.time()
    data = lake.folder(contract.identifier) / "data"
    folders = old_folders(data, now - settings.orphan_age_hours * 3600)
    removed = mapped(remove_file, orphans(settings, table, now, Manifests()))
    upkeep.files_removed += len(removed) - removed.count(None)
    upkeep.bytes_removed += sum(size or 0 for size in removed)
    remove_empty(folders)


def remove_file(path: AnyPath) -> int | None:
    """Remove a file; its size, or None where another maintenance was quicker."""
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return None
    return size


def remove_abandoned(settings: Settings) -> None:
    """Remove what killed runs left in staging and half copied."""
    cutoff = time.time() - settings.orphan_age_hours * 3600
    scratch = settings.home / "staging"  # of Spark on this machine, wherever the store is
    folders = old_folders(scratch, cutoff)
    mapped(remove_file, old_files(scratch, cutoff))
    mapped(remove_file, [*old_files(settings.staging, cutoff), *half_copies(settings, cutoff)])
    remove_empty(folders)


def half_copies(settings: Settings, cutoff: float) -> list[AnyPath]:
    """What killed runs left in the raw zone; in a bucket these are uploads of which nothing can be seen."""
    if isinstance(settings.shared, S3Path):
        settings.shared.end_uploads(cutoff)
        return []
    return [path for path in old_files(settings.raw, cutoff) if path.suffix == ".tmp"]


def remove_empty(folders: list[Path]) -> None:
    """Remove those that hold nothing; a younger one may be a run's that is about to write into it."""
    for path in folders:
        with contextlib.suppress(OSError):
            path.rmdir()
