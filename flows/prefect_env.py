"""Keeps Prefect inside this home: `apply_prefect_environment` comes before every `import prefect`.

It promises that a run reads and writes nothing of the user's own Prefect: not the profile, not
`~/.prefect`, not the `PREFECT_*` variables, not the `.env`, `prefect.toml` or `pyproject.toml` of
the folder the command was called from, and no server but the one chosen here. Nothing is sent to
Prefect.
"""

import base64
import contextlib
import os
import sys
import threading
from collections.abc import Mapping

from flows.config import Settings
from flows.server_record import running_server

# A new home's database takes Prefect 9 s to lay out on two idle cores, and cores are shared.
STARTUP_SECONDS = 120
# For what a run has left to send; a server that is gone must not keep a command from ending.
FLUSH_SECONDS = 10

NO_TRACKING = {
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}

QUIET = {
    # The logger's level decides what the API gets, the handler's what the console gets.
    "PREFECT_LOGGING_LEVEL": "INFO",
    # A failed flow is an ERROR with a stack trace: the command that ran it says it in one line instead.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    # No questions: there may be no one to answer, and Prefect writes the answer to a profile.
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # It binds 0.0.0.0, and a second run on this host dies of the port.
    "PREFECT_CLIENT_METRICS_ENABLED": "false",
    # It follows the user's own OTEL_EXPORTER_OTLP_ENDPOINT; our metrics go by StatsD.
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
}

# For two minutes a run asks a server again that it has reached before: on a busy machine a restart outlasts
# the minute of Prefect's own five times. A server that was never reached is given up at once.
PATIENT = {"PREFECT_CLIENT_MAX_RETRIES": "6"}


class Environment(dict[str, str]):
    """Environment variables; printed (in a log, a traceback) they show names and no values."""

    def __repr__(self) -> str:
        return f"Environment({', '.join(sorted(self))})"


def prefect_environment(settings: Settings, server_url: str | None = None) -> dict[str, str]:
    """Give the variables that tie Prefect to this home.

    Args:
        settings: a shared server named in them goes before every other.
        server_url: API URL of the home's own server, if it runs; else Prefect embeds one.
    """
    return Environment(_folders(settings) | NO_TRACKING | QUIET | PATIENT | _api(settings, server_url))


def isolated_environment(
    environ: Mapping[str, str], settings: Settings, server_url: str | None = None
) -> dict[str, str]:
    """Give `environ` for a process of ours: the user's `PREFECT_*` gone, this home's instead."""
    # In any case, since Prefect reads them so: `prefect_api_url` counts like `PREFECT_API_URL`.
    kept = {name: environ[name] for name in environ if not name.upper().startswith("PREFECT_")}
    ours = prefect_environment(settings, server_url)
    return Environment(kept | _loopback_past_the_proxy(environ) | ours)


def apply_prefect_environment(settings: Settings, more: Mapping[str, str] | None = None) -> None:
    """Tie this process and its children to this home; call it before `import prefect`.

    It imports Prefect itself, since that is when Prefect reads its settings. Where something has
    imported it already, the settings are read again.

    Args:
        settings: of the home.
        more: variables to set beside, Prefect's or others.
    """
    os.environ.update(NO_TRACKING)
    if "PREFECT__FLOW_RUN_ID" in os.environ:
        return  # A worker runs us: it has chosen the server, the key and the home.
    isolated = isolated_environment(os.environ, settings, running_server(settings))
    environment = Environment(isolated | dict(more or {}))
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    # Keras writes a configuration as it is imported, and keeps fetched weights beside it.
    os.environ.setdefault("KERAS_HOME", str(settings.training / "keras"))
    _import_prefect(settings)


def flush_prefect() -> None:
    """Send the logs and events that this process still holds; call it before its server is stopped.

    Else Prefect sends them as the interpreter exits, when there is nobody left to take them: the logs
    are lost, and tasks that have finished look as if they ran for ever.
    """
    if "prefect.main" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        # In a thread of its own: called in an event loop, it would return a coroutine and do nothing.
        flush = threading.Thread(target=worker.drain_all, kwargs={"timeout": FLUSH_SECONDS})
        flush.start()
        flush.join()


def _folders(settings: Settings) -> dict[str, str]:
    home = settings.prefect
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
        # Else the server unpacks its pages into site-packages, which may be read-only or shared.
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "ui"),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
    }


def _api(settings: Settings, server_url: str | None) -> dict[str, str]:
    url = settings.prefect_api_url or server_url
    if not url:
        return {
            "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(STARTUP_SECONDS),
        }
    # A chosen server that is gone must be an error, not runs hidden in an embedded one.
    chosen = {"PREFECT_API_URL": url, "PREFECT_SERVER_EPHEMERAL_ENABLED": "false"}
    if settings.prefect_api_url:
        if settings.prefect_api_key:
            chosen["PREFECT_API_KEY"] = settings.prefect_api_key.get_secret_value()
        if settings.prefect_auth_string:
            chosen["PREFECT_API_AUTH_STRING"] = settings.prefect_auth_string.get_secret_value()
        if settings.prefect_ui_url:
            chosen["PREFECT_UI_URL"] = settings.prefect_ui_url
    return chosen


def authorization(settings: Settings) -> dict[str, str]:
    """The header by which a shared server knows us; none for the home's own, which has no login."""
    if settings.prefect_api_url is None:
        return {}
    if settings.prefect_auth_string:  # before the key, as in Prefect's client
        plain = settings.prefect_auth_string.get_secret_value().encode()
        return {"Authorization": f"Basic {base64.b64encode(plain).decode()}"}
    key = settings.prefect_api_key
    return {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}


def _loopback_past_the_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    # With HTTP_PROXY set, Prefect's client would ask the company's proxy for our 127.0.0.1.
    given = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in given.split(",") if host.strip()]
    missing = [host for host in ("127.0.0.1", "localhost") if host not in hosts]
    value = ",".join(hosts if "*" in hosts else hosts + missing)
    return {"no_proxy": value, "NO_PROXY": value}


def _import_prefect(settings: Settings) -> None:
    settings.prefect.mkdir(mode=0o700, parents=True, exist_ok=True)
    imported_before = "prefect.context" in sys.modules
    # As it is imported, Prefect takes `.env`, `prefect.toml` and more from the working directory.
    with contextlib.chdir(settings.prefect):
        from prefect.context import refresh_global_settings_context
        from prefect.logging.configuration import PROCESS_LOGGING_CONFIG, setup_logging

        if imported_before:
            refresh_global_settings_context()
        if PROCESS_LOGGING_CONFIG:
            setup_logging()
