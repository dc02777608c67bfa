"""What the containers of `deployments/local/compose.yaml` are given: files below `run/up` of the home.

The passwords are made once and kept; all else is written anew each time. The folder is its owner's alone:
what containers of other users read lies in folders that are mounted by themselves.
"""

import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bcrypt
from dotenv import dotenv_values
from pydantic import SecretStr

from flows.config import Settings
from observability.config import USER, variables
from observability.grafana import provisioning
from observability.prometheus import files

PASSWORDS = "passwords.env"
COMPOSE = "compose.env"
WEB = "web.yml"
PREFIX = "WATCHKEEPER_UP_"
NAMES = ("POSTGRES_PASSWORD", "PREFECT_PASSWORD", "PROMETHEUS_PASSWORD", "GRAFANA_PASSWORD", "SERVE_TOKEN")
TARGETS = {
    "prometheus": "prometheus:9090",
    "grafana": "grafana:3000",
    "relay": "relay:9876",
    "node": "node:9100",
    "statsd": "statsd:9102",
    "exporter": "exporter:9877",
    "serve": "serve:3000",
    "prefect": "prefect:4200",
}
"""Host and port of each job of Prometheus, as compose.yaml names them."""
PORTS = ("exporter_port", "statsd_port", "prometheus_port", "relay_port", "serve_port")
"""Settings that a container has its own for: the default."""


def write(settings: Settings, serves: bool) -> Path:
    """Write all, and give the folder.

    Args:
        settings: of the host.
        serves: whether there is a champion, and so a service.
    """
    folder = settings.run / "up"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    passwords = kept_passwords(folder / PASSWORDS, settings)
    inside = settings_inside(settings, passwords)
    write_env(folder / "settings.env", variables(inside))
    write_env(folder / "prefect.env", prefect_server(passwords))
    targets = {job: at for job, at in TARGETS.items() if serves or job != "serve"}
    write_prometheus(folder / "prometheus", inside, passwords, targets)
    write_grafana(folder / "grafana", inside)
    write_env(folder / COMPOSE, compose_variables(settings, folder))
    return folder


def kept_passwords(path: Path, settings: Settings) -> dict[str, str]:
    """Those of the file, by their names in `NAMES`; what is missing is made, and kept there.

    A token of the service that the settings have goes before the file's.
    """
    there = dotenv_values(path, interpolate=False)
    kept = {name: there.get(PREFIX + name) or secrets.token_urlsafe(24) for name in NAMES}
    if settings.serve_token:
        kept["SERVE_TOKEN"] = settings.serve_token.get_secret_value()
    write_env(path, {PREFIX + name: value for name, value in kept.items()})
    return kept


def settings_inside(settings: Settings, passwords: Mapping[str, str]) -> Settings:
    """The settings that our containers read: the host's, with the places and the logins of the stack."""
    auth = f"{USER}:{passwords['PREFECT_PASSWORD']}"
    changed: dict[str, Any] = {
        "home": settings.home,
        "listen_host": "0.0.0.0",  # noqa: S104  # in a container; compose.yaml says what is published
        "serve_host": "0.0.0.0",  # noqa: S104
        "prometheus_host": "prometheus",
        "relay_host": "relay",
        "statsd_host": "statsd",
        "serve_url": "http://serve:3000",
        "grafana_api_url": "http://grafana:3000",
        "pager": "grafana",
        "prefect_api_url": "http://prefect:4200/api",
        "prefect_api_key": None,
        "prefect_auth_string": SecretStr(auth),
        "prefect_ui_url": "http://127.0.0.1:4200",
        "prometheus_password": SecretStr(passwords["PROMETHEUS_PASSWORD"]),
        "serve_token": SecretStr(passwords["SERVE_TOKEN"]),
        "contracts": Settings.model_fields["contracts"].default,
    }
    changed |= {name: Settings.model_fields[name].default for name in PORTS}
    if "runbook_url" not in settings.model_fields_set:
        changed["runbook_url"] = "http://127.0.0.1:9090/user"
    inside = settings.model_copy(update=changed)
    inside.model_fields_set.difference_update({"contracts", *PORTS})
    return inside


def prefect_server(passwords: Mapping[str, str]) -> dict[str, str]:
    """What Prefect's server reads: its database, and the login that it asks for."""
    database = f"postgresql+asyncpg://prefect:{passwords['POSTGRES_PASSWORD']}@postgres:5432/prefect"
    return {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        "PREFECT_SERVER_API_AUTH_STRING": f"{USER}:{passwords['PREFECT_PASSWORD']}",
    }


def write_prometheus(
    folder: Path, inside: Settings, passwords: Mapping[str, str], targets: Mapping[str, str]
) -> None:
    """Prometheus's folder: what it scrapes and by which logins, and the login that it asks for itself."""
    logins = {
        "prometheus": basic("prometheus_password"),
        "grafana": basic("prometheus_password"),
        "prefect": basic("prefect_password"),
        "serve": {"authorization": {"credentials_file": secret("serve_token")}},
    }
    files.write_prometheus(folder, inside, targets, logins)
    files.write_yaml(folder / "client.yml", basic("prometheus_password"))
    hashed = bcrypt.hashpw(passwords["PROMETHEUS_PASSWORD"].encode(), bcrypt.gensalt(rounds=10)).decode()
    files.write_yaml(folder / WEB, {"basic_auth_users": {USER: hashed}})
    readable(folder)


def write_grafana(folder: Path, inside: Settings) -> None:
    """Grafana's provisioning folder; Grafana itself reads the secrets, which are in no file of it."""
    slack = f"$__file{{{secret('slack_webhook')}}}" if inside.slack_webhook else None
    password = f"$__file{{{secret('prometheus_password')}}}"
    for name, text in provisioning.files(inside, slack, password).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    readable(folder)


def compose_variables(settings: Settings, folder: Path) -> dict[str, str]:
    """What compose.yaml asks for, the passwords aside; the digest is of what was written before."""
    webhook = settings.slack_webhook
    # A password's hash is another each time, and read anew at each request.
    written = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (COMPOSE, WEB))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in written)).hexdigest()
    said = {
        "HOME": str(settings.home),
        "FOLDER": str(folder),
        "UID": str(os.getuid()),
        "GID": str(os.getgid()),
        "GRAFANA_URL": settings.grafana_url,
        "SLACK_WEBHOOK": webhook.get_secret_value() if webhook else "",
        "DIGEST": digest[:16],
    }
    return {PREFIX + name: value for name, value in said.items()}


def secret(name: str) -> str:
    """Where a container finds it."""
    return f"/run/secrets/{name}"


def basic(password: str) -> dict[str, Any]:
    """A login as Prometheus writes it."""
    return {"basic_auth": {"username": USER, "password_file": secret(password)}}


def readable(folder: Path) -> None:
    """For the containers' own users, whatever the umask is."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """Variables in a file that only its owner can read, as Compose and python-dotenv both read it."""
    quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in values.items()}
    lines = [f"{name}='{value}'\n" for name, value in sorted(quoted.items())]
    files.write_secret(path, SecretStr("".join(lines)))
