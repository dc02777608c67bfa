"""Overview: is anything wrong, in one glance."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from observability.grafana.dashboards.panels import (
    Bound,
    bars,
    board,
    firing,
    listing,
    numbers,
    or_zero,
    states,
)
from observability.grafana.dashboards.shared import DRIFT, FRESHNESS, LAST_RUNS, TARGETS, UP, WORKING_VERSIONS
from observability.prometheus.rules import SEVERITIES

NOTHING = 'label_replace(vector(0), "alertname", "nothing", "", "")'
WHERE = "alertname, severity, owner, deployment, dataset, table, model, subject, job, instance"


def render() -> Dashboard:
    """The dashboard."""
    return board(
        "overview",
        "Overview: is anything wrong, in one glance",
        "Green is well. What is not has a line in the list, and a dashboard of its own.",
        {
            "Now": [firing(severity, says) for severity, says in SEVERITIES.items()]
            + [
                numbers(
                    "Since the rules were evaluated",
                    "Age of the dead man's sign; the watcher outside Prometheus says so when it stops.",
                    "s",
                    {"": "time() - timestamp(watchkeeper:deadman)"},
                )
            ],
            "Where": [
                listing(
                    "What fires",
                    "Alerts of Prometheus's rules, whoever sends them; one line, nothing, where none does.",
                    f'group by ({WHERE}) (ALERTS{{alertstate="firing"}}) or on () {NOTHING}',
                    "fires",
                ),
                states("Programs", "Whether each target of Prometheus gives its metrics.", TARGETS, UP),
            ],
            "Pipelines and data": [
                listing("Last runs", "How the last run of each deployment ended.", LAST_RUNS, "runs"),
                bars(
                    "Freshness",
                    "Age of a table's newest row as a share of what its contract allows.",
                    "percentunit",
                    FRESHNESS,
                    [Bound("TableStale", 1)],
                ),
            ],
            "Model": [
                listing(
                    "Champions", "The version that is champion of each model.", WORKING_VERSIONS, "", span=8
                ),
                listing("Drift", "The newest verdict on each subject.", DRIFT, "", span=16),
            ],
            "Serving and nodes": [
                numbers(
                    "Predictions that fail",
                    "Share over five minutes.",
                    "percentunit",
                    {"": or_zero("watchkeeper:serve_errors:ratio_rate5m >= 0")},
                    [Bound("ServiceErrorsFast", 0.072)],
                    span=8,
                ),
                numbers(
                    "Predictions over 250 ms",
                    "Share over five minutes.",
                    "percentunit",
                    {"": or_zero("watchkeeper:serve_slow:ratio_rate5m >= 0")},
                    [Bound("ServiceSlowFast", 0.144)],
                    span=8,
                ),
                numbers(
                    "Fullest disk",
                    "Share that is free.",
                    "percentunit",
                    {"": "min(watchkeeper:node_disk_free:ratio)"},
                    [Bound("NodeDiskFull", 0.05, below=True)],
                    span=8,
                ),
            ],
        },
    )
