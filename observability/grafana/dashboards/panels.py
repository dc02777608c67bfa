"""The few shapes of panel that the dashboards are made of, for what Grafana 10 to 12 share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as style
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from observability.prometheus.rules import alerts, uid

SOURCE = "prometheus"
"""Uid of the data source, and its kind."""
TAG = "watchkeeper"
"""Of every dashboard: the sync knows ours by it, and the dashboards link to each other by it."""
COLOURS = {"page": "red", "ticket": "orange", "info": "yellow"}
"""Of a value that fires an alert, by its severity."""
SEVERITIES = {alert["alert"]: alert["labels"]["severity"] for alert in alerts()}
LEAST = 1e-9
"""A step of Grafana's includes its value; an alert's `> 0` does not."""

Panel = timeseries.Panel | stat.Panel | bargauge.Panel | table.Panel | statetimeline.Panel | heatmap.Panel
P = TypeVar(
    "P", timeseries.Panel, stat.Panel, bargauge.Panel, table.Panel, statetimeline.Panel, heatmap.Panel
)


@dataclass(frozen=True)
class Bound:
    """Where an alert of `rules/` fires: above the value, or below it."""

    alert: str
    at: float
    below: bool = False

    @property
    def colour(self) -> str:
        """That of the alert's severity."""
        return COLOURS[SEVERITIES[self.alert]]


def board(name: str, title: str, says: str, rows: dict[str, Sequence[Panel]]) -> models.Dashboard:
    """A dashboard of rows, each a title and its panels; panels are numbered in their order."""
    built = (
        dashboard.Dashboard(title)
        .uid(uid(name))
        .description(says)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("30s")
        .link(
            dashboard.DashboardLink("Watchkeeper")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
        )
    )
    number = 0
    for row, panels in rows.items():
        number += 1
        built.with_row(dashboard.Row(row).id(number))
        for panel in panels:
            number += 1
            built.with_panel(panel.id(number))
    return built.build()


def series(
    title: str,
    says: str,
    unit: str,
    queries: dict[str, str],
    bounds: Sequence[Bound] = (),
    span: int = 12,
) -> timeseries.Panel:
    """Lines over time.

    Args:
        queries: PromQL by the legend of its lines.
        bounds: drawn as lines.
        span: of the dashboard's 24 columns.
    """
    legend = (
        common.VizLegendOptions()
        .display_mode(style.LegendDisplayMode.TABLE)
        .placement(style.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
    )
    panel = (
        timeseries.Panel()
        .legend(legend)
        .tooltip(
            common.VizTooltipOptions().mode(style.TooltipDisplayMode.MULTI).sort(style.SortOrder.DESCENDING)
        )
        .line_width(1)
        .fill_opacity(10)
    )
    if bounds:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(style.GraphTresholdsStyleMode.LINE))
    return _filled(panel, title, says, unit, queries, bounds, span, 8)


def numbers(
    title: str, says: str, unit: str, queries: dict[str, str], bounds: Sequence[Bound] = (), span: int = 6
) -> stat.Panel:
    """Newest values, large."""
    panel = (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(style.BigValueColorMode.BACKGROUND if bounds else style.BigValueColorMode.VALUE)
        .graph_mode(style.BigValueGraphMode.NONE)
    )
    return _filled(panel, title, says, unit, queries, bounds, span, 4, instant=True)


def firing(severity: str, says: str) -> stat.Panel:
    """How many alerts of a severity fire."""
    query = f'sum(ALERTS{{alertstate="firing", severity="{severity}"}}) or vector(0)'
    steps = [models.Threshold(value=None, color="green"), models.Threshold(value=1, color=COLOURS[severity])]
    return (
        numbers(f"Alerts: {severity}", says, "none", {"": query})
        .color_mode(style.BigValueColorMode.BACKGROUND)
        .thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
    )


def bars(
    title: str, says: str, unit: str, queries: dict[str, str], bounds: Sequence[Bound] = (), span: int = 12
) -> bargauge.Panel:
    """Newest values beside each other, from zero."""
    panel = (
        bargauge.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .display_mode(style.BarGaugeDisplayMode.BASIC)
        .orientation(style.VizOrientation.HORIZONTAL)
        .min(0)
    )
    return _filled(panel, title, says, unit, queries, bounds, span, 8, instant=True)


def listing(
    title: str, says: str, query: str, value: str, unit: str = "short", span: int = 12
) -> table.Panel:
    """Newest series as rows, their labels as columns; `value` heads the last, if any."""
    tidy = {"excludeByName": {"Time": True, "Value": not value}, "renameByName": {"Value": value}}
    panel = (
        table.Panel()
        .show_header(True)
        .with_transformation(models.DataTransformerConfig(id_val="organize", options=tidy))
    )
    panel = _filled(panel, title, says, unit, {}, (), span, 8)
    return panel.with_target(_query(query, "", 0).instant().format(PromQueryFormat.TABLE))


def states(
    title: str, says: str, queries: dict[str, str], named: dict[int, tuple[str, str]], span: int = 12
) -> statetimeline.Panel:
    """What each series was, over time; `named` are a value's word and colour."""
    words = {
        str(value): models.ValueMappingResult(text=word, color=colour, index=place)
        for place, (value, (word, colour)) in enumerate(named.items())
    }
    panel = (
        statetimeline.Panel()
        .show_value(style.VisibilityMode.NEVER)
        .fill_opacity(70)
        .line_width(0)
        .mappings([models.ValueMap(options=words)])
        .legend(common.VizLegendOptions().display_mode(style.LegendDisplayMode.LIST).show_legend(True))
    )
    return _filled(panel, title, says, "none", queries, (), span, 8)


def heat(title: str, says: str, unit: str, query: str, span: int = 12) -> heatmap.Panel:
    """How a histogram's observations lie, over time; `query` gives its buckets by `le`."""
    panel = heatmap.Panel().calculate(False).show_tooltip().y_axis(heatmap.YAxisConfig().unit(unit))
    panel = _filled(panel, title, says, unit, {}, (), span, 8)
    return panel.with_target(_query(query, "{{le}}", 0).range().format(PromQueryFormat.HEATMAP))


def mean(metric: str, *labels: str) -> str:
    """Of a timing since its first, which rare events leave no window for."""
    by = ", ".join(labels)
    return f"sum by ({by}) ({metric}_sum) / sum by ({by}) ({metric}_count)"


def quantile(share: float, metric: str, *labels: str) -> str:
    """Of a histogram's last five minutes."""
    by = ", ".join([*labels, "le"])
    return f"histogram_quantile({share}, sum by ({by}) (rate({metric}_bucket[5m])))"


def or_zero(query: str) -> str:
    """The query; zero where it has no series, since the first of its events has not happened."""
    return f"({query}) or on () vector(0)"


def _filled(
    panel: P,
    title: str,
    says: str,
    unit: str,
    queries: dict[str, str],
    bounds: Sequence[Bound],
    span: int,
    height: int,
    instant: bool = False,
) -> P:
    fires = dict.fromkeys(f" {bound.colour.capitalize()}: {bound.alert}." for bound in bounds)
    panel.title(title).description(says + "".join(fires)).unit(unit).span(span).height(height)
    panel.datasource(models.DataSourceRef(type_val=SOURCE, uid=SOURCE))
    panel.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(_steps(bounds)))
    for place, (legend, query) in enumerate(queries.items()):
        asked = _query(query, legend, place)
        panel.with_target(asked.instant() if instant else asked.range())
    return panel


def _query(query: str, legend: str, place: int) -> prometheus.Dataquery:
    asked = prometheus.Dataquery().expr(query).ref_id(chr(ord("A") + place))
    return asked.legend_format(legend) if legend else asked


def _steps(bounds: Sequence[Bound]) -> list[models.Threshold]:
    """Green where nothing fires; each step begins at its value, the first below all."""
    low = sorted((bound for bound in bounds if bound.below), key=lambda bound: bound.at)
    high = sorted((bound for bound in bounds if not bound.below), key=lambda bound: bound.at)
    colours = [*(bound.colour for bound in low), "green", *(bound.colour for bound in high)]
    begins = [None, *(bound.at for bound in low), *(max(bound.at, LEAST) for bound in high)]
    return [
        models.Threshold(value=value, color=colour) for value, colour in zip(begins, colours, strict=True)
    ]
