"""Serving: what the service answers, how fast, with which model, and what it refuses."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from observability.grafana.dashboards.panels import (
    Bound,
    Panel,
    bars,
    board,
    heat,
    listing,
    mean,
    or_zero,
    quantile,
    series,
    states,
)
from observability.grafana.dashboards.shared import UP

PREDICT = '{endpoint=~"/predict.*"}'
WINDOWS = ("5m", "30m", "1h", "6h")


def render() -> Dashboard:
    """The dashboard."""
    return board(
        "serving",
        "Serving",
        "The objectives: 99.5% of predictions succeed, 99% take at most 250 ms.",
        {"Answers": answers(), "Budgets": budgets(), "Model": model(), "Load": load()},
    )


def answers() -> list[Panel]:
    """BentoML's own series."""
    seconds = f"bentoml_service_request_duration_seconds_bucket{PREDICT}"
    return [
        states(
            "The service",
            "Whether it gives its metrics.",
            {"{{instance}}": 'min by (instance) (up{job="serve"})'},
            UP,
            span=8,
        ),
        series(
            "Predictions a second",
            "By endpoint and HTTP status.",
            "reqps",
            {
                "{{endpoint}} {{http_response_code}}": (
                    "sum by (endpoint, http_response_code) "
                    f"(rate(bentoml_service_request_total{PREDICT}[5m]))"
                )
            },
            span=8,
        ),
        series(
            "Latency",
            "Of predictions, over five minutes.",
            "s",
            {
                f"p{share * 100:.0f}": f"histogram_quantile({share}, sum by (le) (rate({seconds}[5m])))"
                for share in (0.5, 0.95, 0.99)
            },
            span=8,
        ),
    ]


def budgets() -> list[Panel]:
    """The share of bad answers over the windows that the burn-rate alerts look at."""
    return [
        series(
            "Predictions that fail",
            "Share by window; an alert asks for two windows at once, and for 100 requests an hour.",
            "percentunit",
            {window: or_zero(f"watchkeeper:serve_errors:ratio_rate{window} >= 0") for window in WINDOWS},
            [Bound("ServiceErrorsSlow", 0.03), Bound("ServiceErrorsFast", 0.072)],
            span=8,
        ),
        series(
            "Predictions over 250 ms",
            "Share by window; as beside.",
            "percentunit",
            {window: or_zero(f"watchkeeper:serve_slow:ratio_rate{window} >= 0") for window in WINDOWS},
            [Bound("ServiceSlowSlow", 0.06), Bound("ServiceSlowFast", 0.144)],
            span=8,
        ),
        series(
            "Predictions an hour",
            "Below 100 the alerts on shares are silent.",
            "short",
            {"predictions": or_zero("watchkeeper:serve_requests:increase1h")},
            span=8,
        ),
    ]


def model() -> list[Panel]:
    """Which model answers, and what it says."""
    return [
        listing(
            "Versions",
            "One for the version that answers.",
            "max by (model, version) (watchkeeper_serve_model_info)",
            "answers",
            span=8,
        ),
        bars(
            "Swaps",
            "Times a worker took up a champion, failed to, or had it rolled back; since the service began.",
            "none",
            {"{{model}} {{outcome}}": "sum by (model, outcome) (watchkeeper_serve_swaps_total)"},
            span=8,
        ),
        series(
            "Registry last read",
            "Time since a worker saw who is champion; the oldest over the workers.",
            "s",
            {"{{model}}": "max by (model) (time() - watchkeeper_serve_registry_read_timestamp_seconds)"},
            span=8,
        ),
        series(
            "Answers by label",
            "A second.",
            "reqps",
            {"{{model}} {{label}}": "sum by (model, label) (rate(watchkeeper_serve_predictions_total[5m]))"},
            span=8,
        ),
        heat(
            "Confidence",
            "Probability of the label that was answered.",
            "percentunit",
            "sum by (le) (rate(watchkeeper_serve_confidence_ratio_bucket[5m]))",
            span=8,
        ),
        bars(
            "Shadow's answers",
            "As the champion's, other, none, or dropped; zero where no version is shadow.",
            "none",
            {"{{model}} {{outcome}}": or_zero("sum by (model, outcome) (watchkeeper_serve_shadow_total)")},
            span=8,
        ),
    ]


def load() -> list[Panel]:
    """Where time goes, what waits and what is refused."""
    return [
        series(
            "Where time goes",
            "p95 over five minutes: decoding one input, one batch in the model.",
            "s",
            {
                "decode": quantile(0.95, "watchkeeper_serve_decode_seconds"),
                "model": quantile(0.95, "watchkeeper_serve_inference_seconds"),
            },
            span=8,
        ),
        series(
            "Batch size",
            "Mean of the inputs given to the model at once, since the service began.",
            "none",
            {"{{model}}": mean("watchkeeper_serve_batch_size", "model")},
            span=8,
        ),
        series(
            "Queue",
            "Inputs that are waiting or in the model; requests that BentoML holds.",
            "none",
            {
                "inputs": "sum(watchkeeper_serve_queue_depth)",
                "requests": f"sum(bentoml_service_request_in_progress{PREDICT})",
            },
            span=8,
        ),
        series(
            "Refused for load",
            "Requests a second that got busy or overloaded.",
            "reqps",
            {
                "refused": or_zero(
                    'sum(rate(watchkeeper_serve_rejected_total{reason=~"busy|overloaded"}[5m]))'
                )
            },
            [Bound("ServiceQueueFull", 1)],
            span=6,
        ),
        bars(
            "Problems by code",
            "Since the service began.",
            "none",
            {"{{reason}}": or_zero("sum by (reason) (watchkeeper_serve_rejected_total)")},
            span=6,
        ),
        series(
            "Prediction log",
            "Rows a second, of answers and of feedback.",
            "wps",
            {"{{outcome}}": "sum by (outcome) (rate(watchkeeper_serve_log_rows_total[5m]))"},
            span=6,
        ),
        bars(
            "Mean time of a swap",
            "From seeing a new champion to answering with it, since the service began.",
            "s",
            {"{{model}}": mean("watchkeeper_serve_swap_seconds", "model")},
            span=6,
        ),
    ]
