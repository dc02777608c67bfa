"""The rules, as they lie in `rules/` in Prometheus's own format: one source for Prometheus and Grafana."""

from pathlib import Path
from typing import Any

import yaml

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
