"""Starts, awaits and ends the process of a home's Prefect server; flows/server.py decides when."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from flows.config import CHECKOUT, Settings
from flows.errors import WatchkeeperError
from flows.prefect_env import STARTUP_SECONDS, isolated_environment
from flows.server_record import answers

# What a server that was told to end gets before it is killed: more than it may take for itself, see
# flows/server_process.py. SQLite survives either.
STOP_SECONDS = 20


def log_file(settings: Settings) -> Path:
    """Where this home's server writes; little, unless something is wrong."""
    return settings.logs / "prefect-server.log"


def spawn(settings: Settings, bound: socket.socket) -> subprocess.Popen[bytes]:
    """Start the server's process on a bound socket, detached from our terminal."""
    settings.prefect.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.logs.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "flows.server_process", f"--home={settings.home}"]
    with log_file(settings).open("ab") as log:
        return subprocess.Popen(
            [*command, f"--socket={bound.fileno()}", f"--parent={os.getpid()}"],
            cwd=settings.prefect,  # Prefect reads `.env` and `prefect.toml` of where it starts.
            env=_environment(settings, bound.getsockname()[1]),
            pass_fds=[bound.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us; we stop it in our own order.
        )


def becomes_healthy(settings: Settings, url: str, ended: Callable[[], bool]) -> bool:
    """Wait until the API at `url` answers; say whether it did, or its process ended first.

    Raises:
        WatchkeeperError: neither in time.
    """
    deadline = time.monotonic() + STARTUP_SECONDS
    while not answers(url):
        if ended():
            return False
        if time.monotonic() > deadline:
            silent = f"the Prefect server at {url} does not answer after {STARTUP_SECONDS} s"
            look = f"see {log_file(settings)}, then `python -m flows.server stop`"
            raise WatchkeeperError(f"{silent}; {look}")
        time.sleep(0.05)
    return True


def end(pid: int, gone: Callable[[], bool]) -> None:
    """End the server's process: ask, then insist.

    Raises:
        WatchkeeperError: it is still there.
    """
    for request in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, request)
        deadline = time.monotonic() + STOP_SECONDS
        while not gone() and time.monotonic() < deadline:
            time.sleep(0.02)
        if gone():
            break
    else:
        raise WatchkeeperError(f"the Prefect server, process {pid}, does not end")
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)  # If it is our own child, it would stay a zombie.


def _environment(settings: Settings, port: int) -> dict[str, str]:
    environment = isolated_environment(os.environ, settings)
    path = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment.update(
        PREFECT_SERVER_EPHEMERAL_ENABLED="false",
        PREFECT_SERVER_API_PORT=str(port),
        PREFECT_SERVER_UI_API_URL=f"http://127.0.0.1:{port}/api",
        # By default any page in the user's browser may call the API, and an API call runs code.
        PREFECT_SERVER_CORS_ALLOWED_ORIGINS=f"http://127.0.0.1:{port},http://localhost:{port}",
        PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="WARNING",  # Its console is its log file.
        PREFECT_SERVER_METRICS_ENABLED="true",  # At `/api/metrics`; it binds nothing further.
        PYTHONPATH=os.pathsep.join(path),
        # Each time that it reads a schedule it lists all time zones: from one file, not from 600.
        PYTHONTZPATH="",
    )
    return environment
