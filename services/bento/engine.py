"""In front of the model: one thread decodes what waits, predicts it as a batch, and delivers.

The event loop only speaks HTTP. A batch is what has come while the one before was answered, so that nobody
waits for company; each input of it fails alone. Large pictures are decoded by a thread of their own.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from observability.metrics import (
    SERVE_BATCH_SIZE,
    SERVE_DECODE_SECONDS,
    SERVE_INFERENCE_SECONDS,
)
from services.bento.instruments import instrument
from services.bento.lane import Lane
from services.bento.live import Live, Payload
from services.bento.predictor import Answer, Picture
from services.bento.problems import ProblemError

Response = dict[str, Any]
NO_MODEL = "no version is live; GET /readyz says why"
BROKEN = "the model did not answer this input with finite numbers"
LARGE = 2_000_000
"""Pixels of a picture that is decoded in a lane of its own, so that others do not wait for it."""


Decoded = tuple[Any, Picture | None]
Result = Response | ProblemError | None


@dataclass
class Waiting:
    """An input in the queue and who waits for it; `decoded` with the version it was decoded for.

    A probe's is answered as any other, and kept nowhere.
    """

    payload: Payload
    future: "asyncio.Future[Response]"
    probe: bool = False
    decoded: tuple[Live, Decoded] | None = None


@dataclass(frozen=True)
class Answered:
    """A batch that was answered, for the log and the shadow: rows and outputs in the same order."""

    live: Live
    ids: list[str]
    payloads: list[Payload]
    rows: list[Any]
    pictures: list[Picture | None]
    outputs: Any
    embedding: Any


class Engine:
    """Answers inputs with the live version.

    Args:
        batch: inputs given to the model at once, at most.
        large: large pictures that may wait; more are refused.
        after: called in the thread with each batch, when its answers are on their way and no input waits.
    """

    def __init__(self, batch: int, large: int, after: Callable[[Answered], None]) -> None:
        self.live: Live | None = None
        self.before: Live | None = None
        self._most_large, self._after = large, after
        self._loop = asyncio.get_running_loop()
        self._lane: Lane[Waiting] = Lane("inference", batch, self._work)
        self._large: Lane[Waiting] = Lane("large pictures", 1, self._work_large)

    def submit(self, payload: Payload, *, probe: bool = False) -> "asyncio.Future[Response]":
        """Queue an input; the future gets its answer, or a `ProblemError`."""
        future: asyncio.Future[Response] = self._loop.create_future()
        self._lane.put(Waiting(payload, future, probe))
        return future

    @property
    def waiting(self) -> int:
        """Inputs that wait for the model, those whose senders have gone too."""
        return len(self._lane)

    @property
    def busy_seconds(self) -> float:
        """How long the batch of now has been in work."""
        return self._lane.busy_seconds

    def close(self) -> None:
        """Answer what waits, and end the threads."""
        self._large.close()
        self._lane.close()

    def _work(self, batch: list[Waiting]) -> None:
        answered = None
        results: list[Result] = [ProblemError("model_error", BROKEN) for _ in batch]
        try:
            answered = self._answer(batch, results)
        finally:
            self._loop.call_soon_threadsafe(deliver, batch, results)
        if answered:
            self._lane.later(partial(self._after, answered))

    def _work_large(self, items: list[Waiting]) -> None:
        (item,) = items
        live = self.live
        if item.future.done() or live is None:
            return
        problem = ProblemError("model_error", BROKEN)
        try:
            item.decoded = live, decode(live, item.payload, live.max_pixels)
        except ProblemError as known:
            problem = known
        finally:
            if item.decoded:
                self._lane.put(item)
            else:
                self._loop.call_soon_threadsafe(deliver, items, [problem])

    def _answer(self, batch: list[Waiting], results: list[Result]) -> Answered | None:
        """Fill in the results, None for what goes on in the other lane; return what was answered."""
        live = self.live
        places, rows, pictures = [], [], []
        for place, item in enumerate(batch):
            decoded = self._decoded(live, item)
            if isinstance(decoded, tuple):
                places.append(place)
                rows.append(decoded[0])
                pictures.append(decoded[1])
            else:
                results[place] = decoded
        if live is None or not rows:
            return None
        answer, seconds = predict(live, rows)
        outputs, embedding = answer.outputs, answer.embedding
        good: Any = np.isfinite(outputs).reshape(len(rows), -1).all(axis=1)
        failed = [row for row, fine in zip(rows, good, strict=True) if not fine]
        live.record = live.record.plus(len(rows), self._to_blame(live, failed), seconds)
        ids = [uuid.uuid4().hex for _ in rows]
        for place, number, output, fine in zip(places, ids, outputs, good, strict=True):
            results[place] = said(live, output, number) if fine else ProblemError("model_error", BROKEN)
        kept = [n for n in np.flatnonzero(good) if not batch[places[n]].probe]
        if not kept:
            return None
        return Answered(
            live,
            [ids[n] for n in kept],
            [batch[places[n]].payload for n in kept],
            [rows[n] for n in kept],
            [pictures[n] for n in kept],
            outputs[kept],
            None if embedding is None else embedding[kept],
        )

    def _to_blame(self, live: Live, rows: list[Any]) -> int:
        """How many failed rows are the version's fault: what the champion before cannot answer is not."""
        before = self.before
        if not rows or before is None or before.manifest.input != live.manifest.input:
            return len(rows)
        answered = each_alone(before, rows).outputs.reshape(len(rows), -1)
        return int(np.isfinite(answered).all(axis=1).sum())

    def _decoded(self, live: Live | None, item: Waiting) -> Decoded | ProblemError | None:
        """An input's row; None where nobody waits any more, or it goes through the other lane."""
        if item.future.done():
            return None
        if live is None:
            return ProblemError("no_model", NO_MODEL)
        if item.decoded and item.decoded[0] is live:
            return item.decoded[1]
        try:
            return decode(live, item.payload, min(LARGE, live.max_pixels))
        except ProblemError as problem:
            if problem.code != "too_many_pixels" or live.max_pixels <= LARGE:
                return problem
        if len(self._large) >= self._most_large:
            return ProblemError("busy", f"{self._most_large} large pictures wait already; try again")
        self._large.put(item)
        return None


def decode(live: Live, payload: Payload, max_pixels: int) -> Decoded:
    """`Live.decode`, timed."""
    started = time.perf_counter()
    try:
        return live.decode(payload, max_pixels)
    finally:
        took = time.perf_counter() - started
        instrument(SERVE_DECODE_SECONDS).labels(live.manifest.model).observe(took)


def predict(live: Live, rows: list[Any]) -> tuple[Answer, float]:
    """The answer to decoded rows, NaN where it failed, and seconds of the processor."""
    instrument(SERVE_BATCH_SIZE).labels(live.manifest.model).observe(len(rows))
    started, of_processor = time.perf_counter(), time.thread_time()
    try:
        answer = live.predict(rows)
    except Exception:  # ONNX Runtime's errors have no common class
        answer = each_alone(live, rows)
    instrument(SERVE_INFERENCE_SECONDS).labels(live.manifest.model).observe(time.perf_counter() - started)
    return answer, time.thread_time() - of_processor


def each_alone(live: Live, rows: list[Any]) -> Answer:
    """The answer of a batch that failed."""
    width, size = len(live.manifest.classes), live.manifest.embedding_size
    outputs = np.full((len(rows), width) if width else len(rows), np.nan, np.float32)
    embedding = np.full((len(rows), size), np.nan, np.float32) if size else None
    for place, row in enumerate(rows):
        with suppress(Exception):
            answer = live.predict([row])
            outputs[place] = answer.outputs[0]
            if embedding is not None and answer.embedding is not None:
                embedding[place] = answer.embedding[0]
    return Answer(outputs, embedding)


def said(live: Live, output: Any, request_id: str) -> Response:  # noqa: ANN401  # a row of an array
    """The answer to one input."""
    manifest = live.manifest
    if manifest.task == "regression":
        answer: Response = {"value": float(output)}
    else:
        shares = output.tolist()
        best = int(output.argmax())
        answer = {
            "label": manifest.classes[best],
            "probability": shares[best],
            "probabilities": dict(zip(manifest.classes, shares, strict=True)),
        }
    return answer | {"model_version": manifest.version, "request_id": request_id}


def deliver(batch: list[Waiting], results: Sequence[Result]) -> None:
    """In the event loop: hand the answers to those who still wait."""
    for item, result in zip(batch, results, strict=True):
        if item.future.done():
            continue
        if isinstance(result, ProblemError):
            item.future.set_exception(result)
        elif isinstance(result, dict):
            item.future.set_result(result)
