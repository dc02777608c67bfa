"""The service's metrics, kept in process for Prometheus; `observability/metrics.py` declares them.

BentoML sets prometheus_client up for several workers while it starts one, so that nothing may import it
before: this module is imported when the worker starts.
"""

from functools import cache
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from observability.metrics import Metric


@cache
def instrument(metric: Metric) -> Any:  # noqa: ANN401  # one of three classes without a common one
    """The one instrument of a metric in this process.

    Raises:
        ValueError: a metric that is pushed, not pulled.
    """
    if not metric.pulled:
        raise ValueError(f"{metric.name} is emitted by StatsD; observability/emit.py sends it")
    labels = tuple(metric.labels)
    if metric.kind == "counter":
        return Counter(metric.name, metric.help, labels)
    if metric.kind == "gauge":
        # Over the workers that live: `info` is 1 where any has it, a depth is their sum.
        mode = "livemax" if metric.name.endswith("_info") else "livesum"
        return Gauge(metric.name, metric.help, labels, multiprocess_mode=mode)  # type: ignore[arg-type]
    return Histogram(metric.name, metric.help, labels, buckets=metric.buckets)
