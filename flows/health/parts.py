"""The parts of the watch: what runs, how it is begun, and what is missing on this machine."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from flows.config import CHECKOUT, Settings
from flows.errors import WatchkeeperError
from flows.prefect_env import authorization
from flows.server import running_server
from observability.prometheus import files
from observability.statsd import mapping
from services.bento.registry import last_promoted
from services.bento.store import open_store

PATH = f"{os.environ.get('PATH', '')}{os.pathsep}{CHECKOUT / '.tools' / 'bin'}"
PROGRAMS = {
    "prometheus": (("prometheus",), "apt-get install prometheus"),
    "alertmanager": (("prometheus-alertmanager", "alertmanager"), "apt-get install prometheus-alertmanager"),
    "node": (("prometheus-node-exporter", "node_exporter"), "apt-get install prometheus-node-exporter"),
    "statsd": (
        ("statsd_exporter",),
        "go install github.com/prometheus/statsd_exporter@latest, or its release from GitHub",
    ),
}
"""Third-party programs by their job: names, and how to get them."""


PARTS = "parts.json"
"""In the watch's folder: which process each part is that may be ended where it hangs."""


@dataclass(frozen=True)
class Part:
    """One process of the watch.

    Attributes:
        name: of its log file, and of its job in Prometheus.
        command: what is run.
        port: it listens there on 127.0.0.1; None for one that does not.
        setting: the port's.
        ready: path of a page that answers 200 once it is.
        environment: beside the watch's own.
        may_end: it holds nothing that another beginning would lose, so that it is ended where it hangs.
    """

    name: str
    command: list[str]
    port: int | None = None
    setting: str = ""
    ready: str = "/metrics"
    environment: dict[str, str] = field(default_factory=dict)
    may_end: bool = True

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"


def programs() -> dict[str, str]:
    """Path of each third-party program.

    Raises:
        WatchkeeperError: some are not on this machine; says how to get them.
    """
    found = {job: next(filter(None, map(which, names)), None) for job, (names, _) in PROGRAMS.items()}
    missing = [f"{PROGRAMS[job][0][0]} ({PROGRAMS[job][1]})" for job, path in found.items() if path is None]
    if missing:
        raise WatchkeeperError(f"neither on PATH nor in .tools/bin: {'; '.join(missing)}")
    return {job: path for job, path in found.items() if path}


def which(name: str) -> str | None:
    """A program's path."""
    return shutil.which(name, path=PATH)


def third_party(settings: Settings, folder: Path) -> Iterator[Part]:
    """What is not ours; all on 127.0.0.1, all state below `folder`.

    Raises:
        WatchkeeperError: one is not on this machine.
    """
    found = programs()
    yield Part(
        "statsd",
        [
            found["statsd"],
            f"--statsd.mapping-config={mapping.FILE}",
            f"--statsd.listen-udp=127.0.0.1:{settings.statsd_port}",
            f"--statsd.listen-tcp=127.0.0.1:{settings.statsd_port}",
            f"--web.listen-address=127.0.0.1:{settings.statsd_metrics_port}",
        ],
        settings.statsd_metrics_port,
        "statsd_metrics_port",
    )
    textfiles = folder / "textfile"
    textfiles.mkdir(parents=True, exist_ok=True)
    yield Part(
        "node",
        [
            found["node"],
            f"--collector.textfile.directory={textfiles}",
            f"--web.listen-address=127.0.0.1:{settings.node_exporter_port}",
        ],
        settings.node_exporter_port,
        "node_exporter_port",
    )
    yield Part(
        "alertmanager",
        [
            found["alertmanager"],
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{settings.alertmanager_port}",
            "--cluster.listen-address=",
        ],
        settings.alertmanager_port,
        "alertmanager_port",
        "/-/ready",
    )
    yield Part(
        "prometheus",
        [
            found["prometheus"],
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{settings.prometheus_port}",
        ],
        settings.prometheus_port,
        "prometheus_port",
        "/-/ready",
    )


def ours(settings: Settings) -> Iterator[Part]:
    """What watches and tells, from this checkout."""
    yield Part("relay", module("flows.health.relay"), settings.relay_port, "relay_port", "/healthz")
    # A scrape may take as long as its slowest source; this page tells only whether anybody answers.
    yield Part(
        "exporter", module("flows.health.exporter"), settings.exporter_port, "exporter_port", "/favicon.ico"
    )
    yield Part("deadman", module("flows.health.deadman"))


def watched(settings: Settings) -> Iterator[Part]:
    """What does the work: a worker once there is a deployment, the service once there is a champion."""
    if has_pool(settings):
        yield Part("worker", module("flows.prefect_cli", "worker", "start"))
    model = last_promoted(open_store(settings.registry))
    if model:
        command = module("services.bento.serve", "--model", model)
        # Ended in the middle it would drop requests; ServiceDown is for a person.
        yield Part("serve", command, settings.serve_port, "serve_port", "/readyz", may_end=False)


def module(name: str, *arguments: str) -> list[str]:
    """A command of this checkout."""
    return [sys.executable, "-m", name, *arguments]


def has_pool(settings: Settings) -> bool:
    """Whether somebody has deployed to the server of this home."""
    url = settings.prefect_api_url or running_server(settings)
    if url is None:
        return False
    headers = authorization(settings)
    try:
        found = httpx.get(
            f"{url}/work_pools/{settings.work_pool}", headers=headers, timeout=5, trust_env=False
        )
    except httpx.HTTPError:
        return False
    return found.status_code == httpx.codes.OK


def targets(settings: Settings, parts: list[Part]) -> dict[str, str]:
    """Host and port of each job of Prometheus: the parts that listen, and this home's Prefect server."""
    found = {part.name: part.address for part in parts if part.port}
    url = running_server(settings)
    if url:
        found["prefect"] = httpx.URL(url).netloc.decode()
    return {job: address for job, address in found.items() if job in files.JOBS}
