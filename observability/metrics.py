"""Every metric, declared once; emitters, mappings, panels and alerts derive from it.

Names follow Prometheus: prefix `watchkeeper_`, base units, `_total` for counters. A label's values are few
and known; no id, path or user input is one.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One metric; `labels` maps each label to its allowed values, None where a contract names them."""

    name: str
    kind: Literal["counter", "timing", "gauge"]
    help: str
    labels: dict[str, tuple[str, ...] | None]


TABLE = {"dataset": None, "table": None}

ETL_RUNS = Metric(
    "watchkeeper_etl_runs_total",
    "counter",
    "Runs of a table's ETL by how they ended.",
    {**TABLE, "outcome": ("committed", "unchanged", "failed")},
)
ETL_ROWS = Metric(
    "watchkeeper_etl_rows_total",
    "counter",
    "Rows read from source files by where they ended.",
    {**TABLE, "outcome": ("committed", "quarantined", "duplicate")},
)
ETL_FILES = Metric(
    "watchkeeper_etl_source_files_total",
    "counter",
    "Source files by what became of them; a quarantined file could not be read whole.",
    {**TABLE, "outcome": ("committed", "quarantined")},
)
ETL_WRITTEN = Metric(
    "watchkeeper_etl_written_bytes_total",
    "counter",
    "Bytes of the data files that were committed.",
    {**TABLE},
)
ETL_STEP_SECONDS = Metric(
    "watchkeeper_etl_step_seconds",
    "timing",
    "Time that a step of a table's ETL or of its upkeep took.",
    {**TABLE, "step": ("land", "spark", "verdict", "commit", "report", "compact", "expire", "sweep")},
)

MODEL = {"model": None}

RETRAIN_RUNS = Metric(
    "watchkeeper_retrain_runs_total",
    "counter",
    "Retrainings by the gate's verdict; `failed` never reached it.",
    {**MODEL, "outcome": ("promote", "reject", "inconclusive", "error", "failed")},
)
RETRAIN_STEP_SECONDS = Metric(
    "watchkeeper_retrain_step_seconds",
    "timing",
    "Time that a step of a retraining took.",
    {**MODEL, "step": ("dataset", "search", "train", "gate", "package", "report")},
)
RETRAIN_ARTICLES = Metric(
    "watchkeeper_retrain_articles",
    "gauge",
    "Articles of the snapshot by what they were used for.",
    {**MODEL, "side": ("train", "validation", "holdout", "left_out", "unreadable")},
)
RETRAIN_SCORE_RATIO = Metric(
    "watchkeeper_retrain_score_ratio",
    "gauge",
    "Macro-F1 on the holdout, of the newest challenger and of the champion that it met.",
    {**MODEL, "role": ("challenger", "champion")},
)
RETRAIN_TRIALS = Metric(
    "watchkeeper_retrain_trials_total",
    "counter",
    "Trials of hyperparameter searches by how they ended.",
    {**MODEL, "outcome": ("complete", "pruned", "failed")},
)

METRICS = (
    ETL_RUNS,
    ETL_ROWS,
    ETL_FILES,
    ETL_WRITTEN,
    ETL_STEP_SECONDS,
    RETRAIN_RUNS,
    RETRAIN_STEP_SECONDS,
    RETRAIN_ARTICLES,
    RETRAIN_SCORE_RATIO,
    RETRAIN_TRIALS,
)
