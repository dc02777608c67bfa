"""Prometheus's alerting rules as Grafana's, the way Grafana's own converter makes them.

A converted rule fires where its expression returns a sample, whatever the value: the query's result goes
through a calculation that is one for every number. Recording rules stay in Prometheus; Grafana asks for them.
"""

import json
import re
from typing import Any

from grafana_foundation_sdk.builders import alerting, expr, prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import alerting as models
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from observability.grafana.dashboards.panels import SOURCE

FOLDER = "Watchkeeper"
FOLDER_UID = "watchkeeper"
PREFIX = "watchkeeper-"
"""Of the uids and names that are ours in Grafana."""
SECONDS = 10
"""Between two evaluations: Grafana takes multiples of ten; Prometheus has 15."""
EXPRESSIONS = DataSourceRef(type_val="__expr__", uid="__expr__")
LOOKBACK = 600
"""Seconds of the query's range; an instant query uses its end."""


def converted(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The alerting rules of Prometheus's groups, in the words of Grafana's API."""
    return [rule(group["name"], each) for group in groups for each in group["rules"] if "alert" in each]


def rule(group: str, said: dict[str, Any]) -> dict[str, Any]:
    """One alerting rule of a group; what an annotation says of `$value` it says of the query's."""
    built = (
        alerting.Rule(said["alert"])
        .uid(f"{PREFIX}{said['alert']}")
        .org_id(1)
        .folder_uid(FOLDER_UID)
        .rule_group(group)
        .queries(queries(said["expr"].strip()))
        .condition("threshold")
        .no_data_state("OK")
        .exec_err_state("Error")
        .for_val(said.get("for", "0s"))
        .labels(said["labels"])
        .annotations({name: rewritten(text) for name, text in said["annotations"].items()})
        .is_paused(False)
    )
    plain: dict[str, Any] = json.loads(json.dumps(built.build(), cls=JSONEncoder))
    for query in plain["data"]:  # Grafana would add them; the typed query has no such fields
        query["model"] |= {"intervalMs": 1000, "maxDataPoints": 43200}
    return plain


def queries(promql: str) -> list[Builder[models.Query]]:
    """The three nodes: what Prometheus says, one where that is any number, and whether that is above zero."""
    asked = prometheus.Dataquery().expr(promql).instant().ref_id("query")
    asked.datasource(DataSourceRef(type_val=SOURCE, uid=SOURCE))
    number = (
        expr.TypeMath()
        .ref_id("prometheus_math")
        .datasource(EXPRESSIONS)
        .expression("is_number($query) || is_nan($query) || is_inf($query)")
    )
    above = expr.ExprTypeThresholdConditionsEvaluator().type("gt").params([0])
    threshold = (
        expr.TypeThreshold()
        .ref_id("threshold")
        .datasource(EXPRESSIONS)
        .expression("prometheus_math")
        .conditions([expr.ExprTypeThresholdConditions().evaluator(above)])
    )
    return [
        node("query", SOURCE, SOURCE, LOOKBACK, asked),
        node("prometheus_math", "math", "__expr__", 0, number),
        node("threshold", "threshold", "__expr__", 0, threshold),
    ]


def node(name: str, kind: str, source: str, lookback: int, model: Builder[Dataquery]) -> alerting.Query:
    """One node of a rule."""
    return (
        alerting.Query(name)
        .query_type(kind)
        .datasource_uid(source)
        .relative_time_range(models.RelativeTimeRange(from_val=lookback, to=0))
        .model(model)
    )


def rewritten(text: str) -> str:
    """A template of Prometheus as Grafana renders it: there `$value` is a sentence about all nodes.

    Grafana renders it too where the query has no value, since all is well or nothing is known; a function of
    nothing is an error in its log then, and the bare template in the message (`Expand` of grafana/grafana
    pkg/services/ngalert/state/template). So what is said of the value asks whether there is one.
    """
    return re.sub(r"{{.*?}}", lambda action: _of_a_value(action[0]), text)


def _of_a_value(action: str) -> str:
    said = re.sub(r"\$value\b", "$values.query.Value", action)
    return said if said == action else f"{{{{ if $values.query }}}}{said}{{{{ end }}}}"
