"""The steps of a scoring run after its plan, where they differ from the ETL's. Without Prefect."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pyarrow as pa

from flows.console import OnProgress, no_log, no_progress
from flows.etl import steps as etl
from flows.etl.land import Landing
from flows.etl.plan import Plan
from flows.etl.runners.life import Engine
from flows.etl.steps import Staged, TableResult
from flows.paths import read_rows
from flows.s3_path import AnyPath
from flows.score.images import Mark
from flows.score.plan import Scoring


@dataclass
class ScoreResult(TableResult):
    """What became of a model's scores in one run; a row is a picture."""

    model_version: str = ""
    images: int = 0
    """At the source."""
    images_unchanged: int = 0
    images_left: int = 0
    """Of earlier sources, whose score is of an earlier version since they are not at this one."""
    images_per_second: float = 0.0
    labels: dict[str, int] = field(default_factory=dict)


def run_spark(
    scoring: Scoring,
    plan: Plan,
    engine: Engine,
    on_progress: OnProgress = no_progress,
    on_log: Callable[[str], None] = no_log,
) -> tuple[Plan, Staged, dict[str, int]]:
    """Score the plan's pictures; returns the plan with each picture's sha256, and the count of each label."""
    staged = etl.run_spark(scoring.settings, plan, engine, on_progress, on_log, scoring.describe, "score")
    found = dict(zip(*(staged.bad_rows[name].to_pylist() for name in ("source_file", "sha256")), strict=True))
    labels: Counter[str] = Counter()
    for rows in new_rows(staged.files):
        found |= zip(*(rows[name].to_pylist() for name in ("_source_file", "_sha256")), strict=True)
        labels.update(rows["label"].to_pylist())
    arrivals = [replace(arrival, sha256=found.get(arrival.path, "")) for arrival in plan.landing.arrivals]
    return replace(plan, landing=Landing(arrivals, plan.landing.skipped)), staged, dict(labels.most_common())


def new_rows(files: list[AnyPath]) -> Iterator[pa.Table]:
    """The rows of a job's files that it scored itself; those that stayed have no sha256."""
    for file in files:
        yield read_rows(file, ["_source_file", "_sha256", "label"], filters=[("_sha256", "!=", "")])


def unchanged(scoring: Scoring, plan: Plan) -> ScoreResult:
    """The result where every picture has its score."""
    snapshot = plan.base.current_snapshot() if plan.base else None
    return told(
        scoring, plan, TableResult("unchanged", snapshot_id=snapshot.snapshot_id if snapshot else None)
    )


def told(
    scoring: Scoring,
    plan: Plan,
    result: TableResult,
    labels: dict[str, int] | None = None,
) -> ScoreResult:
    """A table's result in the words of scores."""
    images = len(plan.landing.arrivals)
    return ScoreResult(
        **result.__dict__,
        model_version=scoring.champion.version,
        images=images + plan.landing.skipped,
        images_unchanged=plan.landing.skipped,
        images_left=left_behind(plan, scoring.champion.version),
        images_per_second=round(images / result.seconds, 1) if result.seconds else 0.0,
        labels=labels or {},
    )


def left_behind(plan: Plan, model_version: str) -> int:
    """Scores of an earlier version that this run does not replace."""
    others = plan.known.committed.keys() - {arrival.path for arrival in plan.landing.arrivals}
    marks = (Mark.parse(plan.known.committed[path].version) for path in others)
    return sum(1 for mark in marks if mark.model_version != model_version)
