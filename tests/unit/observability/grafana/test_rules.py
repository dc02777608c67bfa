"""A rule of Prometheus fires in Grafana where it fires in Prometheus, and says the same."""

import math
import re
from typing import Any

import pytest

from observability.config import ObservabilitySettings
from observability.grafana.rules import SECONDS, converted, rewritten, rule
from observability.prometheus.rules import alerts, rendered

RULES = converted(rendered(ObservabilitySettings.model_construct()))
BY_TITLE = {each["title"]: each for each in RULES}


def fires(grafana: dict[str, Any], value: float) -> bool:
    """What Grafana's expressions make of a sample: a function is one or zero, `||` one where either is."""
    query, calculation, threshold = grafana["data"]
    assert calculation["model"]["expression"].count("$query") == 3
    functions = {
        "is_number": lambda number: not math.isnan(number) and not math.isinf(number),
        "is_nan": math.isnan,
        "is_inf": math.isinf,
    }
    python = calculation["model"]["expression"].replace("||", "or").replace(f"${query['refId']}", "value")
    result = float(eval(python, {"__builtins__": {}}, functions | {"value": value}))
    assert threshold["model"]["expression"] == calculation["refId"]
    assert grafana["condition"] == threshold["refId"]
    (condition,) = threshold["model"]["conditions"]
    assert condition["evaluator"]["type"] == "gt"
    return bool(result > condition["evaluator"]["params"][0])


@pytest.mark.parametrize("value", [0.0, -1.0, 0.03, 7776001.0, math.nan, math.inf, -math.inf])
def test_a_rule_fires_on_any_sample(value: float) -> None:
    assert all(fires(each, value) for each in RULES)


def test_a_service_that_is_down_has_the_value_zero_and_fires() -> None:
    assert BY_TITLE["ServiceDown"]["data"][0]["model"]["expr"] == 'up{job="serve"} == 0'
    assert fires(BY_TITLE["ServiceDown"], 0.0)


def test_an_empty_answer_is_well_and_an_error_is_none_of_it() -> None:
    assert {each["noDataState"] for each in RULES} == {"OK"}
    assert {each["execErrState"] for each in RULES} == {"Error"}


def test_the_query_is_asked_at_one_moment_of_our_data_source() -> None:
    for each in RULES:
        query, *expressions = each["data"]
        assert query["datasourceUid"] == query["model"]["datasource"]["uid"] == "prometheus"
        assert query["model"]["instant"]
        assert not query["model"]["range"]
        assert {one["datasourceUid"] for one in expressions} == {"__expr__"}


def test_every_alert_is_there_with_its_labels_and_its_patience() -> None:
    assert len(RULES) == len(alerts())
    for alert in alerts():
        grafana = BY_TITLE[alert["alert"]]
        assert grafana["labels"] == alert["labels"]
        assert grafana["for"] == alert.get("for", "0s")


def test_uids_are_unique_and_short_enough() -> None:
    uids = [each["uid"] for each in RULES]
    assert len(set(uids)) == len(uids)
    assert all(re.fullmatch(r"watchkeeper-[a-zA-Z]{1,28}", each) for each in uids)


def test_an_interval_is_one_that_grafana_takes() -> None:
    assert SECONDS % 10 == 0


@pytest.mark.parametrize(
    ("prometheus", "grafana"),
    [
        (
            "{{ $value | humanize }} runs",
            "{{ if $values.query }}{{ $values.query.Value | humanize }}{{ end }} runs",
        ),
        ("{{$value}}", "{{ if $values.query }}{{$values.query.Value}}{{ end }}"),
        ("{{ $labels.value }} at $value", "{{ $labels.value }} at $value"),
        (
            '{{ $labels.a }}: {{ printf "%.1f" $value }}',
            '{{ $labels.a }}: {{ if $values.query }}{{ printf "%.1f" $values.query.Value }}{{ end }}',
        ),
        ("{{ $values.query.Value }}", "{{ $values.query.Value }}"),
    ],
)
def test_the_value_is_the_querys(prometheus: str, grafana: str) -> None:
    assert rewritten(prometheus) == grafana


def test_annotations_have_their_links_and_no_bare_value() -> None:
    for each in RULES:
        assert set(each["annotations"]) == {"summary", "description", "runbook_url", "dashboard_url"}
        assert not re.search(r"\$value\b", " ".join(each["annotations"].values()))


def test_what_is_said_of_a_value_is_said_where_there_is_one() -> None:
    said = " ".join(text for each in RULES for text in each["annotations"].values())
    asked = re.findall(r"{{ if \$values\.query }}{{[^{}]*\$values\.query\.Value[^{}]*}}{{ end }}", said)
    assert 0 < len(asked) == said.count("$values.query.Value")


def test_recording_rules_stay_in_prometheus() -> None:
    recorded = {"record": "a:b", "expr": "vector(1)"}
    said = {"alert": "A", "expr": "a:b", "labels": {"severity": "info"}, "annotations": {}}
    made = converted([{"name": "group", "rules": [recorded, said]}])
    assert made == [rule("group", said)]
    assert made[0]["for"] == "0s"
