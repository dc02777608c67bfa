"""Cases as promtool runs them."""

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from observability.prometheus.rules import alerts
from tests.unit.observability.prometheus.cases import Case

ANNOTATIONS = {alert["alert"]: alert["annotations"] for alert in alerts()}


def expected(case: Case) -> dict[str, Any]:
    """A case as a test of promtool: silent a minute before it fires, and again when it clears."""
    words = {**ANNOTATIONS[case.alert], "summary": case.summary, "description": case.description}
    labels = {**case.labels, "severity": case.severity, "owner": case.owner}
    firing = [{"exp_labels": labels, "exp_annotations": words}]
    moments = {case.fires - 1: [], case.fires: firing, case.clears: []}
    at = [
        {"eval_time": f"{minute}m", "alertname": case.alert, "exp_alerts": alerts}
        for minute, alerts in moments.items()
    ]
    at += [{"eval_time": f"{case.fires}m", "alertname": name, "exp_alerts": []} for name in case.silent]
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    return {"interval": "1m", "input_series": series, "alert_rule_test": at}


def run(
    folder: Path, rules: Iterable[Path], tests: list[dict[str, Any]]
) -> "subprocess.CompletedProcess[str]":
    """What promtool says of these rules and tests."""
    test = {"rule_files": [str(path) for path in rules], "evaluation_interval": "1m", "tests": tests}
    path = folder / "test.yml"
    path.write_text(yaml.safe_dump(test))
    return subprocess.run(
        ["promtool", "test", "rules", str(path)], capture_output=True, text=True, timeout=120
    )
