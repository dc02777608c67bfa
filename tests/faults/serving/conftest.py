"""The real service with two workers, and what must stay untouched while it is attacked."""

import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from services.bento.registry import Registry
from services.bento.store import open_store
from tests.bench.serving.contenders import Contender, Service, running
from tests.everything import EVERYTHING
from tests.factories import wait_until
from tests.faults.serving.case import Traps
from tests.faults.serving.slow import SlowSenders
from tests.faults.serving.traffic import GoodTraffic
from tests.versions import write_version

MODEL, WORKERS, CLIENTS = "articles", 2, 3
WARM_REQUESTS = 300


@contextmanager
def serving(folder: Path) -> Iterator[Service]:
    """The service at a home of its own, with two workers that both answer."""
    home = folder / "home"
    registry = Registry(open_store(home / "registry"), MODEL)
    registry.promote(registry.add(write_version(folder / "v1")), None)
    command = (str(Path(sys.executable).parent / "bentoml"), "serve", "services.bento.service:Watchkeeper")
    settings = {
        "BENTOML_HOME": str(home / "bento"),
        "WATCHKEEPER_HOME": str(home),
        "WATCHKEEPER_MODEL": MODEL,
        "WATCHKEEPER_SERVE_WORKERS": str(WORKERS),
        "WATCHKEEPER_SERVE_LOG_SECONDS": "2",
    }
    contender = Contender("attacked", (*command, "--host", "127.0.0.1", "--port", "{port}"), settings, folder)
    with running(contender) as service:
        wait_until(lambda: len(workers(service)) == WORKERS, "both workers to listen")
        yield service


def workers(service: Service) -> dict[int, psutil.Process]:
    """The processes that answer, by their ids."""
    found = {}
    for process in service.tree():
        try:
            if "--worker-id" in process.cmdline():
                found[process.pid] = process
        except psutil.Error:
            continue
    return found


class Listener(threading.Thread):
    """Listens where nobody may come, and notes who comes."""

    def __init__(self) -> None:
        super().__init__(name="listener", daemon=True)
        self.came: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.start()

    def run(self) -> None:
        """Until the socket is closed."""
        while True:
            try:
                connection, address = self._socket.accept()
            except OSError:
                return
            self.came.append(str(address))
            connection.close()

    def close(self) -> None:
        """No more."""
        self._socket.close()


@dataclass
class Storm:
    """The service under attack, as it was before, and who else asks."""

    service: Service
    traps: Traps
    listener: Listener
    good: GoodTraffic
    slow: SlowSenders
    workers: dict[int, psutil.Process]
    megabytes: float
    outward: list[str] = field(default_factory=list)

    @property
    def restarted(self) -> bool:
        """Whether a worker of the beginning has gone."""
        return not all(process.is_running() for process in self.workers.values())

    def look_outward(self) -> None:
        """Note connections of the workers that are not of their clients."""
        for process in self.workers.values():
            try:
                for one in process.net_connections("inet"):
                    if one.raddr and one.laddr.port != self.service.port:
                        self.outward.append(str(one.raddr))
            except psutil.Error:
                continue


def has_logged(folder: Path, pids: Iterable[int]) -> bool:
    """Whether each worker has written of its answers: what that needs is in memory from then on."""
    names = [path.name for path in folder.glob("home/landing/serving/predictions/2*.parquet")]
    return all(any(f"-{pid}-" in name for name in names) for pid in pids)


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storm]:
    """The service, warm; good traffic and slow senders beside it."""
    folder = tmp_path_factory.mktemp("storm")
    listener = Listener()
    with serving(folder) as service:
        with GoodTraffic(service.port, 2 * CLIENTS) as warm:
            wait_until(lambda: warm.answered >= WARM_REQUESTS, "the warm-up", seconds=60)
            before = workers(service)
            wait_until(lambda: has_logged(folder, before), "each worker's first file of its log", seconds=60)
        assert (warm.failures, warm.broken) == ([], {})
        traps, megabytes = Traps(listener.port, folder / "unpickled"), service.resident()
        with GoodTraffic(service.port, CLIENTS) as good:
            storm = Storm(service, traps, listener, good, SlowSenders(service.port), before, megabytes)
            if EVERYTHING:
                storm.slow.start()
            yield storm
    listener.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service of the test's own."""
    with serving(tmp_path) as running_service:
        yield running_service
