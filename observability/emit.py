"""Emit counters, timings and gauges by StatsD over UDP: fire and forget, silent when nobody listens.

A sample travels as the metric's name and its label values in the declared order, joined by dots; a dot in
a value would be lost in statsd_exporter, so it becomes an underscore.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import statsd

from observability.config import ObservabilitySettings
from observability.metrics import Metric

UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


@cache
def client() -> "statsd.StatsClient | None":
    """One socket a process; None where the host has no address (telemetry never stops a run)."""
    settings = ObservabilitySettings()
    try:
        return statsd.StatsClient(settings.statsd_host, settings.statsd_port)
    except (OSError, UnicodeError):  # UnicodeError: not even the form of a host name
        return None


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
    name, sender = bucket(metric, labels), client()
    if sender and amount:
        sender.incr(name, amount)


def seconds(metric: Metric, duration: float, **labels: str) -> None:
    """Record a duration."""
    name, sender = bucket(metric, labels), client()
    if sender:
        sender.timing(name, duration * 1000)  # StatsD's unit; the exporter turns it back into seconds


def gauge(metric: Metric, value: float, **labels: str) -> None:
    """Set a value that stays until the next."""
    name, sender = bucket(metric, labels), client()
    if sender:
        sender.gauge(name, value)


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
