"""Every metric, declared once; emitters, mappings, panels and alerts derive from it.

Names follow Prometheus: prefix `watchkeeper_`, base units, `_total` for counters. A label's values are few
and known; no id, path or user input is one.
"""

from dataclasses import dataclass
from typing import Literal

Labels = dict[str, tuple[str, ...] | None]
"""Allowed values of each label; None where a contract or the code names them."""


@dataclass(frozen=True, eq=False)
class Metric:
    """One metric.

    A histogram and a timing have `buckets`, upper bounds in the metric's unit. A `pulled` metric is kept by a
    process that answers for long and is scraped there; the others are pushed by StatsD.
    """

    name: str
    kind: Literal["counter", "timing", "gauge", "histogram"]
    help: str
    labels: Labels
    buckets: tuple[float, ...] = ()
    pulled: bool = False


LONG = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Bounds of what flows and their steps take, in seconds."""

ENDED = ("completed", "failed", "crashed", "cancelled")

FLOW_RUNS = Metric(
    "watchkeeper_flow_runs_total",
    "counter",
    "Flow runs by how they ended.",
    {"flow": None, "outcome": ENDED},
)
FLOW_SECONDS = Metric(
    "watchkeeper_flow_seconds", "timing", "Time that a flow run took.", {"flow": None}, LONG
)
TASK_RUNS = Metric(
    "watchkeeper_task_runs_total",
    "counter",
    "Task runs by how they ended.",
    {"task": None, "outcome": ENDED},
)
TASK_RETRIES = Metric(
    "watchkeeper_task_retries_total", "counter", "Further attempts of task runs.", {"task": None}
)
TASK_SECONDS = Metric(
    "watchkeeper_task_seconds", "timing", "Time that a task run took.", {"task": None}, LONG
)

TABLE: Labels = {"dataset": None, "table": None}

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
    LONG,
)

RUNNER: Labels = {"program": ("etl", "score", "profile"), "runner": ("local", "emr_serverless", "emr")}

SPARK_JOBS = Metric(
    "watchkeeper_spark_jobs_total",
    "counter",
    "Spark jobs by how they ended.",
    {**RUNNER, "outcome": ("success", "failed", "cancelled")},
)
SPARK_DOLLARS = Metric(
    "watchkeeper_spark_cost_dollars_total",
    "counter",
    "US dollars that Spark jobs on AWS cost, by the prices of the settings.",
    RUNNER,
)

ORPHAN_RUNS = Metric(
    "watchkeeper_orphan_runs",
    "gauge",
    "Spark jobs and clusters on AWS without a living flow run, after the last look of the flow `orphans`.",
    {},
)

MODEL: Labels = {"model": None}

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
    LONG,
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
    labels: Labels = MODEL,
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
    LONG,
)

OUTCOMES = ("none", "suspected", "confirmed", "not_enough_data", "error")
"""Of a drift verdict."""

SUBJECT: Labels = {"subject": None}
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
    LONG,
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
DEPLOYMENT: Labels = {"flow": None, "deployment": None}

RUN_STATE = _pulled(
    "flow_last_run_state",
    "gauge",
    "One for how the last run ended, zero for the others; deployment `none` is a command.",
    {**DEPLOYMENT, "outcome": ENDED},
)
RUN_TIME = _pulled("flow_last_run_timestamp_seconds", "gauge", "When the last run ended.", DEPLOYMENT)
RUN_SECONDS = _pulled("flow_last_run_seconds", "gauge", "Time that the last run took.", DEPLOYMENT)
SUCCESS_TIME = _pulled(
    "flow_last_success_timestamp_seconds", "gauge", "When the last run that completed ended.", DEPLOYMENT
)
SUCCESS_SECONDS = _pulled(
    "flow_last_success_seconds", "gauge", "Time that the last run that completed took.", DEPLOYMENT
)
RUNNING_SINCE = _pulled(
    "flow_running_since_timestamp_seconds", "gauge", "When the oldest run that is running began.", DEPLOYMENT
)
LATE_RUNS = _pulled(
    "flow_late_runs", "gauge", "Runs that should have begun, and that no worker has taken.", DEPLOYMENT
)
SCHEDULED_RUNS = _pulled(
    "flow_scheduled_runs",
    "gauge",
    "Runs to come of a deployment whose schedule is on; zero where nobody plans them.",
    DEPLOYMENT,
)
WORKER_TIME = _pulled(
    "worker_heartbeat_timestamp_seconds", "gauge", "When a pool last heard of a worker.", {"pool": None}
)

TABLE_TIME = _pulled("table_commit_timestamp_seconds", "gauge", "When a table last got new data.", TABLE)
TABLE_EVENT_TIME = _pulled(
    "table_newest_event_timestamp_seconds", "gauge", "Newest event time of a table's rows.", TABLE
)
TABLE_MAX_AGE = _pulled(
    "table_max_age_seconds", "gauge", "How old a table's newest row may be, by its contract.", TABLE
)
TABLE_ROWS = _pulled("table_rows", "gauge", "Rows of a table.", TABLE)
TABLE_FILES = _pulled("table_files", "gauge", "Data files of a table.", TABLE)
TABLE_BYTES = _pulled("table_bytes", "gauge", "Bytes of a table's data files.", TABLE)
ORPHAN_FILES = _pulled(
    "table_orphan_files",
    "gauge",
    "Files below a table that no snapshot names, and that maintenance should have removed by now.",
    TABLE,
)
ORPHAN_BYTES = _pulled("table_orphan_bytes", "gauge", "Bytes of these files.", TABLE)
COMMIT_ROWS = _pulled(
    "table_commit_rows",
    "gauge",
    "Rows of the newest commit of new data, by where they are: what a replay mended is quarantined no more.",
    {**TABLE, "outcome": ("committed", "quarantined", "duplicate")},
)
QUARANTINED_ROWS = _pulled(
    "table_quarantined_rows",
    "gauge",
    "Rows of the newest commit of new data that are in quarantine, by the rule that they break.",
    {**TABLE, "rule": None},
)
LANDING_FILES = _pulled(
    "landing_files", "gauge", "Files in a data set's landing zone that the next run would take.", TABLE
)
LANDING_TIME = _pulled(
    "landing_oldest_timestamp_seconds", "gauge", "When the oldest of them was written.", TABLE
)
HOME_FREE = _pulled("home_free_bytes", "gauge", "Bytes free on the disk of WATCHKEEPER_HOME.", {})

CHAMPION_INFO = _pulled(
    "champion_info", "gauge", "One for the version that is champion.", {**MODEL, "version": None}
)
CHAMPION_SINCE = _pulled("champion_since_timestamp_seconds", "gauge", "When the champion became it.", MODEL)
CHAMPION_CREATED = _pulled(
    "champion_created_timestamp_seconds", "gauge", "When the champion was trained.", MODEL
)
CHAMPION_SCORE = _pulled(
    "champion_score_ratio", "gauge", "Macro-F1 of the champion on its validation articles.", MODEL
)
REFUSED = _pulled(
    "champion_challengers_refused",
    "gauge",
    "Challengers in a row that the gate has not let pass.",
    MODEL,
)
PROMOTIONS = _pulled("champion_promotions", "gauge", "Promotions in the ledger.", MODEL)

COLLECTOR_UP = _pulled(
    "collector_success",
    "gauge",
    "One where a collector of the exporter answered, zero where not.",
    {"collector": None},
)
COLLECTOR_SECONDS = _pulled(
    "collector_duration_seconds", "gauge", "Time that a collector of the exporter took.", {"collector": None}
)

PROBE: Labels = {
    "probe": ("prefect", "tables", "store", "serve", "statsd", "prometheus", "grafana", "receiver")
}
"""Dependencies that the health flow asks; named as the job or collector of other series on it, if any."""
PROBE_UP = _pulled(
    "probe_success",
    "gauge",
    "One where a probe was answered, zero where not; none of what is not set up.",
    PROBE,
)
PROBE_SECONDS = _pulled("probe_duration_seconds", "gauge", "Time that a probe took.", PROBE)
PROBE_TIME = _pulled("probe_timestamp_seconds", "gauge", "When the probes last ran.", {})

RELAY_MESSAGES = _pulled(
    "relay_messages_total",
    "counter",
    "Attempts of the relay by how they ended; a refused message is not tried again, nor is one that waited "
    "in vain for a week or before ten thousand others: it is expired.",
    {"outcome": ("delivered", "retried", "refused", "expired")},
)
RELAY_WAITING = _pulled("relay_waiting_messages", "gauge", "Messages that the relay has yet to deliver.", {})
RELAY_OLDEST = _pulled(
    "relay_oldest_timestamp_seconds", "gauge", "When the oldest of them came; nothing where none waits.", {}
)
RELAY_RECEIVER = _pulled(
    "relay_receiver_info",
    "gauge",
    "One where messages have an address to go to, zero where they are only kept.",
    {"notifier": ("slack", "discord", "email")},
)

METRICS = (
    FLOW_RUNS,
    FLOW_SECONDS,
    TASK_RUNS,
    TASK_RETRIES,
    TASK_SECONDS,
    ETL_RUNS,
    ETL_ROWS,
    ETL_FILES,
    ETL_WRITTEN,
    ETL_STEP_SECONDS,
    SPARK_JOBS,
    SPARK_DOLLARS,
    ORPHAN_RUNS,
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
    RUN_STATE,
    RUN_TIME,
    RUN_SECONDS,
    SUCCESS_TIME,
    SUCCESS_SECONDS,
    RUNNING_SINCE,
    LATE_RUNS,
    SCHEDULED_RUNS,
    WORKER_TIME,
    TABLE_TIME,
    TABLE_EVENT_TIME,
    TABLE_MAX_AGE,
    TABLE_ROWS,
    TABLE_FILES,
    TABLE_BYTES,
    ORPHAN_FILES,
    ORPHAN_BYTES,
    COMMIT_ROWS,
    QUARANTINED_ROWS,
    LANDING_FILES,
    LANDING_TIME,
    HOME_FREE,
    CHAMPION_INFO,
    CHAMPION_SINCE,
    CHAMPION_CREATED,
    CHAMPION_SCORE,
    REFUSED,
    PROMOTIONS,
    COLLECTOR_UP,
    COLLECTOR_SECONDS,
    PROBE_UP,
    PROBE_SECONDS,
    PROBE_TIME,
    RELAY_MESSAGES,
    RELAY_WAITING,
    RELAY_OLDEST,
    RELAY_RECEIVER,
)
