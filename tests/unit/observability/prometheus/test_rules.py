"""Every alert is silent just before its bound, fires just after it with these very words, and clears."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from observability.prometheus.rules import FOLDER, alerts
from tests.unit.observability.prometheus.cases import CASES, Case
from tests.versions import EVERYTHING

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None and not EVERYTHING,
    reason="promtool is not on this machine (apt-get install prometheus)",
)


def test_every_alert_has_a_case() -> None:
    assert {case.alert for case in CASES} == {alert["alert"] for alert in alerts()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_at_its_minute_and_clears(case: Case, tmp_path: Path) -> None:
    said = next(alert["annotations"] for alert in alerts() if alert["alert"] == case.alert)
    words = {**said, "summary": case.summary, "description": case.description}
    labels = {**case.labels, "severity": case.severity, "owner": case.owner}
    firing = [{"exp_labels": labels, "exp_annotations": words}]
    moments = {case.fires - 1: [], case.fires: firing, case.clears - 1: None, case.clears: []}
    at = [
        {"eval_time": f"{minute}m", "alertname": case.alert, "exp_alerts": expected}
        for minute, expected in moments.items()
        if expected is not None
    ]
    at += [{"eval_time": f"{case.fires}m", "alertname": name, "exp_alerts": []} for name in case.silent]
    done = promtool(tmp_path, case.series, at)
    assert done.returncode == 0, done.stdout + done.stderr


def promtool(
    folder: Path, series: dict[str, str], at: list[dict[str, Any]]
) -> "subprocess.CompletedProcess[str]":
    """What promtool says of these expectations."""
    test = {
        "rule_files": [str(path) for path in sorted(FOLDER.glob("*.yml"))],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": at,
            }
        ],
    }
    path = folder / "test.yml"
    path.write_text(yaml.safe_dump(test))
    return subprocess.run(
        ["promtool", "test", "rules", str(path)], capture_output=True, text=True, timeout=60
    )
