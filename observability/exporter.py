"""The exporter: at each scrape it asks the sources of truth, each behind a collector that can fail alone."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import GaugeMetricFamily

from observability.metrics import COLLECTOR_SECONDS, COLLECTOR_UP, Metric

STARTING = 5.0
"""Seconds for which the first scrape may have to wait for the first answers: until then nothing listens."""
SHARE = 20
"""A source that no scrape waits for is read for a twentieth of the time at most."""
RECENT = 60.0
"""Seconds after its time for which an answer may stand in for one that is still to come."""
LOG = logging.getLogger("watchkeeper.exporter")
Sample = tuple[Metric, dict[str, str], float]
"""A gauge of `metrics.py`, the values of its labels, and its value."""


@dataclass
class Collector:
    """One source of truth.

    Attributes:
        name: of the label.
        read: asks the source; may raise.
        timeout: seconds from being asked in which the source must answer; after them it counts as failed.
        fresh: seconds for which an answer is good.
        wait: seconds of them for which a scrape waits; then it says what the source has said just before.
        held: seconds for which the last answer stands in where the source fails: series that were gone for a
            scrape would end their alerts, and begin them again. Not for what grows old by not being read.
    """

    name: str
    read: Callable[[], Iterable[Sample]]
    timeout: float = 5.0
    fresh: float = 5.0
    wait: float = 0.5
    held: float = 0.0
    _good: tuple[list[Sample], float] = field(default_factory=lambda: ([], float("-inf")))
    _said: tuple[list[Sample] | None, float] | None = None
    _answered: float = float("-inf")
    _asked: float = float("-inf")
    _asking: threading.Thread = field(default_factory=threading.Thread)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Ask the source, unless its answer is still good, or still to come."""
        took = self._said[1] if self._said else 0.0
        good = self.fresh if self.wait else max(self.fresh, SHARE * took)
        with self._lock:  # two may scrape at once
            if not self._asking.is_alive() and time.monotonic() - self._asked > good:
                self._asked = time.monotonic()
                self._asking = threading.Thread(target=self._ask, name=self.name, daemon=True)
                self._asking.start()

    def settle(self, seconds: float) -> None:
        """Wait for the answer, so long from being asked."""
        with self._lock:
            asking, asked = self._asking, self._asked
        asking.join(max(0.0, asked + seconds - time.monotonic()))

    def samples(self) -> Iterator[Sample]:
        """What the source says, or nothing; and whether it answered, and how long it took.

        Of a source that has said nothing yet and still has time neither is known.
        """
        recent = time.monotonic() - self._answered < self.fresh + RECENT
        self.settle(self.wait if recent or not self.wait else min(self.timeout, STARTING))
        said, taking = self._said, time.monotonic() - self._asked
        if self._asking.is_alive() and taking > self.timeout:
            said = None, taking
        if said is None:
            return
        samples, took = said
        yield COLLECTOR_UP, {"collector": self.name}, float(samples is not None)
        yield COLLECTOR_SECONDS, {"collector": self.name}, took
        good, when = self._good
        if samples is None and time.monotonic() - when < self.held:
            samples = good
        yield from samples or []

    def _ask(self) -> None:
        started, samples = time.perf_counter(), None
        try:
            samples = list(self.read())
            self._good = samples, time.monotonic()
        except Exception as error:  # whatever the source's library raises: the metric says that it failed
            LOG.warning("collector %s failed: %s", self.name, error)
        self._said, self._answered = (samples, time.perf_counter() - started), time.monotonic()


class Exporter:
    """What prometheus_client scrapes: all collectors' samples, by metric."""

    def __init__(self, collectors: list[Collector]) -> None:
        self._collectors = collectors

    def begin(self) -> None:
        """Ask all sources at once: a scrape waits for the slowest, and no longer than its `wait`."""
        for collector in self._collectors:
            collector.begin()

    def start(self) -> None:
        """Ask all sources, and give those that a scrape waits for the time of a first answer."""
        self.begin()
        for collector in self._collectors:
            if collector.wait:
                collector.settle(STARTING)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families of one scrape."""
        families: dict[str, GaugeMetricFamily] = {}
        self.begin()
        for collector in self._collectors:
            for metric, labels, value in collector.samples():
                if metric.name not in families:
                    families[metric.name] = GaugeMetricFamily(
                        metric.name, metric.help, labels=list(metric.labels)
                    )
                families[metric.name].add_metric([labels[name] for name in metric.labels], value)
        yield from families.values()


def serve(collectors: list[Collector], port: int, host: str = "127.0.0.1") -> Callable[[], None]:
    """Answer scrapes from threads of this process; returns what ends that."""
    exporter, registry = Exporter(collectors), CollectorRegistry()
    registry.register(exporter)
    exporter.start()
    server, thread = start_http_server(port, host, registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
