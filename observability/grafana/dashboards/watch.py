"""The watch: whether what watches is itself well."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from observability.grafana.dashboards.panels import (
    Bound,
    Panel,
    bars,
    board,
    numbers,
    or_zero,
    series,
    states,
)
from observability.grafana.dashboards.shared import ANSWERS, PROBES, TARGETS, UP


def render() -> Dashboard:
    """The dashboard."""
    return board(
        "watch",
        "The watch",
        "Targets, collectors, rules and notifications: what the other dashboards rest on.",
        {
            "Targets": targets(),
            "Collectors": collectors(),
            "Probes": probes(),
            "Rules and notifications": rules(),
            "Relay": relay(),
        },
    )


def targets() -> list[Panel]:
    """What Prometheus scrapes."""
    return [
        states("Targets", "Whether each gives its metrics.", TARGETS, UP),
        series(
            "Time of a scrape",
            "By target.",
            "s",
            {"{{job}} {{instance}}": "max by (job, instance) (scrape_duration_seconds)"},
        ),
        series(
            "Memory of the programs",
            "Resident bytes.",
            "bytes",
            {"{{job}} {{instance}}": "max by (job, instance) (process_resident_memory_bytes)"},
            span=8,
        ),
        series(
            "Series",
            "That Prometheus holds.",
            "short",
            {"series": "max(prometheus_tsdb_head_series)"},
            span=8,
        ),
        series(
            "StatsD",
            "Events a second, and samples that were refused.",
            "cps",
            {
                "{{type}}": "sum by (type) (rate(statsd_exporter_events_total[5m]))",
                "refused": or_zero("sum(rate(statsd_exporter_sample_errors_total[5m]))"),
            },
            span=8,
        ),
    ]


def collectors() -> list[Panel]:
    """The exporter's own sources."""
    return [
        states(
            "Collectors of the exporter",
            "Whether each source answered.",
            {"{{collector}}": "min by (collector) (watchkeeper_collector_success)"},
            ANSWERS,
        ),
        series(
            "Time of a collector",
            "That its source took.",
            "s",
            {"{{collector}}": "max by (collector) (watchkeeper_collector_duration_seconds)"},
        ),
    ]


def probes() -> list[Panel]:
    """What the health flow asks."""
    return [
        states("Probes", "Whether each dependency answered the health flow.", PROBES, ANSWERS, span=10),
        series(
            "Time of a probe",
            "That its dependency took.",
            "s",
            {"{{probe}}": "max by (probe) (watchkeeper_probe_duration_seconds)"},
            span=8,
        ),
        series(
            "Since the probes",
            "Last ran.",
            "s",
            {"since": "time() - max(watchkeeper_probe_timestamp_seconds)"},
            [Bound("HealthStale", 3600)],
            span=6,
        ),
    ]


def rules() -> list[Panel]:
    """From a rule to a message."""
    failures = "increase(prometheus_rule_evaluation_failures_total[5m])"
    refused = "rate(prometheus_notifications_errors_total[5m])"
    lost = "rate(alertmanager_notifications_failed_total[5m])"
    theirs = "rate(grafana_alerting_notifications_failed_total[5m])"
    return [
        numbers(
            "Since the rules were evaluated",
            "Age of the dead man's sign.",
            "s",
            {"": "time() - timestamp(watchkeeper:deadman)"},
        ),
        numbers(
            "Rules that fail",
            "Evaluations over five minutes.",
            "none",
            {"": f"sum({failures})"},
            [Bound("RulesFailing", 0)],
        ),
        numbers(
            "Notifications that fail",
            "A second, from Prometheus and from Alertmanager or Grafana.",
            "cps",
            {"": or_zero(f"sum({refused} or {lost} or {theirs})")},
            [Bound("NotificationsFailing", 0)],
        ),
        numbers("Rules", "That Prometheus evaluates.", "none", {"": "sum(prometheus_rule_group_rules)"}),
        series(
            "Time of a rule group",
            "Of its newest evaluation.",
            "s",
            {"{{rule_group}}": "max by (rule_group) (prometheus_rule_group_last_duration_seconds)"},
        ),
        bars(
            "Firing alerts",
            "By name; one bar at zero where none does.",
            "none",
            {"{{alertname}}": or_zero('count by (alertname) (ALERTS{alertstate="firing"})')},
        ),
    ]


def relay() -> list[Panel]:
    """From an alert or the end of a run to somebody's screen."""
    return [
        series(
            "Messages that wait",
            "For the relay to deliver them.",
            "none",
            {"messages": "sum(watchkeeper_relay_waiting_messages)"},
            span=6,
        ),
        series(
            "Oldest that waits",
            "Since it came; zero where none waits.",
            "s",
            {"oldest": or_zero("time() - min(watchkeeper_relay_oldest_timestamp_seconds)")},
            [Bound("RelayUndelivered", 15)],
            span=6,
        ),
        bars(
            "Attempts by how they ended",
            "Since the relay began.",
            "none",
            {"{{outcome}}": "sum by (outcome) (watchkeeper_relay_messages_total)"},
            span=6,
        ),
        states(
            "Receiver",
            "Whether messages have an address to go to.",
            {"{{notifier}}": "max by (notifier) (watchkeeper_relay_receiver_info)"},
            {1: ("has an address", "green"), 0: ("only kept", "orange")},
            span=6,
        ),
    ]
