"""What a careful engineer writes by hand: FastAPI, ONNX Runtime, prometheus_client, and nothing beside.

Started as `uvicorn tests.bench.serving.fastapi_service:app --workers N --loop auto --http httptools
--no-access-log` with `BENCH_MODEL` and `PROMETHEUS_MULTIPROC_DIR` set. Whether the event loop does the work
itself (`BENCH_THREADS` 0) or hands it to so many threads is tried before each comparison, and the faster way
is compared.
"""

import asyncio
import io
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from PIL import Image
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.bento.manifest import ImageInput, read_manifest
from services.bento.predictor import Predictor, UnreadableImageError, as_input, decode

THREADS = int(os.environ.get("BENCH_THREADS", "0"))
POOL = ThreadPoolExecutor(THREADS) if THREADS else None
MAX_BYTES = 10 * 2**20
SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
REQUESTS = Counter("request_total", "Requests.", ["endpoint", "http_response_code"])
DURATION = Histogram("request_duration_seconds", "Durations.", ["endpoint", "http_response_code"])
IN_PROGRESS = Gauge("request_in_progress", "Under way.", ["endpoint"], multiprocess_mode="livesum")
VERSION = Gauge("model_info", "The version that answers.", ["model", "version"], multiprocess_mode="max")
DECODE = Histogram("decode_seconds", "Decoding and resizing a picture.", buckets=SECONDS)
INFERENCE = Histogram("inference_seconds", "ONNX Runtime.", buckets=SECONDS)
BATCH = Histogram("batch_size", "Pictures in a batch.", buckets=(1, 2, 4, 8, 16))
CONFIDENCE = Histogram(
    "confidence", "Probability of the answer.", buckets=tuple(n / 10 for n in range(1, 11))
)
LABELS = Counter("predictions_total", "Answers by class.", ["label"])
REJECTED = Counter("rejected_total", "Refused inputs.", ["reason"])


class Measured:
    """Counts and times requests, as plain ASGI: Starlette's own middleware class costs a task a request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.series: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self.in_progress: dict[str, Gauge] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, status, started = scope["path"], 500, time.perf_counter()
        if path not in self.in_progress:
            self.in_progress[path] = IN_PROGRESS.labels(path)
        self.in_progress[path].inc()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            if (path, status) not in self.series:
                labels = (path, str(status))
                self.series[path, status] = REQUESTS.labels(*labels), DURATION.labels(*labels)
            requests, duration = self.series[path, status]
            requests.inc()
            duration.observe(time.perf_counter() - started)
            self.in_progress[path].dec()


class Model:
    """The version, loaded and warm."""

    def __init__(self, folder: Path) -> None:
        self.manifest = read_manifest(folder)
        assert isinstance(self.manifest.input, ImageInput)
        self.spec = self.manifest.input
        self.predictor = Predictor(folder, self.manifest, threads=1)
        self.counts = [LABELS.labels(name) for name in self.manifest.classes]
        VERSION.labels(self.manifest.model, self.manifest.version).set(1)
        self.warm()

    def warm(self) -> None:
        """Answer a grey picture, so that the first request waits for nothing."""
        stream = io.BytesIO()
        Image.new("RGB", (self.spec.width, self.spec.height), "grey").save(stream, "JPEG")
        pixels = decode(stream.getvalue(), self.spec.height, self.spec.width).pixels
        self.predictor.predict(as_input([pixels], self.spec))

    def answer(self, body: bytes) -> dict[str, Any]:
        """One picture, one answer."""
        started = time.perf_counter()
        picture = decode(body, self.spec.height, self.spec.width)
        decoded = time.perf_counter()
        row = self.predictor.predict(as_input([picture.pixels], self.spec)).outputs[0]
        DECODE.observe(decoded - started)
        INFERENCE.observe(time.perf_counter() - decoded)
        BATCH.observe(1)
        best = int(row.argmax())
        values = row.tolist()
        CONFIDENCE.observe(values[best])
        self.counts[best].inc()
        return {
            "label": self.manifest.classes[best],
            "probability": values[best],
            "probabilities": dict(zip(self.manifest.classes, values, strict=True)),
            "model_version": self.manifest.version,
            "request_id": uuid.uuid4().hex,
        }


app = FastAPI(title="classifier")
app.add_middleware(Measured)
model = Model(Path(os.environ["BENCH_MODEL"]))


@app.post("/predict")
async def predict(request: Request) -> Response:
    """Classify a picture."""
    if int(request.headers.get("content-length", 0)) > MAX_BYTES:
        return refuse("body_too_large", 413)
    body = await request.body()
    try:
        if POOL:
            answer = await asyncio.get_running_loop().run_in_executor(POOL, model.answer, body)
        else:
            answer = model.answer(body)
        return Response(orjson.dumps(answer), media_type="application/json")
    except UnreadableImageError:
        return refuse("bad_image", 400)


def refuse(code: str, status: int) -> Response:
    """A problem."""
    REJECTED.labels(code).inc()
    return Response(orjson.dumps({"code": code}), status, media_type="application/problem+json")


@app.get("/readyz")
async def readyz() -> dict[str, str]:
    """The model was loaded before the first request."""
    return {"status": "ready"}


@app.get("/metrics")
def metrics() -> Response:
    """The sums of all workers."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")
