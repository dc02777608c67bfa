"""The whole watch for tests: `task watch` in a process of its own, a Slack that keeps what it is sent."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil  # type: ignore[import-untyped]
import yaml

from flows.config import CHECKOUT, Settings
from flows.server import running_server, stop_server
from tests.factories import free_port, settings_of, wait_until
from tests.prefect_api import ask
from tests.serving import Service, picture
from tests.slack import FakeSlack
from tests.stack.programs import running
from tests.stack.small_disk import SmallDisk

PACE = 360.0
"""An hour becomes ten seconds; scrapes and evaluations are 5 s apart."""
PROBATION_SECONDS = 10
PORTS = (
    "prometheus_port",
    "alertmanager_port",
    "node_exporter_port",
    "statsd_metrics_port",
    "statsd_port",
    "relay_port",
    "exporter_port",
    "serve_port",
)


class Every:
    """Something that is done again and again in a thread, while a `with` block lasts.

    Args:
        seconds: between two times.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._over = seconds, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def step(self) -> None:
        """Once."""
        raise NotImplementedError

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            self.step()

    def __enter__(self) -> Self:
        self.step()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


class Traffic(Every):
    """Pictures for the service, ten times a second at most; errors are its answers too.

    Attributes:
        at_once: pictures each time.
        bright: one picture of so many is bright; 0 for none.
        bright_steps: of so many times, all pictures are bright; 0 for none.
    """

    def __init__(self, service: Service) -> None:
        super().__init__(0.1)
        self.at_once, self.bright, self.bright_steps, self._sent, self._service = 4, 0, 0, 0, service

    def step(self) -> None:
        """All at once."""
        until = self._sent + self.at_once
        with ThreadPoolExecutor(self.at_once) as clients:
            list(clients.map(self._send, range(self._sent, until)))
        self._sent = until

    def _send(self, number: int) -> None:
        bright = self.bright and number % self.bright == 0
        bright = bright or (self.bright_steps and number // self.at_once % self.bright_steps == 0)
        with suppress(httpx.TransportError):
            self._service.predict(picture(250 if bright else 100))


HEALTHY = {"memory": 6e9, "idle_rate": 1.0, "skew": 0.001}


class Node(Every):
    """What a host's node-exporter says of its memory, time and clock each second, which `said` can change.

    Args:
        path: of the textfile.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(1.0)
        self.said, self._path = dict(HEALTHY), path
        self._idle = 0.0

    def step(self) -> None:
        """A second has passed."""
        self._idle += self.said["idle_rate"]
        new = self._path.with_suffix(".new")
        new.write_text(
            f"node_memory_MemAvailable_bytes {self.said['memory']}\nnode_memory_MemTotal_bytes 8e9\n"
            f"node_timex_offset_seconds {self.said['skew']}\n"
            f'node_cpu_seconds_total{{cpu="0",mode="idle"}} {self._idle}\n'
        )
        new.replace(self._path)


class Stack:
    """A home that is watched."""

    def __init__(self, folder: Path, slack: FakeSlack) -> None:
        self.folder, self.slack = folder, slack
        self.contracts = folder / "contracts"
        ports: dict[str, Any] = {name: free_port() for name in PORTS}
        self.settings: Settings = settings_of(folder / "home", contracts=self.contracts, **ports)
        self.textfiles = folder / "textfiles"
        self.node = Node(self.textfiles / "host.prom")
        self.disk = SmallDisk(folder / "host")
        self.service = Service(self.settings.home)
        self.service.port, self.service.url = ports["serve_port"], f"http://127.0.0.1:{ports['serve_port']}"
        said = ports | {
            "home": self.settings.home,
            "contracts": self.contracts,
            "slack_webhook": slack.url,
            "runbook_url": f"http://127.0.0.1:{ports['relay_port']}/runbooks",
            "listing_seconds": 5,
            "probation_seconds": PROBATION_SECONDS,
            "serve_workers": 1,
            "serve_log_seconds": 1,
        }
        ours = {f"WATCHKEEPER_{name.upper()}": str(value) for name, value in said.items()}
        self.environment = os.environ | ours | {"PREFECT_WORKER_HEARTBEAT_SECONDS": "2"}
        self.traffic = Traffic(self.service)
        self.process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def watched(self) -> Iterator["Stack"]:
        """With `task watch` at the fast pace, and a second host whose node-exporter says what a file says."""
        log = self.folder / "watch.log"
        with self.second_node(), log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.health.watch", "--pace", f"{PACE:g}"],
                cwd=CHECKOUT,
                env=self.environment,
                stdout=stream,
                stderr=stream,
            )
            try:
                yield self
            finally:
                if self.process.poll() is None:
                    for child in psutil.Process(self.pid).children(recursive=True):
                        child.send_signal(signal.SIGCONT)
                self.process.terminate()
                self.process.wait(90)
                stop_server(self.settings)

    @contextmanager
    def second_node(self) -> Iterator[None]:
        """A node-exporter that knows its textfile and a small disk, as a further target of the user's own."""
        port = free_port()
        self.textfiles.mkdir(parents=True)
        own = self.settings.run / "watch" / "targets" / "node-second.yml"
        own.parent.mkdir(parents=True)
        own.write_text(yaml.safe_dump([{"targets": [f"127.0.0.1:{port}"]}]))
        command = [
            "prometheus-node-exporter",
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={self.textfiles}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        self.second = f"127.0.0.1:{port}"
        command = self.disk.command(command)
        with (
            running(command, f"http://{self.second}/metrics", self.folder / "node.log") as process,
            self.node,
        ):
            self.second_process = process
            self.disk.belongs_to(process.pid)
            yield

    @property
    def pid(self) -> int:
        """Of the watch."""
        assert self.process
        return self.process.pid

    def processes(self, *words: str) -> list[psutil.Process]:
        """Those below the watch whose command holds all words."""
        children = psutil.Process(self.pid).children(recursive=True)
        return [child for child in children if all(word in " ".join(child.cmdline()) for word in words)]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What Prometheus answers."""
        answer = httpx.get(
            f"http://127.0.0.1:{self.settings.prometheus_port}/api/v1/query",
            params={"query": expression},
            trust_env=False,
        )
        answer.raise_for_status()
        return list(answer.json()["data"]["result"])

    def holds(self, expression: str) -> bool:
        """Whether Prometheus answers at all, and with a sample."""
        try:
            return bool(self.query(expression))
        except httpx.HTTPError:
            return False

    def prefect(self, method: str, path: str, **body: Any) -> Any:
        """What Prefect's API answers."""
        return ask(f"{running_server(self.settings)}{path}", body, method)

    def run(self, *command: str) -> None:
        """A command of the checkout on this home; it must end well."""
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=CHECKOUT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
        """Wait, as long as the watch lives."""

        def met() -> bool:
            assert self.process
            assert self.process.poll() is None, (self.folder / "watch.log").read_text()
            return condition()

        wait_until(met, what, seconds)
