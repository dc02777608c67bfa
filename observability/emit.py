"""Emit counters, timings and gauges by StatsD: fire and forget, silent when nobody listens.

A thread sends, so that no name server and no connection holds a run up; what waits beyond a bound is lost. A
sample travels as the metric's name and its label values in the declared order, joined by dots; a dot in
a value would be lost in statsd_exporter, so it becomes an underscore.
"""

import atexit
import queue
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import statsd

from observability.config import ObservabilitySettings
from observability.metrics import Metric

UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
WAITING = 1000
"""Samples that may wait for the thread."""
QUIET_SECONDS = 10.0
"""For which nothing is tried after a failure."""
PATIENCE_SECONDS = 1.0
"""Of a connection, and of the process's end for what still waits."""


class Sender:
    """The one thread of a process that speaks to StatsD."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[str, str, float] | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="statsd", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def put(self, method: str, name: str, value: float) -> None:
        """Have a sample sent some time soon, or never."""
        with suppress(queue.Full):
            self._waiting.put_nowait((method, name, value))

    def close(self) -> None:
        """Send what waits, with patience."""
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(PATIENCE_SECONDS)

    def _run(self) -> None:
        client, quiet_until = None, 0.0
        while (sample := self._waiting.get()) is not None:
            if time.monotonic() < quiet_until:
                continue
            method, name, value = sample
            try:
                client = client or connected()
                getattr(client, method)(name, value)
            except (OSError, UnicodeError):  # UnicodeError: not even the form of a host name
                client, quiet_until = None, time.monotonic() + QUIET_SECONDS


def connected() -> "statsd.StatsClient | statsd.TCPStatsClient":
    """A client as the settings say."""
    settings = ObservabilitySettings()
    if settings.statsd_protocol == "tcp":
        return statsd.TCPStatsClient(settings.statsd_host, settings.statsd_port, timeout=PATIENCE_SECONDS)
    return statsd.StatsClient(settings.statsd_host, settings.statsd_port)


@cache
def sender() -> Sender:
    """The process's."""
    return Sender()


def bucket(metric: Metric, labels: dict[str, str]) -> str:
    """The StatsD name of one series.

    Raises:
        ValueError: labels that the metric does not declare, or a value that it does not allow.
    """
    if labels.keys() != metric.labels.keys():
        raise ValueError(f"{metric.name} has labels {sorted(metric.labels)}, not {sorted(labels)}")
    for label, allowed in metric.labels.items():
        if allowed is not None and labels[label] not in allowed:
            raise ValueError(f"{metric.name}: {label}={labels[label]!r} is not one of {', '.join(allowed)}")
    return ".".join([metric.name, *(UNSAFE.sub("_", labels[label]) or "_" for label in metric.labels)])


def count(metric: Metric, amount: int, **labels: str) -> None:
    """Add to a counter; nothing is sent for 0."""
    name = bucket(metric, labels)
    if amount:
        sender().put("incr", name, amount)


def seconds(metric: Metric, duration: float, **labels: str) -> None:
    """Record a duration."""
    # In StatsD's unit; the exporter turns it back into seconds.
    sender().put("timing", bucket(metric, labels), duration * 1000)


def gauge(metric: Metric, value: float, **labels: str) -> None:
    """Set a value that stays until the next."""
    sender().put("gauge", bucket(metric, labels), value)


@contextmanager
def timed(metric: Metric, **labels: str) -> Iterator[None]:
    """Record how long the block took, also when it raises.

    Raises:
        ValueError: before the block, labels that the metric does not declare or allow.
    """
    bucket(metric, labels)
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds(metric, time.perf_counter() - started, **labels)
