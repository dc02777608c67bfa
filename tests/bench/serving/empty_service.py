"""The least that BentoML serves, to compare a cold start with."""

import os

import bentoml


@bentoml.service(workers=int(os.environ.get("BENCH_WORKERS", "1")))
class Empty:
    """Answers what it was asked."""

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, text: str) -> str:
        """The same text."""
        return text
