"""What `task up` writes, given to the programs that read it: Compose, Prometheus, Prefect's server."""

import base64
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml
from dotenv import dotenv_values
from pydantic import SecretStr

from flows.config import CHECKOUT, Settings
from flows.errors import WatchkeeperError
from flows.health import stack, up
from flows.health.collectors import Runs
from flows.prefect_env import NO_TRACKING
from observability.config import USER, variables
from observability.prometheus import files
from tests.factories import environment_of, free_port, settings_of, wait_until
from tests.stack.programs import PATH, needs, running

RUNBOOKS = CHECKOUT / "observability" / "runbooks"
METHODS = {"/flows/count": "POST", "/metrics": "GET"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path / "home", slack_webhook=SecretStr("https://hooks.example/it's $WORD"))


@needs("docker-compose")
def test_compose_takes_it_and_shows_no_secret(settings: Settings) -> None:
    folder = stack.write(settings, serves=True)
    program = shutil.which("docker-compose", path=PATH)
    assert program

    def said(*command: str) -> str:
        done = subprocess.run(
            [program, *up.arguments(folder), "--profile", "serve", *command],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    shown = said("config")
    assert set(yaml.safe_load(shown)["services"]) == set(yaml.safe_load(up.FILE.read_text())["services"])
    secrets = [*dotenv_values(folder / stack.PASSWORDS, interpolate=False).values(), "hooks.example"]
    assert not [secret for secret in secrets if secret is None or secret in shown]
    # What it makes the secrets of.
    assert "WATCHKEEPER_UP_SLACK_WEBHOOK=https://hooks.example/it's $WORD\n" in said(
        "config", "--environment"
    )


@needs("prometheus", "promtool")
def test_prometheus_asks_for_its_login_and_shows_the_runbooks_behind_it(
    settings: Settings, tmp_path: Path
) -> None:
    folder = stack.write(settings, serves=True)
    config, secrets = folder / "prometheus", tmp_path / "secrets"
    secrets.mkdir()
    passwords = dotenv_values(folder / stack.PASSWORDS, interpolate=False)
    for name in ("prometheus_password", "prefect_password", "serve_token"):
        (secrets / name).write_text(passwords[stack.PREFIX + name.upper()] or "")
    text = (config / "prometheus.yml").read_text().replace("/run/secrets", str(secrets))
    (config / "prometheus.yml").write_text(text)
    for check in (["check", "config", "prometheus.yml"], ["check", "web-config", "web.yml"]):
        done = subprocess.run(["promtool", *check], cwd=config, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        f"--config.file={config / 'prometheus.yml'}",
        f"--web.config.file={config / 'web.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        f"--web.user-assets={RUNBOOKS}",
    ]
    login = (USER, passwords["WATCHKEEPER_UP_PROMETHEUS_PASSWORD"] or "")
    with running(command, f"{url}/-/ready", tmp_path / "prometheus.log", headers=basic(*login)):
        for page in ("/graph", "/-/healthy", "/metrics", "/user/RelayDown.md"):
            assert httpx.get(url + page, trust_env=False).status_code == 401
        told = httpx.get(f"{url}/user/RelayDown.md", auth=login, trust_env=False)
        assert told.text == (RUNBOOKS / "RelayDown.md").read_text()
        assert told.headers["content-type"].startswith("text/")
        wanted = {f"http://{at}{files.PATHS.get(job, '/metrics')}" for job, at in stack.TARGETS.items()}

        def found() -> set[str]:
            targets = httpx.get(f"{url}/api/v1/targets", auth=login, trust_env=False).json()["data"]
            return {each["scrapeUrl"] for each in targets["activeTargets"]}

        wait_until(lambda: found() == wanted, "the targets")
        alertmanagers = httpx.get(f"{url}/api/v1/alertmanagers", auth=login, trust_env=False).json()
        assert alertmanagers["data"]["activeAlertmanagers"] == []


def test_prefects_server_asks_for_its_login_and_ours_know_it(settings: Settings, tmp_path: Path) -> None:
    folder, port = stack.write(settings, serves=True), free_port()
    passwords = {"POSTGRES_PASSWORD": "", "PREFECT_PASSWORD": "a word"}
    said = stack.prefect_server(passwords)
    database = said["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
    assert database == "postgresql+asyncpg://prefect:@postgres:5432/prefect"
    said["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{tmp_path}/prefect.db"
    stack.write_env(folder / ".env", said)
    command = ["env", f"--chdir={folder}", sys.executable, "-m", "prefect", "server", "start"]
    environment = {
        **NO_TRACKING,
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_SERVER_METRICS_ENABLED": "true",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(tmp_path / "ui"),
    }
    url = f"http://127.0.0.1:{port}/api"
    inside = stack.settings_inside(settings, {**dict.fromkeys(stack.NAMES, ""), **passwords})
    inside.prefect_api_url = url
    with running([*command, f"--port={port}"], f"{url}/health", tmp_path / "log", environment):
        for path in ("/flows/count", "/metrics"):
            assert httpx.request(METHODS[path], url + path, trust_env=False).status_code == 401
        login = (USER, "a word")  # as Prometheus has it
        assert httpx.get(f"{url}/metrics", auth=login, trust_env=False).status_code == 200
        assert list(Runs(inside).collect()) == []
        there = url.replace("http://", "http://me:a-password@")
        outside = inside.model_copy(update={"prefect_auth_string": None, "prefect_api_url": there})
        with pytest.raises(
            WatchkeeperError, match="the Prefect server answers 401 to /flows/filter"
        ) as refused:
            list(Runs(outside).collect())
        assert "a-password" not in str(refused.value)
        listed = [sys.executable, "-m", "flows.prefect_cli", "work-pool", "ls"]
        done = subprocess.run(
            listed,
            env=environment_of(inside, **variables(inside)),
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr


def basic(user: str, password: str) -> dict[str, str]:
    """The header of a login."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
