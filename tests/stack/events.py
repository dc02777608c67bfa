"""One sample of every metric that flows push; `python -m tests.stack.events` stands for a run of each."""

from typing import Any

from observability import emit
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


if __name__ == "__main__":
    send_all()
