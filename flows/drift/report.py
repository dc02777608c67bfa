"""Evidently's report of the two windows, on a bounded sample, and its page of all reports."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

os.environ["DO_NOT_TRACK"] = "1"  # before Evidently, which would phone home
from evidently import DataDefinition, Dataset, Report
from evidently.core.report import Snapshot
from evidently.presets import DataDriftPreset
from evidently.ui.workspace import Workspace

from flows.config import Settings
from observability.drift.profiles import Kind
from observability.drift.verdict import Verdict

ROWS = 5_000
"""Of each window in a report."""


@dataclass(frozen=True)
class Samples:
    """Rows of the two windows, with the watched columns."""

    reference: pa.Table
    current: pa.Table


def evidently_report(samples: Samples, kinds: dict[str, Kind], verdict: Verdict) -> Snapshot | None:
    """Evidently's drift preset, with the verdict's thresholds of single columns.

    Columns without a finite value in one of the samples are left out: Evidently cannot draw them. None where
    no column is left.
    """
    endless = [float("inf"), float("-inf")]
    frames = [t.to_pandas().replace(endless, float("nan")) for t in (samples.reference, samples.current)]
    shown = [name for name in kinds if all(frame[name].notna().any() for frame in frames)]
    if not shown:
        return None
    numeric = [name for name in shown if kinds[name] == "numeric"]
    definition = DataDefinition(
        numerical_columns=numeric, categorical_columns=[name for name in shown if name not in numeric]
    )
    reference, current = (
        Dataset.from_pandas(frame[shown].astype({n: str for n in shown if n not in numeric}), definition)
        for frame in frames
    )
    preset = DataDriftPreset(
        columns=shown,
        num_method="wasserstein",
        cat_method="jensenshannon",
        per_column_threshold={n: c.threshold for n, c in verdict.columns.items() if n in shown},
    )
    with np.errstate(invalid="ignore"):  # Evidently correlates columns that may be constant
        return Report([preset], include_tests=True).run(current, reference)


def write(folder: Path, snapshot: Snapshot) -> Path:
    """The report as a page and as JSON."""
    snapshot.save_html(str(folder / "report.html"))
    snapshot.save_json(str(folder / "report.json"))
    return folder / "report.html"


def workspace(settings: Settings) -> Workspace:
    """Where Evidently's own page finds every report."""
    path = settings.drift / "workspace"
    path.mkdir(parents=True, exist_ok=True)
    return Workspace.create(str(path))


def keep(settings: Settings, subject: str, snapshot: Snapshot) -> None:
    """Add a report to the subject's project."""
    held = workspace(settings)
    project = next(iter(held.search_project(subject)), None) or held.create_project(subject)
    held.add_run(project.id, snapshot)
