"""The dashboards are what Grafana's own types say, complete, and of one mind with the alert rules."""

import json
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from observability.grafana.dashboards import dashboards
from observability.grafana.dashboards.panels import LEAST, Bound, series
from observability.grafana.difference import differences
from observability.prometheus.rules import alerts, groups, uid

TYPES = {"timeseries", "stat", "table", "bargauge", "heatmap", "state-timeline"}
"""Of panels, as Grafana 10 to 12 share them; none fetches anything from outside."""
TITLES = {
    "watchkeeper-overview": "Overview: is anything wrong, in one glance",
    "watchkeeper-pipelines": "Pipelines and data",
    "watchkeeper-model": "Model and drift",
    "watchkeeper-serving": "Serving",
    "watchkeeper-nodes": "Nodes",
    "watchkeeper-watch": "The watch",
}
BOARDS = {board["uid"]: board for board in dashboards()}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
ALERTS = {alert["alert"]: alert for alert in alerts()}
RECORDED = {rule["record"]: rule["expr"] for group in groups() for rule in group["rules"] if "record" in rule}


def test_there_are_the_six() -> None:
    assert {name: board["title"] for name, board in BOARDS.items()} == TITLES


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board["uid"])
def test_grafanas_own_types_read_a_dashboard_and_write_the_same(board: dict[str, Any]) -> None:
    plugins.register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    assert list(differences(again, board)) == []


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board["uid"])
def test_panels_have_numbers_and_fill_their_rows(board: dict[str, Any]) -> None:
    assert [panel["id"] for panel in board["panels"]] == list(range(1, len(board["panels"]) + 1))
    lines: dict[int, int] = {}
    heights: dict[int, set[int]] = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        lines[place["y"]] = lines.get(place["y"], 0) + place["w"]
        heights.setdefault(place["y"], set()).add(place["h"])
    assert set(lines.values()) == {24}
    assert all(len(each) == 1 for each in heights.values()), "a gap below the lower ones"


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_and_in_what_unit(panel: dict[str, Any]) -> None:
    assert panel["type"] in TYPES
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}
    assert panel["targets"]
    if panel["type"] in ("timeseries", "bargauge", "state-timeline"):
        assert all(target.get("legendFormat") for target in panel["targets"])


@pytest.mark.parametrize("panel", PANELS)
def test_a_panels_thresholds_are_the_rules(panel: dict[str, Any]) -> None:
    named = [alert for alert in ALERTS if f": {alert}." in panel["description"]]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    bounds = {step["value"] for step in steps} - {None, LEAST, 0, 1}
    if not named:
        assert len(steps) == 1 or panel["title"].startswith("Alerts: ")
    assert bounds <= {number for alert in named for number in numbers(ALERTS[alert]["expr"])}


def numbers(query: str) -> set[float]:
    """That a query names, and the recordings that it reads."""
    found: set[float] = set()

    def see(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.NumberLiteral):
            found.add(node.val)
        if isinstance(node, promql_parser.VectorSelector) and node.name in RECORDED:
            found.update(numbers(RECORDED[node.name]))

    promql_parser.walk(promql_parser.parse(query), see)
    return found


def test_a_value_has_the_colour_of_the_alert_that_fires_there() -> None:
    bounds = [Bound("TableRowsUnusual", 3), Bound("NodeDiskFull", 0.05, below=True), Bound("RulesFailing", 0)]
    panel = series("title", "Says.", "s", {"a": "b"}, [*bounds, Bound("RulesFailing", 0.5)]).build()
    assert panel.field_config
    thresholds = panel.field_config.defaults.thresholds
    assert thresholds
    assert [(step.value, step.color) for step in thresholds.steps] == [
        (None, "red"),
        (0.05, "green"),
        (LEAST, "red"),
        (0.5, "red"),
        (3, "orange"),
    ]
    assert panel.description == "Says. Orange: TableRowsUnusual. Red: NodeDiskFull. Red: RulesFailing."


def test_every_alert_links_to_a_dashboard_that_there_is() -> None:
    assert {uid(alert["annotations"]["dashboard"]) for alert in ALERTS.values()} <= set(BOARDS)
