"""What a collector says, to be looked up by metric and labels."""

from collections.abc import Iterable

from observability.exporter import Sample
from observability.metrics import Metric


class Said:
    """The samples of one look; each series is there once, with the labels that its metric declares."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for metric, labels, value in samples:
            assert labels.keys() == metric.labels.keys()
            for label, allowed in metric.labels.items():
                assert allowed is None or labels[label] in allowed
            key = metric.name, frozenset(labels.items())
            assert key not in self._values, key
            self._values[key] = value

    def of(self, metric: Metric, **labels: str) -> float | None:
        """The value of a series, or None where there is none."""
        return self._values.get((metric.name, frozenset(labels.items())))
