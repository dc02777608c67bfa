"""The interface between the ETL and whatever runs its Spark job."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from flows.errors import WatchkeeperError


class SparkJobError(WatchkeeperError):
    """The job ended without its summary; the text says the cause first."""


class Runner(Protocol):
    """Runs `spark_job.py` with a job description and returns when its files are there."""

    def run(
        self,
        job: Path,
        on_progress: Callable[[int, int], None],
        on_log: Callable[[str], None],
    ) -> None:
        """Run the job to its end.

        Args:
            job: the job description, JSON.
            on_progress: called with Spark tasks done and known so far.
            on_log: called with each line of the driver's log.

        Raises:
            SparkJobError: the job failed.
        """
        ...
