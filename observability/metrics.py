"""Every metric, declared once; emitters, mappings, panels and alerts derive from it.

Names follow Prometheus: prefix `watchkeeper_`, base units, `_total` for counters. A label's values are few
and known; no id, path or user input is one.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, eq=False)
class Metric:
    """One metric; `labels` maps each label to its allowed values, None where a contract names them.

    A histogram has `buckets`, upper bounds in the metric's unit. A `pulled` metric is kept by a process that
    answers for long and is scraped there; the others are pushed by StatsD.
    """

    name: str
    kind: Literal["counter", "timing", "gauge", "histogram"]
    help: str
    labels: dict[str, tuple[str, ...] | None]
    buckets: tuple[float, ...] = ()
    pulled: bool = False


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

MODEL: dict[str, tuple[str, ...] | None] = {"model": None}

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

REJECTIONS = (
    "bad_image",
    "too_many_pixels",
    "body_too_large",
    "unsupported_media_type",
    "bad_multipart",
    "bad_json",
    "bad_row",
    "bad_request",
    "too_many_images",
    "not_found",
    "method_not_allowed",
    "unauthorized",
    "busy",
    "body_timeout",
    "timeout",
    "no_model",
    "overloaded",
    "model_error",
)
"""Codes of the problems that the service answers with."""

FAST = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 4.0)


def _pulled(
    name: str,
    kind: Literal["counter", "gauge", "histogram"],
    help: str,
    labels: dict[str, tuple[str, ...] | None] = MODEL,
    buckets: tuple[float, ...] = (),
) -> Metric:
    return Metric(f"watchkeeper_{name}", kind, help, labels, buckets, pulled=True)


SERVE_MODEL_INFO = _pulled(
    "serve_model_info",
    "gauge",
    "One for the version that answers, zero for earlier ones.",
    {**MODEL, "version": None},
)
SERVE_REGISTRY_READ = _pulled(
    "serve_registry_read_timestamp_seconds",
    "gauge",
    "When a worker last saw who is champion; the oldest over the workers.",
)
SERVE_SWAPS = _pulled(
    "serve_swaps_total",
    "counter",
    "Times a worker took up a champion, failed to, or had it rolled back on probation.",
    {**MODEL, "outcome": ("swapped", "failed", "rolled_back")},
)
SERVE_SWAP_SECONDS = _pulled(
    "serve_swap_seconds", "histogram", "From seeing a new champion to answering with it.", buckets=FAST
)
SERVE_DECODE_SECONDS = _pulled("serve_decode_seconds", "histogram", "Decoding of one input.", buckets=FAST)
SERVE_INFERENCE_SECONDS = _pulled(
    "serve_inference_seconds", "histogram", "One batch in the model.", buckets=FAST
)
SERVE_BATCH_SIZE = _pulled(
    "serve_batch_size", "histogram", "Inputs given to the model at once.", buckets=(1, 2, 4, 8, 16, 32, 64)
)
SERVE_CONFIDENCE_RATIO = _pulled(
    "serve_confidence_ratio",
    "histogram",
    "Probability of the label that was answered.",
    buckets=tuple(step / 10 for step in range(1, 11)),
)
SERVE_PREDICTIONS = _pulled(
    "serve_predictions_total", "counter", "Answers by label.", {**MODEL, "label": None}
)
SERVE_REJECTED = _pulled(
    "serve_rejected_total", "counter", "Requests that got a problem, by its code.", {"reason": REJECTIONS}
)
SERVE_QUEUE = _pulled("serve_queue_depth", "gauge", "Inputs that are waiting or in the model.", {})
SERVE_LOG_ROWS = _pulled(
    "serve_log_rows_total",
    "counter",
    "Rows of the prediction log and of feedback; dropped where memory holds too many or the disk refuses.",
    {"outcome": ("written", "dropped")},
)
SERVE_SHADOW = _pulled(
    "serve_shadow_total",
    "counter",
    "Answers of the shadow version: as the champion's, other, none as it failed, or dropped as it is slow.",
    {**MODEL, "outcome": ("same", "other", "failed", "dropped")},
)

SCORE_RUNS = Metric(
    "watchkeeper_score_runs_total",
    "counter",
    "Runs of batch scoring by how they ended.",
    {**MODEL, "outcome": ("committed", "unchanged", "failed")},
)
SCORE_IMAGES = Metric(
    "watchkeeper_score_images_total",
    "counter",
    "Pictures of batch scoring by where they ended.",
    {**MODEL, "outcome": ("scored", "quarantined")},
)
SCORE_STEP_SECONDS = Metric(
    "watchkeeper_score_step_seconds",
    "timing",
    "Time that a step of batch scoring took.",
    {**MODEL, "step": ("champion", "land", "spark", "verdict", "commit", "report")},
)

OUTCOMES = ("none", "suspected", "confirmed", "not_enough_data", "error")
"""Of a drift verdict."""

SUBJECT: dict[str, tuple[str, ...] | None] = {"subject": None}
"""What a drift verdict is about: `dataset.table`, or `model.NAME`."""

DRIFT_RUNS = Metric(
    "watchkeeper_drift_runs_total",
    "counter",
    "Drift runs by their verdict; `error` has none.",
    {**SUBJECT, "outcome": OUTCOMES},
)
DRIFT_STEP_SECONDS = Metric(
    "watchkeeper_drift_step_seconds",
    "timing",
    "Time that a step of a drift run took.",
    {**SUBJECT, "step": ("profile", "compare", "report")},
)


DRIFT_SCORE = _pulled(
    "drift_score", "gauge", "Distance of a column from its reference.", {**SUBJECT, "column": None}
)
DRIFT_THRESHOLD = _pulled(
    "drift_threshold", "gauge", "Distance from which a column counts as drifted.", {**SUBJECT, "column": None}
)
DRIFT_COLUMNS = _pulled(
    "drift_columns_ratio", "gauge", "Share of the compared columns that drifted.", SUBJECT
)
DRIFT_STATE = _pulled(
    "drift_state",
    "gauge",
    "One for the newest verdict, zero for the others.",
    {**SUBJECT, "outcome": OUTCOMES},
)
DRIFT_TIME = _pulled(
    "drift_verdict_timestamp_seconds", "gauge", "When the newest verdict was reached.", SUBJECT
)
LIVE_SCORE = _pulled(
    "live_score_ratio",
    "gauge",
    "Macro-F1 on live traffic: on the labels that arrived, its 95% interval, and what confidence promises.",
    {**MODEL, "of": ("labels", "low", "high", "confidence")},
)
LIVE_LABELS = _pulled("live_labels", "gauge", "Answers of the newest window whose label has arrived.", MODEL)
COLLECTOR_UP = _pulled(
    "collector_success",
    "gauge",
    "One where a collector of the exporter answered, zero where not.",
    {"collector": None},
)
COLLECTOR_SECONDS = _pulled(
    "collector_duration_seconds", "gauge", "Time that a collector of the exporter took.", {"collector": None}
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
    SERVE_MODEL_INFO,
    SERVE_REGISTRY_READ,
    SERVE_SWAPS,
    SERVE_SWAP_SECONDS,
    SERVE_DECODE_SECONDS,
    SERVE_INFERENCE_SECONDS,
    SERVE_BATCH_SIZE,
    SERVE_CONFIDENCE_RATIO,
    SERVE_PREDICTIONS,
    SERVE_REJECTED,
    SERVE_QUEUE,
    SERVE_LOG_ROWS,
    SERVE_SHADOW,
    SCORE_RUNS,
    SCORE_IMAGES,
    SCORE_STEP_SECONDS,
    DRIFT_RUNS,
    DRIFT_STEP_SECONDS,
    DRIFT_SCORE,
    DRIFT_THRESHOLD,
    DRIFT_COLUMNS,
    DRIFT_STATE,
    DRIFT_TIME,
    LIVE_SCORE,
    LIVE_LABELS,
    COLLECTOR_UP,
    COLLECTOR_SECONDS,
)
