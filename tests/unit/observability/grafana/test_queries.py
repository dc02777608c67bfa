"""Every metric is used, and every metric that is used is there: PromQL is parsed, not matched."""

from typing import Any

import promql_parser
import pytest

from observability.grafana.dashboards import dashboards
from observability.metrics import METRICS
from observability.prometheus.rules import groups

THEIRS = (
    "node_",
    "bentoml_",
    "prometheus_",
    "alertmanager_",
    "grafana_alerting_",
    "statsd_exporter_",
    "process_",
    "scrape_",
)
"""Beginnings of the names of node-exporter, BentoML, Prometheus itself, and what it scrapes."""
PROMETHEUS_OWN = {"up", "ALERTS"}

RULES: list[dict[str, Any]] = [rule for group in groups() for rule in group["rules"]]
PANELS = [panel for board in dashboards() for panel in board["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
SERIES = {
    metric.name: [f"{metric.name}_{part}" for part in ("bucket", "sum", "count")]
    if metric.kind in ("histogram", "timing")
    else [metric.name]
    for metric in METRICS
}


def selectors(query: str) -> dict[str, str]:
    """What a query selects, as PromQL, and the series' name of each."""
    found: dict[str, str] = {}

    def see(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            assert node.name, query
            found[node.prettify()] = node.name

    promql_parser.walk(promql_parser.parse(query), see)
    return found


def names(query: str) -> set[str]:
    """Of the series that a query reads."""
    return set(selectors(query).values())


def used(queries: list[str]) -> set[str]:
    return {name for query in queries for name in names(query)}


def test_every_metric_is_on_a_panel_or_in_a_rule() -> None:
    seen = used(QUERIES + [rule["expr"] for rule in RULES])
    assert [name for name, series in SERIES.items() if not seen & set(series)] == []


def test_every_recorded_series_is_on_a_panel_or_in_an_alert() -> None:
    assert used(QUERIES + [rule["expr"] for rule in RULES if "alert" in rule]) >= RECORDED


@pytest.mark.parametrize("query", sorted(set(QUERIES + [rule["expr"] for rule in RULES])))
def test_what_a_query_reads_is_declared_recorded_or_known_to_be_anothers(query: str) -> None:
    ours = RECORDED | {name for series in SERIES.values() for name in series} | PROMETHEUS_OWN
    assert [name for name in names(query) - ours if not name.startswith(THEIRS)] == []


def test_a_query_can_be_executed_as_it_stands() -> None:
    assert not [query for query in QUERIES if "$" in query]
