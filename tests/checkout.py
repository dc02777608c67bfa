"""A copy of the checkout with a home of its own, for tests that deploy flows to a Prefect server."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from flows.config import CHECKOUT
from flows.server import running_server
from tests.factories import settings_of


class Checkout:
    """The layers and `prefect.yaml`, with another text in place of some files."""

    def __init__(self, folder: Path, replaced: dict[str, str]) -> None:
        self.folder, self.settings = folder / "checkout", settings_of(folder / "home")
        for layer in ("flows", "services", "observability"):
            shutil.copytree(CHECKOUT / layer, self.folder / layer)
        shutil.copy(CHECKOUT / "prefect.yaml", self.folder)
        for path, text in replaced.items():
            (self.folder / path).write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        """That of its commands."""
        return os.environ | {"WATCHKEEPER_HOME": str(self.settings.home)}

    def run(self, *arguments: str) -> str:
        """What `python -m ARGUMENTS` prints; it must end well."""
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, path: str, **body: Any) -> Any:
        """What the server answers to a question of Prefect's API."""
        url = f"{running_server(self.settings)}{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")
        request.add_header("Content-Type", "application/json")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as response:
            return json.load(response)
