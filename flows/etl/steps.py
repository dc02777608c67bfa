"""The steps of a table's run after its plan: Spark, verdict, commit. Plain functions, without Prefect."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pyarrow as pa
from pyiceberg.table import Table

from flows.config import CHECKOUT, Settings
from flows.console import OnProgress, no_log, no_progress
from flows.errors import WatchkeeperError
from flows.etl import quarantine
from flows.etl.lake import Change, Lake, OvertakenError
from flows.etl.plan import Plan, job_of
from flows.etl.quality import Facts, Verdict, judge
from flows.etl.runners.life import Engine
from flows.etl.sources import Entry, Sources
from flows.etl.staged import count_copies, count_kept, count_rows, lake_files, quarantine_files
from flows.paths import read_footer, remove_folder, total
from flows.s3_path import AnyPath

PREFIX = "watchkeeper."


@dataclass
class TableResult:
    """What became of a table in one run; the counts are this run's own."""

    outcome: str
    rows_in: int = 0
    rows_committed: int = 0
    rows_quarantined: int = 0
    rows_duplicate: int = 0
    quarantined_by_rule: dict[str, int] = field(default_factory=dict)
    source_files: int = 0
    files_quarantined: int = 0
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    snapshot_id: int | None = None


@dataclass(frozen=True)
class Staged:
    """Spark's output, counted."""

    files: list[AnyPath]
    facts: Facts
    bad_rows: pa.Table


Describe = Callable[[Settings, Plan], dict[str, Any]]
"""Puts a plan into the words of its Spark job."""


def write_job(settings: Settings, plan: Plan, describe: Describe = job_of) -> AnyPath:
    """Write the job's arguments and the manifest of its files; returns the job's path."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    (plan.folder / "manifest.json").write_text(manifest(plan), encoding="utf-8")
    job = plan.folder / "job.json"
    job.write_text(json.dumps(describe(settings, plan)), encoding="utf-8")
    return job


def manifest(plan: Plan) -> str:
    """Every file of the run with its content and its fate, as JSON."""
    return json.dumps(
        [
            {"path": a.path, "sha256": a.sha256, "bytes": a.bytes, "rejected": a.finding.reason}
            for a in plan.landing.arrivals
        ],
        indent=1,
    )


def run_spark(
    settings: Settings,
    plan: Plan,
    engine: Engine,
    on_progress: OnProgress = no_progress,
    on_log: Callable[[str], None] = no_log,
    describe: Describe = job_of,
    program: str = "etl",
) -> Staged:
    """Run the job, and count its files beside what land read."""
    job = write_job(settings, plan, describe)
    engine.run(program, job, f"{plan.contract.identifier} {plan.kind}", on_progress, on_log)
    files, bad_files = lake_files(plan.output), quarantine_files(plan.output)
    bad_rows = quarantine.collect(bad_files, plan.landing.readable, plan.contract)
    facts = Facts(
        files_in=len(plan.landing.readable),
        rows_in=sum(arrival.finding.rows for arrival in plan.landing.readable),
        rows_duplicate=count_copies(files + bad_files),
        rows_kept=count_kept(plan.replaced, plan.replaced_sources),
        rows_written=count_rows(files),
        quarantined_by_rule=quarantine.count_by_rule(bad_rows),
    )
    return Staged(files, facts, bad_rows)


def reach_verdict(settings: Settings, plan: Plan, staged: Staged) -> Verdict:
    """Judge the run and keep its bad rows, whatever the verdict.

    Raises:
        WatchkeeperError: the run fails; the table is as it was, and the text says what to do.
    """
    contract = plan.contract
    quarantine.store(staged.bad_rows, settings.quarantine / contract.dataset / contract.table, plan.run)
    now = datetime.now(UTC).replace(tzinfo=None)
    verdict = judge(
        staged.facts, contract.table_rules, history(plan.base), newest_event(plan, staged.files), now
    )
    if verdict.outcome == "fail":
        discard(plan, data=True)
        raise WatchkeeperError(
            f"{contract.identifier} was not committed: {'; '.join(verdict.reasons)}. The table is as it was. "
            f"See the rows with `task quarantine -- --dataset {contract.dataset} --table {contract.table} "
            f"--run {plan.run}`, then mend the files or the contract and run again."
        )
    return verdict


def history(table: Table | None) -> list[float]:
    """Rows a file of the earlier runs that still have a snapshot."""
    if table is None:
        return []
    found = [snapshot.summary for snapshot in table.snapshots() if snapshot.summary]
    counts = [(float(s[PREFIX + "rows-in"] or 0), float(s[PREFIX + "files-in"] or 0)) for s in found]
    return [rows / files for rows, files in counts if files]


def newest_event(plan: Plan, files: list[AnyPath]) -> datetime | None:
    """The newest event time of the table with these files, from the footers and the last snapshot."""
    column = plan.contract.event_time
    if column is None:
        return None
    newest = [event_bound(file, column) for file in files]
    snapshot = plan.base.current_snapshot() if plan.base else None
    if snapshot and snapshot.summary and (before := snapshot.summary[PREFIX + "newest-event"]):
        newest.append(datetime.fromisoformat(before))
    return max((moment for moment in newest if moment), default=None)


def event_bound(file: AnyPath, column: str) -> datetime | None:
    """Largest value of a time column by a Parquet file's statistics, as naive UTC."""
    metadata = read_footer(file)
    index = metadata.schema.names.index(column)
    groups = (
        metadata.row_group(number).column(index).statistics for number in range(metadata.num_row_groups)
    )
    bounds = [stats.max for stats in groups if stats and stats.has_min_max]
    moments = [b if isinstance(b, datetime) else datetime.combine(b, datetime.min.time()) for b in bounds]
    return max((m.astimezone(UTC).replace(tzinfo=None) if m.tzinfo else m for m in moments), default=None)


def commit(settings: Settings, plan: Plan, staged: Staged, flow_run_id: str) -> TableResult:
    """Commit the staged files in one snapshot.

    Raises:
        OvertakenError: another run concerned the same files; plan again.
    """
    facts, contract = staged.facts, plan.contract
    change = Change(
        files=staged.files,
        sources=sources_of(plan, staged),
        gone=frozenset(a.path for a in plan.landing.arrivals if a.copy),
        replaced=plan.replaced,
        properties=properties_of(plan, staged, flow_run_id),
        exclusive=any(rule.unique for rule in contract.row_rules()),
    )
    try:
        table = Lake(settings).commit(contract, plan.base, change)
    except OvertakenError:
        discard(plan, data=True)  # only here is it certain that no snapshot names the files
        raise
    snapshot = table.current_snapshot()
    return TableResult(
        outcome="committed",
        rows_in=facts.rows_in,
        rows_committed=facts.rows_committed,
        rows_quarantined=facts.rows_quarantined,
        rows_duplicate=facts.rows_duplicate,
        quarantined_by_rule=facts.quarantined_by_rule,
        source_files=len(plan.landing.readable),
        files_quarantined=len(plan.landing.rejected),
        files=len(staged.files),
        bytes=total(staged.files),
        snapshot_id=snapshot.snapshot_id if snapshot else None,
    )


def discard(plan: Plan, *, data: bool = False) -> None:
    """Remove what a run leaves in staging; with `data`, also what it wrote for the lake."""
    remove_folder(plan.folder)
    remove_folder(plan.output if data else plan.output / "_sink=1")


def sources_of(plan: Plan, staged: Staged) -> Sources:
    """The source files that this run commits or refuses."""
    bad = set(staged.bad_rows["source_file"].to_pylist())
    entries = {
        a.path: Entry(
            sha256=a.sha256,
            version=a.version,
            reason=a.finding.reason,
            pictures=a.pictures,
        )
        for a in plan.landing.arrivals
    }
    copies = {a.path for a in plan.landing.arrivals if a.copy}
    return Sources(
        committed={path: entry for path, entry in entries.items() if not entry.reason and path not in copies},
        rejected={path: entry for path, entry in entries.items() if entry.reason},
        quarantined=dict.fromkeys(sorted(bad), plan.run),
    )


def properties_of(plan: Plan, staged: Staged, flow_run_id: str) -> dict[str, str]:
    """What the snapshot remembers of the run."""
    facts = staged.facts
    newest = newest_event(plan, staged.files)
    facts_by_name: dict[str, Any] = {
        "kind": plan.kind,
        "run": plan.run,
        "flow-run-id": flow_run_id,
        "manifest-sha256": hashlib.sha256(manifest(plan).encode()).hexdigest(),
        "git-revision": git_revision(),
        "files-in": facts.files_in,
        "rows-in": facts.rows_in,
        "rows-committed": facts.rows_committed,
        "rows-quarantined": facts.rows_quarantined,
        "rows-duplicate": facts.rows_duplicate,
        "quarantined-by-rule": json.dumps(facts.quarantined_by_rule, sort_keys=True),
        "newest-event": newest.isoformat() if newest else None,
    }
    return {PREFIX + name: str(value) for name, value in facts_by_name.items() if value is not None}


@cache
def git_revision() -> str:
    """The code's revision, `-dirty` where the checkout differs from it; `unknown` outside git."""
    command = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
