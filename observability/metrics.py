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
    kind: Literal["counter", "timing"]
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

METRICS = (ETL_RUNS, ETL_ROWS, ETL_FILES, ETL_WRITTEN, ETL_STEP_SECONDS)
