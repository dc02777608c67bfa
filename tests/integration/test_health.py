"""`task health` on a home of its own: what is there is asked, what is not is skipped, what fails is said."""

import json
import subprocess
import sys

import pytest

from flows.config import CHECKOUT, Settings
from tests.factories import environment_of
from tests.slack import SECRETS, Reply, fake_slack

pytestmark = pytest.mark.timeout(500)


def test_a_home_in_good_order_and_then_without_its_webhook_and_store(settings: Settings) -> None:
    with fake_slack() as slack:
        ended = health(settings, WATCHKEEPER_SLACK_WEBHOOK=slack.url)
        assert slack.taken == []
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert outcomes(settings) == {
        "prefect": "good",
        "tables": "good",
        "store": "good",
        "serve": "skipped",
        "statsd": "skipped",
        "prometheus": "skipped",
        "grafana": "skipped",
        "receiver": "good",
    }
    (settings.home / "staging").rmdir()
    (settings.home / "staging").touch()
    with fake_slack(lambda: Reply(404, "no_service")) as slack:
        ended = health(settings, WATCHKEEPER_SLACK_WEBHOOK=slack.url)
    assert ended.returncode == 1
    failing = {name for name, outcome in outcomes(settings).items() if outcome == "failing"}
    assert failing == {"store", "receiver"}
    assert "Slack answers 404" in ended.stdout
    assert str(settings.home / "staging") in ended.stdout
    assert not [secret for secret in SECRETS if secret in ended.stdout + ended.stderr]


def health(settings: Settings, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "flows.health"],
        cwd=CHECKOUT,
        env=environment_of(settings, **more),
        capture_output=True,
        text=True,
        timeout=240,
    )


def outcomes(settings: Settings) -> dict[str, str]:
    kept = json.loads((settings.run / "health.json").read_text())
    return {each["probe"]: each["outcome"] for each in kept["results"]}
