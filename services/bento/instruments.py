"""The service's metrics, kept in process for Prometheus; `observability/metrics.py` declares them.

BentoML sets prometheus_client up for several workers while it starts one, so that nothing may import it
before: this module is imported when the worker starts.
"""

import os
import threading
from pathlib import Path
from typing import Any

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.multiprocess import mark_process_dead

from observability.metrics import Metric
from services.bento.accept import lives

MADE: dict[str, Any] = {}
MAKING = threading.Lock()


def instrument(metric: Metric) -> Any:  # noqa: ANN401  # one of three classes without a common one
    """The one instrument of a metric in this process, whichever thread asks first.

    Raises:
        ValueError: a metric that is pushed, not pulled.
    """
    made = MADE.get(metric.name)
    if made is None:
        with MAKING:
            made = MADE.get(metric.name) or MADE.setdefault(metric.name, make(metric))
    return made


def make(metric: Metric) -> Counter | Gauge | Histogram:
    """A new instrument; prometheus_client refuses a second one of the same name."""
    if not metric.pulled:
        raise ValueError(f"{metric.name} is emitted by StatsD; observability/emit.py sends it")
    labels = tuple(metric.labels)
    if metric.kind == "counter":
        return Counter(metric.name, metric.help, labels)
    if metric.kind == "gauge":
        # Over the workers that live: `info` is 1 where any has it, a time is the oldest, a depth their sum.
        modes = {"_info": "livemax", "_timestamp_seconds": "livemin"}
        mode = next((modes[end] for end in modes if metric.name.endswith(end)), "livesum")
        return Gauge(metric.name, metric.help, labels, multiprocess_mode=mode)  # type: ignore[arg-type]
    return Histogram(metric.name, metric.help, labels, buckets=metric.buckets)


def forget_dead_workers() -> None:
    """Leave out gauges of workers that were killed: BentoML starts others and says nothing."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    for file in Path(folder).glob("gauge_live*_*.db") if folder else ():
        pid = file.stem.rpartition("_")[2]
        if pid.isdecimal() and not lives(int(pid)):
            mark_process_dead(int(pid))  # type: ignore[no-untyped-call]
