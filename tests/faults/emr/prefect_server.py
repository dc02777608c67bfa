"""A Prefect server that goes away and comes back on its port, with all that it knew."""

import socket
import subprocess
from typing import Any

from flows.config import Settings
from flows.server_spawn import becomes_healthy, end, spawn
from tests.prefect_api import ask


class PrefectServer:
    """The server of a home; `start` and `stop` as often as a test likes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            self.port = bound.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        """Be there."""
        self.settings.run.mkdir(parents=True, exist_ok=True)
        with socket.socket() as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(("127.0.0.1", self.port))
            process = self._process = spawn(self.settings, bound)
        assert becomes_healthy(self.settings, self.url, lambda: process.poll() is not None)

    def stop(self) -> None:
        """Be gone."""
        if process := self._process:
            end(process.pid, lambda: process.poll() is not None)

    def new_run(self, **parameters: Any) -> str:
        """A flow run of the ETL, which waits for a worker; returns its id."""
        flow = ask(f"{self.url}/flows/", {"name": "etl"})["id"]
        return str(ask(f"{self.url}/flow_runs/", {"flow_id": flow, "parameters": parameters})["id"])
