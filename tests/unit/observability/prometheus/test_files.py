"""What Prometheus and Alertmanager are given: the same rules at any pace, targets by file, secrets apart."""

import copy
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from pydantic import SecretStr

from observability.config import ObservabilitySettings
from observability.prometheus import files
from observability.prometheus.rules import SECONDS, groups, rendered
from tests.everything import EVERYTHING

PACE = 360
SECRET = "hooks.example/T0/B0/word"
TARGETS = {"node": "127.0.0.1:9100", "exporter": "127.0.0.1:9877", "serve": "127.0.0.1:3000"}
checked = pytest.mark.skipif(
    shutil.which("promtool") is None and not EVERYTHING,
    reason="promtool is not on this machine (apt-get install prometheus)",
)


@pytest.fixture
def settings() -> ObservabilitySettings:
    return ObservabilitySettings(_env_file=None, slack_webhook=SecretStr(f"https://{SECRET}"))  # type: ignore[call-arg]


def test_as_shipped_only_links_are_added(settings: ObservabilitySettings) -> None:
    for source, shipped in zip(groups(), rendered(settings), strict=True):
        for rule, installed in zip(source["rules"], shipped["rules"], strict=True):
            if "alert" in rule:
                said = installed["annotations"]
                assert said.pop("runbook_url") == f"{settings.runbook_url}/{rule['alert']}.md"
                assert said.pop("dashboard_url").endswith(
                    f"/d/watchkeeper-{rule['annotations'].pop('dashboard')}"
                )
            assert installed == rule


def test_the_fast_profile_differs_in_durations_only(settings: ObservabilitySettings) -> None:
    shipped, fast = rendered(settings), rendered(settings, PACE)
    for group, quick in zip(shipped, fast, strict=True):
        for rule, installed in zip(group["rules"], quick["rules"], strict=True):
            windows = re.findall(r"\[(\w+)\]", rule["expr"])
            quickened = re.findall(r"\[(\w+)\]", installed["expr"])
            for slow, soon in zip(windows, quickened, strict=True):
                assert milliseconds(soon) == max(milliseconds(slow) / PACE, 15_000)
            if "for" in rule:
                assert milliseconds(installed.pop("for")) == pytest.approx(
                    milliseconds(rule.pop("for")) / PACE, 0.01
                )
            blank = re.compile(r"\[\w+\]")
            rule["expr"], installed["expr"] = (
                blank.sub("[]", rule["expr"]),
                blank.sub("[]", installed["expr"]),
            )
            assert installed == rule
    for slow, soon in (
        (files.alertmanager(settings, Path("url")), files.alertmanager(settings, Path("url"), PACE)),
        (files.prometheus(settings, {}), files.prometheus(settings, {}, PACE)),
    ):
        assert slow != soon
        assert without_durations(slow) == without_durations(soon)


@pytest.mark.parametrize("pace", [1.0, PACE])
def test_every_expression_is_promql_at_any_pace(settings: ObservabilitySettings, pace: float) -> None:
    for group in rendered(settings, pace):
        for rule in group["rules"]:
            promql_parser.parse(rule["expr"])


@checked
def test_prometheus_and_alertmanager_take_what_is_written(
    settings: ObservabilitySettings, tmp_path: Path
) -> None:
    settings.ec2_region = "eu-west-1"
    files.write(tmp_path, settings, TARGETS, {"serve": SecretStr("a word")})
    for command in (
        ["promtool", "check", "config", "prometheus.yml"],
        ["amtool", "check-config", "alertmanager.yml"],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_secrets_are_in_files_of_their_own(settings: ObservabilitySettings, tmp_path: Path) -> None:
    files.write(tmp_path, settings, TARGETS, {"serve": SecretStr("a word")})
    files.write(tmp_path, settings, TARGETS, {"serve": SecretStr("a word")})
    holding = {path.name for path in tmp_path.rglob("*") if path.is_file() and SECRET in path.read_text()}
    assert holding == {"slack.url"}
    for name in ("slack.url", "serve.token"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_users_own_targets_stay(settings: ObservabilitySettings, tmp_path: Path) -> None:
    files.write(tmp_path, settings, TARGETS, {})
    own = tmp_path / "targets" / "node-etl.yml"
    own.write_text("- targets: [10.0.0.7:9100]\n")
    files.write(tmp_path, settings, {}, {})
    assert own.exists()
    assert yaml.safe_load((tmp_path / "targets" / "node.yml").read_text()) == []


def milliseconds(duration: str) -> float:
    """Of Prometheus's notation."""
    if duration.endswith("ms"):
        return float(duration[:-2])
    return float(duration[:-1]) * SECONDS[duration[-1]] * 1000


def without_durations(config: dict[str, Any]) -> str:
    """A configuration's text with every duration that the pace may change left out."""
    config = copy.deepcopy(config)
    for place in (config.get("global", {}), config.get("route", {})):
        for name in (
            "scrape_interval",
            "scrape_timeout",
            "evaluation_interval",
            "group_wait",
            "group_interval",
        ):
            place.pop(name, None)
    return yaml.safe_dump(config)
