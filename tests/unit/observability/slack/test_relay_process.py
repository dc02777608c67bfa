"""The relay as a process: it delivers, ends at a word, and keeps its secret; a wrong setting is one line."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from flows.config import CHECKOUT
from observability.config import ObservabilitySettings
from observability.errors import WatchkeeperError
from observability.slack.delivery import Delivery
from observability.slack.outbox import Outbox
from observability.slack.relay import serve
from observability.slack.spool import Spool
from tests.factories import free_port, wait_until
from tests.slack import EVENT, SECRETS, Reply, fake_slack


@contextmanager
def process(folder: Path, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """The relay as `python -m` starts it."""
    ours = {f"WATCHKEEPER_{name.upper()}": value for name, value in settings.items()}
    started = subprocess.Popen(
        [sys.executable, "-m", "observability.slack.relay", "--state", str(folder)],
        env=os.environ | ours,
        cwd=CHECKOUT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).is_success
    except httpx.HTTPError:
        return False


def test_as_a_process_it_delivers_ends_at_a_word_and_never_says_its_secret(tmp_path: Path) -> None:
    port, said = free_port(), Reply(404, "no_service")
    url = f"http://127.0.0.1:{port}"
    with fake_slack(lambda: said) as slack:
        with process(tmp_path, relay_port=str(port), slack_webhook=slack.url) as running:
            wait_until(lambda: ready(url), "the relay")
            event = EVENT | {"when": datetime.now(UTC).isoformat()}
            assert httpx.post(f"{url}/events", json=event, trust_env=False).status_code == 200
            wait_until(lambda: len(slack.paths) == 1, "an attempt")
            command = Path(f"/proc/{running.pid}/cmdline").read_text()
            metrics = httpx.get(f"{url}/metrics", trust_env=False).text
            running.send_signal(signal.SIGTERM)
            _, log = running.communicate(timeout=30)
            assert running.returncode == 0
        said = Reply()
        with process(tmp_path, relay_port=str(port), slack_webhook=slack.url) as running:
            wait_until(lambda: bool(slack.taken), "the message that was kept")
    assert slack.texts() == ["Flow etl failed after 0s · etl-hm"]
    assert "messages wait: 404 no_service; trying on" in log
    assert not [secret for secret in SECRETS for text in (command, metrics, log) if secret in text]


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        (
            "slack_webhook",
            "hooks/T0SECRET",
            "error: WATCHKEEPER_SLACK_WEBHOOK is no http address; copy it anew\n",
        ),
        (
            "notifier",
            "pigeon",
            "error: setting WATCHKEEPER_NOTIFIER: Input should be 'slack', 'discord' or 'ema",
        ),
        (
            "slack_events",
            "{'*': []}",
            'error: setting that is no JSON: error parsing value for field "slack_ev',
        ),
    ],
)
def test_a_setting_that_is_wrong_is_one_line(tmp_path: Path, setting: str, value: str, said: str) -> None:
    with process(tmp_path, relay_port=str(free_port()), **{setting: value}) as running:
        _, log = running.communicate(timeout=30)
    assert running.returncode == 2
    assert log.startswith(said)
    assert log.count("\n") == 1
    assert "T0SECRET" not in log


def test_a_port_that_is_taken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as other, closing(Outbox(tmp_path)) as outbox:
        port = other.getsockname()[1]
        settings = ObservabilitySettings(_env_file=None, relay_port=port)  # type: ignore[call-arg]
        with pytest.raises(WatchkeeperError, match=f"127.0.0.1 port {port}: Address already in use; set "):
            serve(settings, Delivery(outbox, None), Spool(tmp_path / "events"))
