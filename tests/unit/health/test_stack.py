"""What `task up` writes: places of the stack, logins for all, passwords made once and seen by nobody else."""

import stat
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import yaml
from dotenv import dotenv_values
from pydantic import SecretStr

from flows.config import Settings
from flows.health import stack
from observability.config import USER
from tests.factories import settings_of

WEBHOOK = "https://hooks.example/T0/it's $WORD"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a host that has settings of its own."""
    return settings_of(
        tmp_path / "home",
        slack_webhook=SecretStr(WEBHOOK),
        slack_events={"*": ["start"]},
        relay_port=4444,
        prefect_api_key=SecretStr("of another server"),
    )


def passwords(folder: Path) -> dict[str, str | None]:
    """Those of the file."""
    return dotenv_values(folder / stack.PASSWORDS, interpolate=False)


def test_passwords_are_made_once_and_are_their_owners_alone(settings: Settings) -> None:
    folder = stack.write(settings, serves=True)
    first = passwords(folder)
    assert len(set(first.values())) == len(stack.NAMES)
    assert all(len(password or "") >= 32 for password in first.values())
    assert passwords(stack.write(settings, serves=True)) == first
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in (stack.PASSWORDS, stack.COMPOSE, "settings.env", "prefect.env"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_no_secret_is_in_what_other_users_containers_read(settings: Settings) -> None:
    folder = stack.write(settings, serves=True)
    mounted = [path for name in ("prometheus", "grafana") for path in (folder / name).rglob("*")]
    text = "".join(path.read_text() for path in mounted if path.is_file())
    assert not [secret for secret in (WEBHOOK, *passwords(folder).values()) if secret and secret in text]
    assert all(path.stat().st_mode & 0o004 for path in mounted)


def test_our_containers_read_the_hosts_settings_with_the_stacks_places(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stack.write(settings, serves=True)
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text((folder / "settings.env").read_text())
    inside = Settings()
    assert inside.slack_webhook == SecretStr(WEBHOOK)
    assert inside.slack_events == {"*": ["start"]}
    assert inside.home == settings.home
    assert (inside.relay_host, inside.relay_port, inside.listen_host) == ("relay", 9876, "0.0.0.0")
    assert inside.prefect_api_key is None
    auth = f"{USER}:{passwords(folder)['WATCHKEEPER_UP_PREFECT_PASSWORD']}"
    assert inside.prefect_auth_string == SecretStr(auth)
    assert f"PREFECT_SERVER_API_AUTH_STRING='{auth}'\n" in (folder / "prefect.env").read_text()


def test_a_token_of_the_settings_is_the_services(settings: Settings) -> None:
    settings.serve_token = SecretStr("a word of mine")
    assert passwords(stack.write(settings, serves=True))["WATCHKEEPER_UP_SERVE_TOKEN"] == "a word of mine"


def test_grafana_alone_pages_and_every_login_is_known(settings: Settings) -> None:
    folder = stack.write(settings, serves=True)
    said = yaml.safe_load((folder / "prometheus" / "prometheus.yml").read_text())
    assert said["alerting"]["alertmanagers"] == []
    asked = {
        job["job_name"] for job in said["scrape_configs"] if {"basic_auth", "authorization"} & job.keys()
    }
    assert asked == {"prometheus", "grafana", "prefect", "serve"}
    (source,) = read(folder, "datasources/prometheus.yml")["datasources"]
    assert (source["url"], source["basicAuth"]) == ("http://prometheus:9090", True)
    points = read(folder, "alerting/contact-points.yml")["contactPoints"]
    assert [each["receivers"][0]["settings"]["url"] for each in points] == [
        "http://relay:9876/alerts",
        "$__file{/run/secrets/slack_webhook}",
    ]


def test_without_a_webhook_grafana_has_no_way_to_slack_that_would_keep_it_from_starting(
    tmp_path: Path,
) -> None:
    folder = stack.write(settings_of(tmp_path / "home"), serves=True)
    points = read(folder, "alerting/contact-points.yml")["contactPoints"]
    assert [each["name"] for each in points] == ["watchkeeper-relay"]


def test_prometheus_asks_for_the_password(settings: Settings) -> None:
    folder = stack.write(settings, serves=True)
    hashed = yaml.safe_load((folder / "prometheus" / "web.yml").read_text())["basic_auth_users"][USER]
    password = passwords(folder)["WATCHKEEPER_UP_PROMETHEUS_PASSWORD"]
    assert password
    assert bcrypt.checkpw(password.encode(), hashed.encode())


def test_the_service_is_a_target_once_there_is_a_champion(settings: Settings) -> None:
    for serves in (False, True):
        folder = stack.write(settings, serves)
        listed = yaml.safe_load((folder / "prometheus" / "targets" / "serve.yml").read_text())
        assert bool(listed) == serves


def test_containers_start_anew_when_and_only_when_something_changed(settings: Settings) -> None:
    first = digest(settings)
    assert digest(settings) == first
    settings.deadman_seconds = 7
    assert digest(settings) != first


def digest(settings: Settings) -> str | None:
    """What the containers' labels say of the configuration."""
    folder = stack.write(settings, serves=True)
    return dotenv_values(folder / stack.COMPOSE)["WATCHKEEPER_UP_DIGEST"]


def read(folder: Path, name: str) -> Any:
    """A file that Grafana reads."""
    return yaml.safe_load((folder / "grafana" / name).read_text())
