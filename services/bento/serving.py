"""One worker's parts, put together: the champion, the engine, the logs, the shadow."""

import asyncio
import ctypes
import gc
import logging
import random
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import numpy as np

from observability.errors import WatchkeeperError
from observability.metrics import (
    SERVE_CONFIDENCE_RATIO,
    SERVE_LOG_ROWS,
    SERVE_MODEL_INFO,
    SERVE_PREDICTIONS,
    SERVE_QUEUE,
    SERVE_SHADOW,
    SERVE_SWAPS,
)
from services.bento.admission import Admission
from services.bento.bodies import Bodies
from services.bento.champion import ChampionWatch
from services.bento.config import BentoSettings
from services.bento.engine import Answered, Engine
from services.bento.instruments import forget_dead_workers, instrument
from services.bento.kept import Kept, rows_of, told
from services.bento.landing_log import LandingLog
from services.bento.lane import Lane
from services.bento.live import Live, Payload, load
from services.bento.manifest import read_manifest
from services.bento.predictor import descriptors
from services.bento.probation import Record
from services.bento.problems import ProblemError
from services.bento.registry import Registry
from services.bento.store import open_store
from services.bento.verify import verify

LOG = logging.getLogger("watchkeeper.serve")
MOST_SHADOWS = 4
"""Batches that wait for the shadow version; more are dropped."""
M_MMAP_THRESHOLD, MMAP_BYTES = -3, 1 << 20  # mallopt(3)
REQUEST_ID = re.compile(r"[0-9a-f]{32}")


def give_memory_back() -> None:
    """Have glibc return large blocks when they are freed: it keeps them once it has seen one go."""
    with suppress(OSError, AttributeError):  # another C library has no such habit
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)


class NoPandas(MetaPathFinder):
    """Keeps PyArrow from loading pandas, where that is installed, for the first list that it is given.

    It costs 80 MB, and a third of a second in which nobody is answered; nothing here needs it.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse pandas, leave all others to those who come next."""
        if name == "pandas":
            raise ModuleNotFoundError("the service leaves pandas out", name=name)


class Serving:
    """What answers in this worker; made within its event loop.

    Args:
        settings: the service's.
        packaged: the version's folder that the Bento carries, where no registry is followed.
    """

    def __init__(self, settings: BentoSettings, packaged: Path | None) -> None:
        give_memory_back()
        sys.meta_path.insert(0, NoPandas())
        forget_dead_workers()
        self.settings = settings
        self.bodies = Bodies(settings.serve_body_mb << 20, settings.serve_timeout_seconds)
        self._shadows: Lane[Answered] = Lane("shadow", 1, self._ask_shadow)
        self.inside = 0
        self._admission = Admission(settings.serve_queue, settings.serve_burst)
        landing = settings.landing / "serving"
        sizes = (settings.serve_log_rows, settings.serve_log_seconds)
        self._log = LandingLog(landing / "predictions", *sizes, rows_of)
        self._feedback = LandingLog(landing / "feedback", *sizes, told)
        self._shadow: Live | None = None
        self._started = False
        self.engine = Engine(settings.serve_batch, max(1, settings.serve_queue // 4), self._after)
        self._watch: ChampionWatch | None = None
        if packaged is None:
            assert settings.model  # `service.py` asks for one of the two
            registry = Registry(open_store(settings.registry), settings.model)
            self._watch = ChampionWatch(registry, self.engine, settings)
            self._load_shadow(registry)
        else:
            self._carry(packaged)

    async def start(self) -> None:
        """Take up the champion."""
        if self._watch:
            await asyncio.to_thread(self._watch.start)

    def open(self) -> None:
        """What comes from now on is traffic: what came before, the example, is in no log and no record."""
        if self.engine.live:
            self.engine.live.record = Record()
            begin_at_zero(self.engine.live.manifest.model)
        # What a worker has loaded by now stays: a full collection of it would hold every answer up for 80 ms.
        gc.collect()
        gc.freeze()
        self._started = True

    async def stop(self) -> None:
        """Answer what waits, write the logs, end every thread."""
        for part in (self._watch, self.engine, self._shadows, self._log, self._feedback):
            if part:
                await asyncio.to_thread(part.close)

    @property
    def not_ready(self) -> str | None:
        """Why no input can be answered, or None."""
        if self.stuck:
            return self.stuck
        if self.engine.live is None:
            return self._watch.problem if self._watch else "no version is loaded"
        return None

    @property
    def stuck(self) -> str | None:
        """Whether the model has been at one batch for longer than anybody waits."""
        seconds = self.engine.busy_seconds
        patience = 2 * self.settings.serve_timeout_seconds
        return f"a batch is in work for {seconds:.0f} s" if seconds > patience else None

    async def answer(
        self, payloads: list[Payload], *, probe: bool = False
    ) -> list[dict[str, Any] | ProblemError]:
        """Answer inputs, each with its answer or its problem. A long list goes in turns, others between them.

        What a probe asks is kept in no log.

        Raises:
            ProblemError: the queue is full, or the time is over.
        """
        self.refuse_when_full()
        seconds, size = self.settings.serve_timeout_seconds, self.settings.serve_batch
        answers: list[dict[str, Any] | ProblemError] = []
        try:
            async with asyncio.timeout(seconds):
                for start in range(0, len(payloads), size):
                    answers += await self._turn(payloads[start : start + size], probe)
        except TimeoutError:
            raise ProblemError("timeout", f"no answer within {seconds:g} s; try again") from None
        return answers

    async def _turn(self, payloads: list[Payload], probe: bool) -> list[dict[str, Any] | ProblemError]:
        self.inside += len(payloads)
        instrument(SERVE_QUEUE).set(self.inside)
        try:
            return await asyncio.gather(  # type: ignore[return-value]
                *(self.engine.submit(payload, probe=probe) for payload in payloads), return_exceptions=True
            )
        finally:
            self.inside -= len(payloads)
            instrument(SERVE_QUEUE).set(self.inside)

    def refuse_when_full(self) -> None:
        """Say that the queue is full, before anything of a request is read."""
        waiting = max(self.inside, self.engine.waiting)
        if self._admission.refuses(waiting):
            raise ProblemError("busy", f"{waiting} inputs wait already; try again")

    def feedback(self, said: object) -> None:
        """Keep the label of an earlier answer.

        Raises:
            ProblemError: no request id, or no label of the model.
        """
        if not isinstance(said, dict) or said.keys() != {"request_id", "label"}:
            raise ProblemError("bad_request", 'send {"request_id": "...", "label": "..."}')
        request_id, label = said["request_id"], said["label"]
        if not isinstance(request_id, str) or not REQUEST_ID.fullmatch(request_id):
            raise ProblemError("bad_request", "request_id is none of this service: 32 hexadecimal digits")
        classes = self.engine.live.manifest.classes if self.engine.live else []
        if label not in classes:
            raise ProblemError(
                "bad_request", f"label is none of {', '.join(classes) or 'a model without classes'}"
            )
        if not self._feedback.offer(1, (request_id, datetime.now(UTC), label)):
            raise ProblemError("overloaded", "feedback cannot be kept now; try again")

    def _load_shadow(self, registry: Registry) -> None:
        version = self.settings.shadow_version
        if not version:
            return
        try:
            folder = registry.fetch(version, tables=False)
            self._shadow = load(folder, read_manifest(folder), datetime.now(UTC), self.settings.max_pixels)
        except (WatchkeeperError, OSError) as error:
            LOG.error("shadow version %s is not served: %s", version, error)
            instrument(SERVE_SHADOW).labels(registry.model, "failed").inc()

    def _carry(self, folder: Path) -> None:
        """Serve the version that the Bento carries, for ever."""
        manifest = read_manifest(folder)
        verify(folder, manifest, tables=False)
        self.engine.live = load(folder, manifest, manifest.created, self.settings.max_pixels)
        instrument(SERVE_MODEL_INFO).labels(manifest.model, manifest.version).set(1)

    def _after(self, answered: Answered) -> None:
        """What follows answers, when they are on their way: their metrics, the log and the shadow."""
        if not self._started:  # the example
            return
        self._count(answered)
        self._keep(answered, answered.live, answered.outputs, answered.embedding, shadow=False)
        # Not secret: which requests the shadow sees.
        if self._shadow and random.random() < self.settings.shadow_share:  # noqa: S311
            if len(self._shadows) < MOST_SHADOWS:
                self._shadows.put(answered)
            else:
                instrument(SERVE_SHADOW).labels(self._shadow.manifest.model, "dropped").inc(len(answered.ids))

    @staticmethod
    def _count(answered: Answered) -> None:
        manifest = answered.live.manifest
        if manifest.classes:
            confidence = instrument(SERVE_CONFIDENCE_RATIO).labels(manifest.model)
            for label, share in zip(
                labels_of(answered.live, answered.outputs), answered.outputs.max(axis=1), strict=True
            ):
                confidence.observe(float(share))
                instrument(SERVE_PREDICTIONS).labels(manifest.model, label).inc()

    def _ask_shadow(self, batches: list[Answered]) -> None:
        """In a lane of its own: a shadow holds nobody up."""
        (answered,), shadow = batches, self._shadow
        assert shadow  # who fills the lane has looked
        counter, model = instrument(SERVE_SHADOW), shadow.manifest.model
        try:
            same_input = shadow.manifest.input == answered.live.manifest.input
            rows = (
                answered.rows
                if same_input
                else [shadow.decode(p, shadow.max_pixels)[0] for p in answered.payloads]
            )
            answer = shadow.predict(rows)
            if not np.isfinite(answer.outputs).all():
                raise ValueError("not finite")
        except Exception as error:
            counter.labels(model, "failed").inc(len(answered.ids))
            LOG.warning("shadow version %s did not answer: %s", shadow.manifest.version, error)
            return
        if shadow.manifest.classes:
            labels, said = labels_of(shadow, answer.outputs), labels_of(answered.live, answered.outputs)
            same = sum(ours == theirs for ours, theirs in zip(labels, said, strict=True))
            counter.labels(model, "same").inc(same)
            counter.labels(model, "other").inc(len(labels) - same)
        self._keep(answered, shadow, answer.outputs, answer.embedding, shadow=True)

    def _keep(self, answered: Answered, live: Live, outputs: Any, embedding: Any, *, shadow: bool) -> None:  # noqa: ANN401
        looks = [descriptors(picture) if picture else {} for picture in answered.pictures]
        kept = Kept(live, shadow, answered.ids, datetime.now(UTC), outputs, embedding, looks)
        self._log.offer(len(kept.ids), kept)


def begin_at_zero(model: str) -> None:
    """Make the series that alerts watch for their first event: Prometheus sees no increase in a new one."""
    for outcome in SERVE_SWAPS.labels["outcome"] or ():
        instrument(SERVE_SWAPS).labels(model, outcome)
    for outcome in SERVE_LOG_ROWS.labels["outcome"] or ():
        instrument(SERVE_LOG_ROWS).labels(outcome)


def labels_of(live: Live, outputs: Any) -> list[str]:  # noqa: ANN401  # an array
    """The label of each row; none of a regression."""
    classes = live.manifest.classes
    return [classes[number] for number in outputs.argmax(axis=1)] if classes else []
