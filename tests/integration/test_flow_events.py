"""What Prefect's hooks tell the relay of a run: start, figures or reason, and where its log is."""

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx

from flows.server import server
from observability.slack.items import Event
from observability.slack.spool import Spool
from tests.factories import environment_of, settings_of
from tests.slack import EVENT, fake_slack


def test_a_flow_and_its_task_tell_how_they_went(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    chosen = {"told": ["start", "success", "failure"], "fetch": ["failure"]}
    Spool(settings.run / "events").keep(Event.model_validate(EVENT))
    with fake_slack(path="/events") as relay, server(settings) as url:
        environment = environment_of(
            settings,
            WATCHKEEPER_RELAY_PORT=str(relay.port),
            WATCHKEEPER_SLACK_EVENTS=json.dumps(chosen),
        )
        command = [sys.executable, "-m", "tests.integration.told_flow"]
        subprocess.run(command, env=environment, check=True, timeout=120)
        told = [(event["kind"], event["name"], event["event"]) for event in relay.taken]
        shown = httpx.get(url.removesuffix("/api"), trust_env=False, follow_redirects=True)
    assert told == [
        ("flow", "etl", "failure"),  # which the relay had missed
        ("flow", "told", "start"),
        ("flow", "told", "success"),
        ("flow", "told", "start"),
        ("task", "fetch", "failure"),
        ("flow", "told", "failure"),
    ]
    _, _, success, _, task, failure = relay.taken
    assert success["figures"] == {"rows": "12,345"}
    assert success["seconds"] > 0
    assert "OSError: the source is gone" in failure["reason"]
    assert re.fullmatch(re.escape(url.removesuffix("/api")) + "/runs/flow-run/[0-9a-f-]{36}", failure["url"])
    assert "/runs/task-run/" in task["url"]
    assert failure["url"].endswith(failure["id"])
    assert shown.is_success
