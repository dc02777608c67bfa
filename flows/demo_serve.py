"""The demo's third act: the champion answers over HTTP, and is told what was right."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.config import CHECKOUT, Settings
from flows.errors import WatchkeeperError

READY_SECONDS = 120


@dataclass(frozen=True)
class Asked:
    """One picture of the catalogue: what it shows, and what the service said."""

    article_id: str
    truth: str
    label: str
    probability: float


def one_of_each_group(source: Path) -> list[tuple[str, str, Path]]:
    """An article of each product group that has a picture: its id, group and picture."""
    found: dict[str, tuple[str, str, Path]] = {}
    with (source / "articles.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            picture = source / (row["image_path"] or "")
            if row["product_group_name"] and picture.is_file():
                found.setdefault(
                    row["product_group_name"], (row["article_id"], row["product_group_name"], picture)
                )
    return sorted(found.values(), key=lambda article: article[1])


class Client:
    """Sends requests to the service, past any proxy of the user's."""

    def __init__(self, settings: Settings, port: int) -> None:
        self._url = f"http://{settings.serve_host}:{port}"
        token = settings.serve_token
        self._headers = {"authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def send(self, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:  # noqa: ANN401
        """The JSON of an answer."""
        headers = self._headers | {"content-type": kind}
        request = urllib.request.Request(self._url + path, body, headers)  # noqa: S310  # our own http
        with self._opener.open(request, timeout=30) as answer:
            return json.load(answer)

    def tell(self, request_id: str, label: str) -> None:
        """Tell what was right; of a group too small to be one of the model's classes nothing can be told."""
        told = {"request_id": request_id, "label": label}
        try:
            self.send("/feedback", json.dumps(told).encode())
        except urllib.error.HTTPError as error:
            if error.code != 422:
                raise

    def is_ready(self) -> bool:
        """Whether the service can answer."""
        try:
            return bool(self.send("/readyz")["status"] == "ok")
        except OSError:
            return False


@contextmanager
def service(settings: Settings, model: str) -> Iterator[Client]:
    """`task serve` on a free port, for the duration of the block.

    Raises:
        WatchkeeperError: it does not get ready; its log says why.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings.logs.mkdir(parents=True, exist_ok=True)
    log = settings.logs / "demo-serve.log"
    command = [sys.executable, "-m", "services.bento.serve", "--model", model, "--port", str(port)]
    environment = os.environ | {"WATCHKEEPER_HOME": str(settings.home)}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        client = Client(settings, port)
        deadline = time.monotonic() + READY_SECONDS
        while not client.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise WatchkeeperError(f"the service did not get ready; {log} says why")
            time.sleep(0.1)
        yield client
    finally:
        process.terminate()  # it drains, and writes its prediction log
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ask(client: Client, articles: list[tuple[str, str, Path]]) -> list[Asked]:
    """Have the service classify the articles' pictures, and tell it what was right."""
    asked = []
    for article_id, truth, picture in articles:
        answer = client.send("/predict", picture.read_bytes(), "image/jpeg")
        asked.append(Asked(article_id, truth, answer["label"], answer["probability"]))
        client.tell(answer["request_id"], truth)
    return asked
