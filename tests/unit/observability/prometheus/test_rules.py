"""Every alert is silent just before its bound, fires just after it with these very words, and clears."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from observability.prometheus.rules import FOLDER, alerts
from tests.everything import EVERYTHING
from tests.unit.observability.prometheus import promtool
from tests.unit.observability.prometheus.bounds import ALWAYS, EVERY_EDGE
from tests.unit.observability.prometheus.cases import CASES, Case

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None and not EVERYTHING,
    reason="promtool is not on this machine (apt-get install prometheus)",
)
FILES = sorted(FOLDER.glob("*.yml"))


def read_by(alert: dict[str, Any]) -> list[Path]:
    """The files of rules that an alert can read: all would be evaluated at every step of its edges."""
    if "ALERTS" in alert["expr"]:
        return FILES
    return [path for path in FILES if f"- alert: {alert['alert']}\n" in path.read_text()]


def test_every_alert_has_a_case() -> None:
    assert {case.alert for case in CASES} == {alert["alert"] for alert in alerts()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_at_its_minute_and_clears(case: Case, tmp_path: Path) -> None:
    done = promtool.run(tmp_path, FILES, [promtool.expected(case)], "1m")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", sorted({edge.alert for edge in EVERY_EDGE}))
def test_an_alert_begins_at_its_bound_and_not_before(alert: str, tmp_path: Path) -> None:
    edges = [edge for edge in EVERY_EDGE if edge.alert == alert]
    files = read_by(next(rule for rule in alerts() if rule["alert"] == alert))
    for interval in sorted({edge.interval for edge in edges}):
        tests = [promtool.at_the_edge(edge) for edge in edges if edge.interval == interval]
        done = promtool.run(tmp_path, files, tests, interval)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("record", ALWAYS)
def test_what_the_dead_man_watcher_asks_for_is_always_there(record: str, tmp_path: Path) -> None:
    tests = [promtool.always(record, ALWAYS[record])]
    done = promtool.run(tmp_path, FILES, tests, "1m")
    assert done.returncode == 0, done.stdout + done.stderr
