"""The exporter: at each scrape it asks the sources of truth, each behind a collector that can fail alone."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import GaugeMetricFamily

from observability.metrics import COLLECTOR_SECONDS, COLLECTOR_UP, Metric

LOG = logging.getLogger("watchkeeper.exporter")
Sample = tuple[Metric, dict[str, str], float]
"""A gauge of `metrics.py`, the values of its labels, and its value."""


@dataclass
class Collector:
    """One source of truth.

    Attributes:
        name: of the label.
        read: asks the source; may raise.
        timeout: seconds from being asked for which a scrape waits; what it says later is the next scrape's.
        fresh: seconds for which an answer is good.
    """

    name: str
    read: Callable[[], Iterable[Sample]]
    timeout: float = 5.0
    fresh: float = 5.0
    _said: tuple[list[Sample] | None, float] = (None, 0.0)
    _asked: float = float("-inf")
    _asking: threading.Thread = field(default_factory=threading.Thread)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Ask the source, unless its answer is still good, or still to come."""
        with self._lock:  # two may scrape at once
            if not self._asking.is_alive() and time.monotonic() - self._asked > self.fresh:
                self._asked = time.monotonic()
                self._asking = threading.Thread(target=self._ask, name=self.name, daemon=True)
                self._asking.start()

    def samples(self) -> Iterator[Sample]:
        """What the source says, or nothing; and whether it answered, and how long it took."""
        with self._lock:
            asking, asked = self._asking, self._asked
        asking.join(max(0.0, asked + self.timeout - time.monotonic()))
        samples, took = self._said
        if asking.is_alive():
            samples, took = None, time.monotonic() - asked
        yield COLLECTOR_UP, {"collector": self.name}, float(samples is not None)
        yield COLLECTOR_SECONDS, {"collector": self.name}, took
        yield from samples or []

    def _ask(self) -> None:
        started, samples = time.perf_counter(), None
        try:
            samples = list(self.read())
        except Exception as error:  # whatever the source's library raises: the metric says that it failed
            LOG.warning("collector %s failed: %s", self.name, error)
        self._said = samples, time.perf_counter() - started


class Exporter:
    """What prometheus_client scrapes: all collectors' samples, by metric."""

    def __init__(self, collectors: list[Collector]) -> None:
        self._collectors = collectors

    def begin(self) -> None:
        """Ask all sources at once: a scrape takes as long as the slowest."""
        for collector in self._collectors:
            collector.begin()

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
    server, thread = start_http_server(port, host, registry)
    exporter.begin()  # a first answer may take longer than a scrape waits

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
