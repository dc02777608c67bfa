"""Follow the registry: take up each new champion while the old one answers, and watch it on probation."""

import logging
import threading
import time
from datetime import UTC, datetime, timedelta

from observability.errors import WatchkeeperError
from observability.metrics import (
    SERVE_MODEL_INFO,
    SERVE_REGISTRY_READ,
    SERVE_SWAP_SECONDS,
    SERVE_SWAPS,
)
from services.bento.config import BentoSettings
from services.bento.engine import Engine
from services.bento.instruments import instrument
from services.bento.ledger import Entry
from services.bento.live import Live, load
from services.bento.manifest import read_manifest
from services.bento.probation import Bounds, Record, judge
from services.bento.registry import OvertakenError, Registry

LOG = logging.getLogger("watchkeeper.serve")
RETRY_SECONDS, LONGEST_RETRY_SECONDS = 5.0, 300.0


class ChampionWatch:
    """A thread that keeps the engine's version the registry's champion.

    Args:
        registry: of the one model.
        engine: what answers.
        settings: for the bounds and the interval.
    """

    def __init__(self, registry: Registry, engine: Engine, settings: BentoSettings) -> None:
        self._registry, self._engine, self._settings = registry, engine, settings
        self._bounds = Bounds(settings.probation_error_ratio, settings.probation_latency_ratio)
        self._failed = 0  # number of the entry that could not be taken up
        self._again, self._wait = 0.0, RETRY_SECONDS
        self._judged_again = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="champion", daemon=True)
        self.problem = f"model {registry.model} has no champion; train one with `task retrain`"

    def start(self) -> None:
        """Take up the champion now, then follow."""
        self.look()
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._end.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._end.wait(self._settings.serve_poll_seconds):
            try:
                self.look()
            except Exception:  # nothing may end this thread: without it no champion would ever be taken up
                LOG.exception("looking for the champion of %s failed", self._registry.model)

    def look(self) -> None:
        """One look: take up a new champion, and judge one on probation."""
        try:
            entry = self._registry.champion()
        except (WatchkeeperError, OSError) as error:
            self.problem = f"the registry cannot be read: {error}"
            return
        instrument(SERVE_REGISTRY_READ).labels(self._registry.model).set_to_current_time()
        live = self._engine.live
        if entry and entry.number != (live.number if live else 0):
            self._take_up(entry)
        elif live:
            self._judge(live)

    def _take_up(self, entry: Entry) -> None:
        if entry.number == self._failed and time.monotonic() < self._again:
            return
        model, started = self._registry.model, time.perf_counter()
        old = self._engine.live
        try:
            live = self._load(entry)
        except (WatchkeeperError, OSError) as error:
            self._wait = (
                min(2 * self._wait, LONGEST_RETRY_SECONDS) if entry.number == self._failed else RETRY_SECONDS
            )
            self._failed, self._again = entry.number, time.monotonic() + self._wait
            self.problem = f"champion {entry.champion} cannot be served: {error}"
            instrument(SERVE_SWAPS).labels(model, "failed").inc()
            LOG.error("%s; %s goes on; next try in %.0f s", self.problem, named(old), self._wait)
            return
        self._engine.live, self._engine.before = live, old
        if old:
            instrument(SERVE_MODEL_INFO).labels(model, old.manifest.version).set(0)
        instrument(SERVE_MODEL_INFO).labels(model, live.manifest.version).set(1)
        instrument(SERVE_SWAPS).labels(model, "swapped").inc()
        instrument(SERVE_SWAP_SECONDS).labels(model).observe(time.perf_counter() - started)
        LOG.info("%s answers with %s, before with %s", model, live.manifest.version, named(old))

    def _load(self, entry: Entry) -> Live:
        assert entry.champion  # who moved into the place has a name
        folder = self._registry.fetch(entry.champion, tables=False)
        return load(
            folder,
            read_manifest(folder),
            entry.when,
            self._settings.max_pixels,
            number=entry.number,
            before=entry.before,
            promoted=entry.event == "promoted",
        )

    def _judge(self, live: Live) -> None:
        """Roll a champion on probation back where its live traffic says so."""
        if not live.promoted or live.before is None:
            return
        if datetime.now(UTC) - live.since > timedelta(seconds=self._settings.probation_seconds):
            live.promoted, self._engine.before = False, None
            return
        record, before = live.record, self._engine.before
        reason = judge(record, before.record if before else None, self._bounds)
        if reason is None or time.monotonic() < self._judged_again:
            return
        self._judged_again = time.monotonic() + RETRY_SECONDS
        version = live.manifest.version
        try:
            self._registry.rollback(
                live.before,
                expected=version,
                reason=f"on probation {reason}",
                verdict={"answered": record.answered, "failed": record.failed, "costs": costs_of(record)},
            )
        except OvertakenError:  # another worker, or somebody, was first
            live.promoted = False
            return
        except (WatchkeeperError, OSError) as error:
            LOG.error("%s should go (%s) but was not rolled back: %s", version, reason, error)
            return
        instrument(SERVE_SWAPS).labels(self._registry.model, "rolled_back").inc()
        LOG.error("%s was rolled back to %s: on probation %s", version, live.before, reason)
        self.look()


def costs_of(record: Record) -> dict[str, float]:
    """Milliseconds of the processor an input, by the size of the batch."""
    return {str(size): round(1000 * spent / inputs, 4) for size, (inputs, spent) in record.costs.items()}


def named(live: Live | None) -> str:
    """The version, for a sentence."""
    return live.manifest.version if live else "none"
