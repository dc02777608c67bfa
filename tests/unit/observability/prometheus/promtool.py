"""Cases as promtool runs them."""

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from observability.prometheus.rules import alerts
from tests.unit.observability.prometheus.cases import Case
from tests.unit.observability.prometheus.edges import Edge

ANNOTATIONS = {alert["alert"]: alert["annotations"] for alert in alerts()}


def expected(case: Case) -> dict[str, Any]:
    """A case as a test of promtool: silent a minute before it fires, and again when it clears."""
    words = {**ANNOTATIONS[case.alert], "summary": case.summary, "description": case.description}
    labels = {**case.labels, "severity": case.severity, "owner": case.owner}
    firing = [{"exp_labels": labels, "exp_annotations": words}]
    moments = {f"{case.fires - 1}m": [], f"{case.fires}m": firing, f"{case.clears}m": []}
    at = [
        {"eval_time": moment, "alertname": case.alert, "exp_alerts": alerts}
        for moment, alerts in moments.items()
    ]
    at += [{"eval_time": f"{case.fires}m", "alertname": name, "exp_alerts": []} for name in case.silent]
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    return {"interval": "1m", "input_series": series, "alert_rule_test": at}


def at_the_edge(edge: Edge) -> dict[str, Any]:
    """An edge as a test of promtool."""
    firing = f'(count(ALERTS{{alertname="{edge.alert}", alertstate="firing"}}) > bool 0) or vector(0)'
    said = {"expr": firing, "eval_time": edge.at, "exp_samples": [{"labels": "{}", "value": int(edge.fires)}]}
    series = [{"series": name, "values": values} for name, values in edge.series.items()]
    return {"interval": edge.step, "input_series": series, "promql_expr_test": [said]}


def always(record: str, value: float) -> dict[str, Any]:
    """A recorded series that is there whatever else is, as a test of promtool."""
    said = {"expr": record, "eval_time": "5m", "exp_samples": [{"labels": record, "value": value}]}
    return {"interval": "1m", "input_series": [], "promql_expr_test": [said]}


def run(
    folder: Path, rules: Iterable[Path], tests: list[dict[str, Any]], interval: str
) -> "subprocess.CompletedProcess[str]":
    """What promtool says of these rules, evaluated at an interval, and tests."""
    path = folder / "test.yml"
    path.write_text(_file(rules, tests, interval))
    return subprocess.run(
        ["promtool", "test", "rules", str(path)], capture_output=True, text=True, timeout=120
    )


def any_fails(folder: Path, rules: Iterable[Path], tests: list[tuple[str, dict[str, Any]]]) -> bool:
    """Whether one of these tests fails, each with its interval; asked one after the other until one does."""
    paths = []
    for number, (interval, one) in enumerate(tests):
        paths.append(folder / f"{number}.yml")
        paths[-1].write_text(_file(rules, [one], interval))
    command = ["promtool", "test", "rules", *map(str, paths)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if "FAILED" in line:
                process.kill()
                return True
        return process.wait() != 0


def _file(rules: Iterable[Path], tests: list[dict[str, Any]], interval: str) -> str:
    """A file of tests. Left to itself, promtool evaluates groups in an order of chance, and
    an alert about alerts (`PageWithoutRelay`) knows them an interval earlier or later."""
    paths = list(rules)
    order = [group["name"] for path in paths for group in yaml.safe_load(path.read_text())["groups"]]
    test = {
        "rule_files": [str(path) for path in paths],
        "group_eval_order": order,
        "evaluation_interval": interval,
        "tests": tests,
    }
    return yaml.safe_dump(test)
