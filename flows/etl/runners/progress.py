"""How far a job is that runs where nobody reads what it prints: its driver leaves a small file beside it."""

import json
from dataclasses import dataclass

from flows.etl.runners.base import SparkJob


@dataclass(frozen=True)
class Progress:
    """Spark's tasks that are done and known so far, and the stages that they are of."""

    done: int
    known: int
    stages: int

    def __str__(self) -> str:
        return (
            f"{self.done} of {self.known} tasks of {self.stages} {'stage' if self.stages == 1 else 'stages'}"
        )


def progress_of(job: SparkJob) -> Progress | None:
    """What the driver has told; None where that is nothing yet, or cannot be read now."""
    try:
        return Progress(**json.loads(job.progress.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
