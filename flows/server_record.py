"""What a home knows of its own Prefect server: `run/server.json`, and the locks that make it true.

flows/server.py writes it, flows/server_process.py holds `run/server.pid` locked while it lives,
everyone may ask `running_server`. A pid alone would not do: it may be a zombie's or, after a
reboot, a stranger's.
"""

import fcntl
import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from flows.config import Settings

# Longer than a busy server's slowest answer; a dead one refuses at once.
HEALTH_SECONDS = 10.0


@dataclass(frozen=True)
class ServerRecord:
    """One running server, as `run/server.json` holds it."""

    pid: int
    url: str
    """The API's: `http://127.0.0.1:<port>/api`."""
    port: int
    owner: int | None = None
    """The process with which it ends; without one it runs until it is stopped."""


def running_server(settings: Settings) -> str | None:
    """Give the API URL of this home's own server if it lives and answers."""
    record = read_record(settings)
    if record is None or server_pid(settings) is None or not answers(record.url):
        return None
    return record.url


def answers(url: str) -> bool:
    """Ask the server behind an API URL whether it is healthy."""
    # Without a proxy: the server is on the loopback, HTTP_PROXY may be set.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=HEALTH_SECONDS) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def printable(url: str) -> str:
    """A URL without the password that a shared server's may hold."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def server_pid(settings: Settings) -> int | None:
    """Give the pid of the process that holds this home's place, healthy or not."""
    try:
        with _pid_file(settings).open() as file:
            if _is_free(file):
                return None
            return int(file.read() or 0) or None
    except FileNotFoundError:
        return None


def is_orphan(record: ServerRecord) -> bool:
    """Say whether the process with which the server ends is gone, so that it is about to end."""
    if record.owner is None:
        return False
    try:
        os.kill(record.owner, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # Another user's process, so there is one.
    return False


def take_place(settings: Settings) -> IO[str]:
    """Become this home's server: hold its place for as long as the returned file stays open."""
    file = _pid_file(settings).open("a")
    fcntl.flock(file, fcntl.LOCK_EX)
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


@contextmanager
def one_at_a_time(settings: Settings) -> Iterator[None]:
    """Hold the lock under which a server is started, stopped or handed over."""
    settings.run.mkdir(parents=True, exist_ok=True)
    with (settings.run / "server.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_record(settings: Settings) -> ServerRecord | None:
    """Read `run/server.json`; a file that is missing or unreadable is no record."""
    try:
        return ServerRecord(**json.loads(_record_file(settings).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write_record(settings: Settings, record: ServerRecord) -> None:
    """Write `run/server.json`: a reader sees the old one or the new one, never a part."""
    file = _record_file(settings)
    draft = file.with_suffix(".tmp")
    draft.write_text(json.dumps(asdict(record)) + "\n")
    draft.replace(file)


def remove_record(settings: Settings) -> None:
    """Forget the server that was."""
    _record_file(settings).unlink(missing_ok=True)


def _record_file(settings: Settings) -> Path:
    return settings.run / "server.json"


def _pid_file(settings: Settings) -> Path:
    return settings.run / "server.pid"


def _is_free(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
