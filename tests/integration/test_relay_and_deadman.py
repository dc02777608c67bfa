"""The relay and the dead-man's watcher as their tasks start them: who falls silent is told, and once."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.factories import environment_of, free_port, settings_of, wait_until
from tests.slack import SECRETS, alert, fake_slack, group

PROMETHEUS = "PAGE firing · PrometheusSilent: Prometheus evaluates no rules"
SILENT = "PAGE firing · RelaySilent: The relay does not answer"
BACK = "PAGE resolved · RelaySilent: The relay does not answer"


@contextmanager
def process(module: str, environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", module]
    started = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def ended(process: "subprocess.Popen[str]") -> str:
    """What it said, told to end."""
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    return said


def test_who_falls_silent_is_told_once(tmp_path: Path) -> None:
    port, settings = free_port(), settings_of(tmp_path / "home")
    url = f"http://127.0.0.1:{port}"

    def healthy() -> bool:
        try:
            return httpx.get(f"{url}/healthz", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    with fake_slack() as slack:
        environment = environment_of(
            settings,
            WATCHKEEPER_RELAY_PORT=str(port),
            WATCHKEEPER_PROMETHEUS_PORT=str(free_port()),
            WATCHKEEPER_SLACK_WEBHOOK=slack.url,
            WATCHKEEPER_DEADMAN_SECONDS="4",
        )
        with process("flows.health.relay", environment) as relay:
            wait_until(healthy, "the relay")
            with process("flows.health.deadman", environment) as deadman:
                wait_until(lambda: PROMETHEUS in slack.texts(), "word of Prometheus")
                said = ended(relay)
                wait_until(lambda: SILENT in slack.texts(), "word of the relay")
                said += ended(deadman)
        with process("flows.health.deadman", environment) as deadman:
            with process("flows.health.relay", environment) as relay:
                wait_until(lambda: BACK in slack.texts(), "word of its return")
                httpx.post(f"{url}/alerts", json=group(alert(1)), trust_env=False).raise_for_status()
                wait_until(lambda: len(slack.taken) == 4, "the alert")
                said += ended(relay)
            said += ended(deadman)
    assert slack.texts() == [PROMETHEUS, SILENT, BACK, "TICKET firing · TableStale: number 1"]
    assert not [secret for secret in SECRETS if secret in said]
    assert (settings.run / "relay" / "outbox.db").exists()
