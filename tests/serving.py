"""The real service for tests: BentoML's server as a process, its registry, a client that remembers."""

import base64
import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from flows.config import CHECKOUT
from services.bento.registry import Registry
from services.bento.store import open_store
from tests.factories import free_port, wait_until

MODEL = "articles"
QUIET = {"BENTOML_DO_NOT_TRACK": "true", "DO_NOT_TRACK": "1", "NO_PROXY": "127.0.0.1"}
PATIENCE = 90.0


def picture(brightness: int = 100, kind: str = "JPEG", size: tuple[int, int] = (24, 16)) -> bytes:
    """A grey picture."""
    stream = io.BytesIO()
    Image.new("RGB", size, (brightness,) * 3).save(stream, kind)
    return stream.getvalue()


def in_base64(data: bytes) -> str:
    """As JSON carries it."""
    return base64.b64encode(data).decode()


class Service:
    """`bentoml serve` in a process group of its own, which always ends with the `with` block.

    Args:
        home: `WATCHKEEPER_HOME`; its registry is to be filled before or while the service runs.
        workers: processes that answer.
        settings: others of `BentoSettings`.
    """

    def __init__(self, home: Path, workers: int = 2, **settings: object) -> None:
        self.home, self.port = home, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home / "service.log"
        self.answered: list[dict[str, Any]] = []
        said = {"home": home, "model": MODEL, "serve_workers": workers} | settings
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("WATCHKEEPER_", "BENTOML_"))}
        ours = {f"WATCHKEEPER_{name.upper()}": str(value) for name, value in said.items()}
        self._environment = inherited | QUIET | ours | {"BENTOML_HOME": str(home / "bento")}
        self.token = settings.get("serve_token")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def registry(self) -> Registry:
        """Of the model that is served."""
        return Registry(open_store(self.home / "registry"), MODEL, cache=self.home / "cache")

    def __enter__(self) -> "Service":
        self.home.mkdir(parents=True, exist_ok=True)
        command = [str(Path(sys.executable).with_name("bentoml")), "serve"]
        command += ["services.bento.service:Watchkeeper", "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=CHECKOUT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if kind:
            print(self.log.read_text(errors="replace")[-5000:])

    def wait(self, path: str = "/readyz", status: int = 200) -> None:
        """Until a health endpoint says so."""

        def there() -> bool:
            assert self.process
            assert self.process.poll() is None, self.log.read_text(errors="replace")[-5000:]
            with contextlib.suppress(httpx.TransportError):
                return self.get(path).status_code == status
            return False

        wait_until(there, f"{path} to be {status}", PATIENCE)

    def stop(self) -> int:
        """Ask the server to end, as an init system does, and return its exit code; nothing is left of it."""
        assert self.process
        self.process.terminate()
        try:
            return self.process.wait(30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def workers(self) -> list[int]:
        """Ids of the processes that answer."""
        assert self.process
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                if "_bentoml_impl.worker.service" in child.cmdline():
                    found.append(child.pid)
        return found

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """One request on a connection of its own; what is answered is remembered."""
        with self.client() as client:
            response = client.request(method, path, **request)
        self.remember(response)
        return response

    def client(self) -> httpx.Client:
        """A client that keeps its connections."""
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        # No proxy of the environment, no certificates to load: this is loopback.
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False, verify=False)

    def remember(self, response: httpx.Response) -> None:
        """Keep the answers of a response."""
        if response.status_code == 200 and response.request.url.path.startswith("/predict"):
            body = response.json()
            answers = body.get("answers", [body])
            self.answered += [answer for answer in answers if "request_id" in answer]

    def get(self, path: str) -> httpx.Response:
        """GET."""
        return self.ask("GET", path)

    def predict(self, data: bytes | None = None, kind: str = "image/jpeg") -> httpx.Response:
        """A picture as a raw body."""
        content = picture() if data is None else data
        return self.ask("POST", "/predict", content=content, headers={"content-type": kind})

    def metrics(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """All samples of `/metrics`, by name and labels."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(self.get("/metrics").text)
            for sample in family.samples
        }

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric over what has these labels."""
        return sum(
            value
            for (found, having), value in self.metrics().items()
            if found == name and labels.items() <= dict(having).items()
        )


class Load:
    """Clients that send a picture again and again as long as the block runs; every answer with its times.

    A client that is told when to come back does not come sooner.
    """

    def __init__(self, service: Service, clients: int = 4, body: bytes | None = None) -> None:
        self.service, self._body = service, body or picture()
        self.answers: list[tuple[float, float, int, dict[str, Any]]] = []
        self.errors: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _send(self) -> None:
        headers = {"content-type": "image/jpeg"}
        with self.service.client() as client:
            while not self._over.is_set():
                started = time.time()
                try:
                    response = client.post("/predict", content=self._body, headers=headers)
                except httpx.TransportError as error:
                    self.errors.append(repr(error))
                    continue
                self.service.remember(response)
                self.answers.append((started, time.time(), response.status_code, response.json()))
                self._over.wait(float(response.headers.get("retry-after", 0)))

    def answers_since(self, when: float) -> list[dict[str, Any]]:
        """What was answered to requests sent after a time."""
        return [body for started, _, _, body in list(self.answers) if started > when]
