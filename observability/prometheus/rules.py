"""The rules, as they lie in `rules/` in Prometheus's own format: one source for Prometheus and Grafana."""

import re
from pathlib import Path
from typing import Any

import yaml

from observability.config import ObservabilitySettings

FOLDER = Path(__file__).with_name("rules")
SEVERITIES = {
    "page": "Somebody is woken: users are harmed now, or will be within hours.",
    "ticket": "Somebody looks within a working day.",
    "info": "Nobody has to do anything.",
}
"""What an alert's severity asks for."""


def groups() -> list[dict[str, Any]]:
    """Every group of every file."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yml"))]
    return [group for file in files for group in file["groups"]]


def alerts() -> list[dict[str, Any]]:
    """Every alerting rule."""
    return [rule for group in groups() for rule in group["rules"] if "alert" in rule]


SHORTEST_WINDOW = 15.0
"""Seconds: a window has to hold at least two samples that are 5 s apart, and a late one."""
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def rendered(settings: ObservabilitySettings, pace: float = 1.0) -> list[dict[str, Any]]:
    """The groups as they are installed: with links, and `pace` times as fast.

    Args:
        settings: where runbooks and dashboards are.
        pace: every `for` and every window is divided by it; a window keeps `SHORTEST_WINDOW`.
    """
    found = groups()
    for rule in (rule for group in found for rule in group["rules"]):
        rule["expr"] = re.sub(
            r"\[(\d+[smhd])\]", lambda at: f"[{quicker(at[1], pace, SHORTEST_WINDOW)}]", rule["expr"]
        )
        if "for" in rule:
            rule["for"] = quicker(rule["for"], pace)
        if "alert" in rule:
            said = rule["annotations"]
            said["dashboard_url"] = f"{settings.grafana_url}/d/{uid(said.pop('dashboard'))}"
            said["runbook_url"] = f"{settings.runbook_url}/{rule['alert']}.md"
    return found


def uid(dashboard: str) -> str:
    """Grafana's name of a dashboard."""
    return f"watchkeeper-{dashboard}"


def quicker(duration: str, pace: float, least: float = 0.0) -> str:
    """A duration of Prometheus, divided; as it stands where the pace is 1."""
    if pace == 1:
        return duration
    seconds = int(duration[:-1]) * SECONDS[duration[-1]]
    return f"{max(min(seconds, least), seconds / pace) * 1000:.0f}ms"
