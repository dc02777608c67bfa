"""The services that are compared, each started as a process group, waited for, watched and always stopped."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from flows.config import CHECKOUT
from observability.errors import WatchkeeperError
from services.bento.registry import Registry
from services.bento.store import open_store
from tests.bench.serving.version import MODEL
from tests.factories import free_port

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
READY_SECONDS = 120.0
BIN = Path(sys.executable).parent
QUIET = {
    "BENTOML_DO_NOT_TRACK": "true",
    "DO_NOT_TRACK": "1",
    "NO_PROXY": "127.0.0.1",
    "PYTHONWARNINGS": "ignore",
}


@dataclass(frozen=True)
class Contender:
    """How a service is started; `{port}` in the command is a free port."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    scratch: Path
    ready_path: str = "/readyz"


@dataclass
class Service:
    """A contender that runs."""

    contender: Contender
    process: "subprocess.Popen[bytes]"
    port: int
    spawned: float
    log: Path
    seconds_to_ready: float = 0.0

    def tree(self) -> list[psutil.Process]:
        """The processes of the service that live now."""
        try:
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def resident(self) -> float:
        """Megabytes resident, summed over the tree: pages that are shared count in each."""
        total = 0
        for process in self.tree():
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
        return total / 2**20

    def connections(self) -> list[int]:
        """How many connections each worker has that has any, in order."""
        counts = []
        for process in self.tree():
            with contextlib.suppress(psutil.Error):
                established = [
                    c for c in process.net_connections("tcp") if c.status == psutil.CONN_ESTABLISHED
                ]
                counts.append(sum(c.laddr.port == self.port for c in established))
        return sorted(count for count in counts if count)

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:]


def registry(home: Path) -> Registry:
    """Of our service at this home."""
    return Registry(open_store(home / "registry"), MODEL)


def ours(scratch: Path, home: Path) -> Contender:
    """Watchkeeper's service, with the defaults that `task serve` has."""
    command = (str(BIN / "bentoml"), "serve", "services.bento.service:Watchkeeper")
    settings = {
        "BENTOML_HOME": str(home / "bento"),
        "WATCHKEEPER_HOME": str(home),
        "WATCHKEEPER_MODEL": MODEL,
        "WATCHKEEPER_SERVE_WORKERS": str(CORES),
    }
    return Contender("ours", (*command, "--host", "127.0.0.1", "--port", "{port}"), settings, scratch)


def fastapi(scratch: Path, folder: Path, threads: int) -> Contender:
    """FastAPI by hand; with 0 threads the event loop does the work itself."""
    command = (
        sys.executable,
        "-m",
        "uvicorn",
        "tests.bench.serving.fastapi_service:app",
        "--host",
        "127.0.0.1",
    )
    choices = ("--workers", str(CORES), "--loop", "auto", "--http", "httptools", "--no-access-log")
    metrics = scratch / "prometheus"
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir(parents=True)
    settings = {
        "BENCH_MODEL": str(folder),
        "BENCH_THREADS": str(threads),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
    }
    return Contender("FastAPI", (*command, *choices, "--port", "{port}"), settings, scratch)


def empty(scratch: Path) -> Contender:
    """A BentoML service that does nothing, with as many workers."""
    command = (str(BIN / "bentoml"), "serve", "tests.bench.serving.empty_service:Empty")
    settings = {"BENTOML_HOME": str(scratch / "bento"), "BENCH_WORKERS": str(CORES)}
    return Contender(
        "empty BentoML", (*command, "--host", "127.0.0.1", "--port", "{port}"), settings, scratch
    )


def null(scratch: Path) -> Contender:
    """Answers without work."""
    command = (sys.executable, "-m", "tests.bench.serving.null_server", "{port}")
    return Contender("null server", command, {}, scratch)


@contextlib.contextmanager
def running(contender: Contender) -> Iterator[Service]:
    """The contender, ready; stopped and gone afterwards, whatever happens.

    Raises:
        WatchkeeperError: it ended, or was not ready in time; with the end of its log.
    """
    port, contender_log = free_port(), contender.scratch / f"{contender.name.replace(' ', '-')}.log"
    contender.scratch.mkdir(parents=True, exist_ok=True)
    command = [part.format(port=port) for part in contender.command]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("WATCHKEEPER_", "BENTOML_"))}
    with contender_log.open("wb") as log:
        spawned = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=inherited | QUIET | contender.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    service = Service(contender, process, port, spawned, contender_log)
    try:
        _wait_until_ready(service)
        yield service
    finally:
        _stop(service)


def get(port: int, path: str) -> int:
    """The status of a GET; 0 where nobody answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
            )
            words = connection.makefile("rb").readline().split()
    except OSError:
        return 0
    return int(words[1]) if len(words) > 1 else 0


def _wait_until_ready(service: Service) -> None:
    while get(service.port, service.contender.ready_path) != 200:
        waited = time.perf_counter() - service.spawned
        if service.process.poll() is not None or waited > READY_SECONDS:
            state = "ended" if service.process.poll() is not None else f"was not ready in {waited:.0f} s"
            raise WatchkeeperError(f"{service.contender.name} {state}; its log ends:\n{service.last_words()}")
        time.sleep(0.02)
    service.seconds_to_ready = time.perf_counter() - service.spawned


def _stop(service: Service) -> None:
    """Ask the group to end, then make what is left of the tree end."""
    tree = service.tree()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(service.process.pid, signal.SIGTERM)
    _, alive = psutil.wait_procs(tree, timeout=15)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(service.process.pid, signal.SIGKILL)
    service.process.wait(timeout=15)


@contextlib.contextmanager
def memory_watched(service: Service, every: float = 1.0) -> Iterator[list[tuple[float, float]]]:
    """(`time.time()`, megabytes) of the service's tree, for as long as the block runs."""
    samples: list[tuple[float, float]] = [(time.time(), service.resident())]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(every):
            samples.append((time.time(), service.resident()))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()
        samples.append((time.time(), service.resident()))
