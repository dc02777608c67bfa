"""One sample of every metric that flows push; `python -m tests.stack.events` stands for a run of each."""

import socket
from typing import Any

from observability import emit
from observability.config import ObservabilitySettings
from observability.metrics import METRICS

PUSHED = [metric for metric in METRICS if not metric.pulled]
LABELS = {m.name: {n: (values or (f"a-{n}",))[0] for n, values in m.labels.items()} for m in PUSHED}
"""Of each metric the labels of its sample."""
VALUE = 3


def send_all() -> None:
    """Send them, and wait until they are sent."""
    send: dict[str, Any] = {"counter": emit.count, "timing": emit.seconds, "gauge": emit.gauge}
    for metric in PUSHED:
        send[metric.kind](metric, VALUE, **LABELS[metric.name])
    emit.sender().close()


def send_nonsense() -> None:
    """A sample that statsd_exporter refuses, so that the panel of those has one."""
    settings = ObservabilitySettings()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"watchkeeper.nonsense:x|c", (settings.statsd_host, settings.statsd_port))


if __name__ == "__main__":
    send_all()
    send_nonsense()
