"""Emit counters, timings and gauges by StatsD: fire and forget, silent when nobody listens.

A thread sends, so that no name server and no connection holds a run up; what waits beyond a bound is lost. A
sample travels as the metric's name and its label values in the declared order, joined by dots; a dot in
a value would be lost in statsd_exporter, so it becomes an underscore.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import statsd

from observability.background import PATIENCE_SECONDS, Background
from observability.config import ObservabilitySettings
from observability.metrics import Metric

UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
Sample = tuple[str, str, float]
"""The client's method, the series' StatsD name, and the value."""


class Sending:
    """Speaks to StatsD; connects anew after a failure."""

    def __init__(self) -> None:
        self._client: statsd.StatsClient | statsd.TCPStatsClient | None = None

    def __call__(self, sample: Sample) -> None:
        """Send one sample.

        Raises:
            OSError: it cannot be sent.
            UnicodeError: the host has not even the form of one.
        """
        method, name, value = sample
        try:
            self._client = self._client or connected()
            getattr(self._client, method)(name, value)
        except (OSError, UnicodeError):
            self._client = None
            raise


def connected() -> "statsd.StatsClient | statsd.TCPStatsClient":
    """A client as the settings say."""
    settings = ObservabilitySettings()
    if settings.statsd_protocol == "tcp":
        return statsd.TCPStatsClient(settings.statsd_host, settings.statsd_port, timeout=PATIENCE_SECONDS)
    return statsd.StatsClient(settings.statsd_host, settings.statsd_port)


@cache
def sender() -> Background[Sample]:
    """The process's."""
    return Background("statsd", Sending())


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


def count(metric: Metric, amount: float, **labels: str) -> None:
    """Add to a counter; nothing is sent for 0."""
    name = bucket(metric, labels)
    if amount:
        sender().put(("incr", name, amount))


def seconds(metric: Metric, duration: float, **labels: str) -> None:
    """Record a duration."""
    # In StatsD's unit; the exporter turns it back into seconds.
    sender().put(("timing", bucket(metric, labels), duration * 1000))


def gauge(metric: Metric, value: float, **labels: str) -> None:
    """Set a value that stays until the next."""
    sender().put(("gauge", bucket(metric, labels), value))


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
