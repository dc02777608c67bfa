"""What a run has to do with a table: the files to process, and the data files that they replace."""

import hashlib
import json
import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pyiceberg.expressions import AlwaysTrue
from pyiceberg.expressions.parser import parse
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from flows.config import Settings
from flows.console import OnProgress, no_progress
from flows.errors import WatchkeeperError
from flows.etl.contract import SOURCE_COLUMN, Contract
from flows.etl.job import SPARK_TYPES, describe
from flows.etl.lake import Lake, files_of_sources, files_with
from flows.etl.land import Landing, arrive, land
from flows.etl.raw_zone import raw_path
from flows.etl.schema import field_ids, refuse_incompatible
from flows.etl.source_files import open_source
from flows.etl.sources import Entry, Sources
from flows.paths import mapped, path_of, read_footer
from flows.s3_path import AnyPath


@dataclass(frozen=True)
class Again:
    """Which committed source files to process again from the raw zone, beside what is new."""

    start: date | None = None
    end: date | None = None
    quarantined: bool = False

    @property
    def kind(self) -> str:
        """The word that the snapshot remembers."""
        return "replay" if self.quarantined else "rebuild" if self.start else "etl"


@dataclass(frozen=True)
class Plan:
    """A table's part of a run, before Spark."""

    contract: Contract
    base: Table | None
    known: Sources
    landing: Landing
    replaced: list[DataFile]
    kind: str
    folder: AnyPath
    output: AnyPath
    run: str

    @classmethod
    def of(
        cls,
        settings: Settings,
        contract: Contract,
        base: Table | None,
        landing: Landing,
        kind: str,
        known: Sources | None = None,
        flow_run: str = "none",
    ) -> "Plan":
        """A plan with a run of its own, which replaces nothing yet."""
        run = run_of(flow_run, contract, base, landing, kind)
        return cls(
            contract=contract,
            base=base,
            known=known or Sources(),
            landing=landing,
            replaced=[],
            kind=kind,
            folder=settings.staging / contract.dataset / contract.table / run,
            output=Lake(settings).folder(contract.identifier) / "data" / run,
            run=run,
        )

    @property
    def replaced_sources(self) -> list[str]:
        """Source files whose earlier rows go."""
        return [a.path for a in self.landing.readable if a.path in self.known.committed]

    @property
    def nothing_to_do(self) -> bool:
        """No new row and none to replace."""
        rows = any(not arrival.finding.empty for arrival in self.landing.readable)
        return not rows and not self.replaced_sources


def run_of(flow_run: str, contract: Contract, base: Table | None, landing: Landing, kind: str) -> str:
    """The run's name: the same for the same work of a flow run that is run again, so that it finds its own.

    The work is the contract, the snapshot that it starts from and what arrived; all else follows from these.
    """
    if flow_run == "none":
        return uuid.uuid4().hex[:12]
    snapshot = base.current_snapshot() if base else None
    work = [
        flow_run,
        kind,
        contract.model_dump_json(),
        snapshot.snapshot_id if snapshot else None,
        sorted((a.path, a.sha256, a.version, a.copy) for a in landing.arrivals),
    ]
    return hashlib.sha256(json.dumps(work).encode()).hexdigest()[:12]


def make_plan(
    settings: Settings,
    contract: Contract,
    source: str | None,
    again: Again,
    on_progress: OnProgress = no_progress,
    flow_run: str = "none",
) -> Plan:
    """Land the source (where one is given) and find what its files replace.

    Raises:
        WatchkeeperError: the source cannot be read, the contract does not fit its table, no file that
            arrived can be read, or nothing is there to process again.
    """
    lake = Lake(settings)
    base = lake.table(contract.identifier)
    if base is not None:
        refuse_incompatible(contract, base)
    known = lake.sources(base)
    landing = Landing()
    if source is not None:
        landing = land(contract, open_source(source), known, settings.raw, on_progress)
    landed = {arrival.path for arrival in landing.arrivals}
    for path in paths_again(contract, base, known, again):
        if path not in landed:
            entry = entry_again(known, path, again)
            raw = raw_path(settings.raw, entry.sha256, path)
            landing.arrivals.append(arrive(contract, path, entry.sha256, entry.version, raw, entry.pictures))
    plan = Plan.of(settings, contract, base, landing, again.kind, known, flow_run)
    if plan.nothing_to_do:
        refuse_unreadable(contract, landing)
    plan.replaced.extend(files_of_sources(base, plan.replaced_sources))
    return plan


def entry_again(known: Sources, path: str, again: Again) -> Entry:
    """What to process of a path: for a replay the refused correction goes before what it was to replace."""
    entries = (known.rejected, known.committed) if again.quarantined else (known.committed, known.rejected)
    return next(held[path] for held in entries if path in held)


def paths_again(contract: Contract, table: Table | None, known: Sources, again: Again) -> list[str]:
    """Source files to process again."""
    if again.quarantined:
        return sorted(known.quarantined.keys() | known.rejected.keys())
    if again.start is None or again.end is None:
        return []
    if contract.event_time is None:
        raise WatchkeeperError(
            f"contract {contract.identifier} has no event_time: it cannot be rebuilt by dates"
        )
    paths: set[str] = set()
    if table is not None:
        after, before = again.start.isoformat(), (again.end + timedelta(days=1)).isoformat()
        clock = midnight(contract)
        within = parse(
            f"{contract.event_time} >= '{after}{clock}' and {contract.event_time} < '{before}{clock}'"
        )
        for batch in table.scan(row_filter=within, selected_fields=(SOURCE_COLUMN,)).to_arrow_batch_reader():
            paths.update(batch.column(0).unique().to_pylist())
    if not paths:
        raise WatchkeeperError(
            f"{contract.identifier} holds no rows from {again.start} to {again.end}: nothing to rebuild; "
            "load new files with `task etl` without --rebuild"
        )
    return sorted(paths)


def midnight(contract: Contract) -> str:
    """What makes a date a literal of the event time's type."""
    kind = contract.columns[contract.event_time or ""].type
    return {"date": "", "timestamp": "T00:00:00", "timestamptz": "T00:00:00+00:00"}[kind]


def refuse_unreadable(contract: Contract, landing: Landing) -> None:
    """Stop where files arrived that cannot be read, and none that has rows."""
    if landing.rejected:
        named = "\n  ".join(f"{a.path}: {a.finding.reason}" for a in landing.rejected[:10])
        raise WatchkeeperError(
            f"{contract.identifier}: none of the {len(landing.rejected)} new files can be read; "
            f"mend or remove them:\n  {named}"
        )


def job_of(settings: Settings, plan: Plan) -> dict[str, Any]:
    """The Spark job that carries the plan out."""
    again = [a.path for a in plan.landing.readable]
    return describe(
        plan.contract,
        plan.landing.readable,
        field_ids(plan.contract, plan.base),
        output=str(plan.output),
        folder=plan.folder,
        kept=by_schema(plan.replaced),
        except_sources=plan.replaced_sources,
        keys=dict(key_frames(settings, plan, again)),
    )


def key_frames(settings: Settings, plan: Plan, again: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """For each rule that looks beyond its row: the lake's files and columns to compare with."""
    frames = []
    for rule in plan.contract.row_rules():
        if rule.references:
            table, column = rule.references.split(".")
            referred = Lake(settings).table(f"{plan.contract.dataset}.{table}")
            kind = plan.contract.columns[rule.column or ""].type
            frames.append((rule.name, key_frame(files_with(referred, AlwaysTrue()), {column: kind}, [])))
        elif rule.unique:
            kinds = {name: plan.contract.columns[name].type for name in rule.unique}
            own = files_with(plan.base, AlwaysTrue())
            frames.append((rule.name, key_frame(own, {**kinds, SOURCE_COLUMN: "string"}, again)))
    return frames


def key_frame(files: list[DataFile], kinds: dict[str, str], except_sources: list[str]) -> dict[str, Any]:
    """Files and columns (contract types) that a rule compares with."""
    return {
        "groups": [{"files": group} for group in by_schema(files)],
        "columns": [[name, SPARK_TYPES.get(kind, kind)] for name, kind in kinds.items()],
        "except_sources": except_sources,
    }


def by_schema(files: list[DataFile]) -> list[list[str]]:
    """Paths grouped by Parquet schema: Spark reads files together only where their types agree."""
    groups: dict[str, list[str]] = defaultdict(list)
    paths = [path_of(file.file_path) for file in files]
    for path, footer in zip(paths, mapped(read_footer, paths), strict=True):
        schema = footer.schema.to_arrow_schema().remove_metadata()
        groups[schema.to_string(show_field_metadata=False)].append(str(path))
    return list(groups.values())
