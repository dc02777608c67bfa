"""Every alert has its runbook, and every runbook its alert."""

import re
import subprocess

import pytest

from flows.config import CHECKOUT
from observability.prometheus.rules import SEVERITIES, alerts

FOLDER = CHECKOUT / "observability" / "runbooks"
ALERTS = {alert["alert"]: alert for alert in alerts()}
SECTIONS = ["What it means", "What users notice", "Confirm", "Fix", "Silence"]


def test_alerts_and_runbooks_are_paired() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_a_runbook_has_its_parts_and_commands_that_can_be_pasted(name: str) -> None:
    text = (FOLDER / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert ALERTS[name]["labels"]["severity"] in text.split("##")[0].lower()
    confirm = text.split("## Confirm")[1].split("##")[0]
    commands = re.findall(r"```bash\n(.*?)```", confirm, re.DOTALL)
    assert commands, "nothing confirms it"
    for command in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        assert not re.search(r"<[a-z]", command), "a placeholder cannot be pasted"
        subprocess.run(["bash", "-n"], input=command, text=True, check=True, timeout=10)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_who_what_and_how_bad(name: str) -> None:
    alert = ALERTS[name]
    assert set(alert["labels"]) == {"severity", "owner"}
    assert alert["labels"]["severity"] in SEVERITIES
    assert alert["labels"]["owner"] in ("platform", "data", "ml")
    assert set(alert["annotations"]) == {"summary", "description", "dashboard"}
    assert alert["annotations"]["dashboard"] in (
        "overview",
        "pipelines",
        "model",
        "serving",
        "nodes",
        "watch",
    )


def test_every_task_that_a_runbook_names_exists() -> None:
    tasks = set(re.findall(r"^  ([a-z:]+):$", (CHECKOUT / "Taskfile.yml").read_text(), re.MULTILINE))
    for path in FOLDER.glob("*.md"):
        named = set(re.findall(r"\./task ([a-z:]+)", path.read_text()))
        assert named <= tasks, path.name
