"""A copy of the checkout with a home of its own, for tests that deploy flows to a Prefect server."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from flows.config import CHECKOUT
from flows.server import running_server, stop_server
from tests.factories import settings_of
from tests.prefect_api import ask


class Checkout:
    """The layers and `prefect.yaml`, with another text in place of some files."""

    def __init__(self, folder: Path, replaced: dict[str, str]) -> None:
        self.folder, self.settings = folder / "checkout", settings_of(folder / "home")
        for layer in ("flows", "services", "observability"):
            shutil.copytree(CHECKOUT / layer, self.folder / layer)
        shutil.copytree(CHECKOUT / "deployments" / "kubernetes", self.folder / "deployments" / "kubernetes")
        shutil.copy(CHECKOUT / "prefect.yaml", self.folder)
        for path, text in replaced.items():
            (self.folder / path).write_text(text)

    @contextmanager
    def deployed(self) -> Iterator[Self]:
        """With a server of its own, and every deployment on it."""
        try:
            self.run("flows.server", "deploy")
            yield self
        finally:
            stop_server(self.settings)

    @property
    def environment(self) -> dict[str, str]:
        """That of its commands."""
        return os.environ | {"WATCHKEEPER_HOME": str(self.settings.home)}

    @property
    def url(self) -> str:
        """Of its server's API."""
        return str(running_server(self.settings))

    def run(self, *arguments: str, **more: str) -> str:
        """What `python -m ARGUMENTS` prints, with more in its environment; it must end well."""
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def worker(self) -> Iterator[None]:
        """A worker that takes its runs, while the block lasts."""
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.prefect_cli", "worker", "start"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)

    def ask(self, path: str, listed: list[Any] | None = None, **body: Any) -> Any:
        """What the server answers to a question of Prefect's API, whose body may be a list."""
        return ask(f"{self.url}{path}", listed or body)
