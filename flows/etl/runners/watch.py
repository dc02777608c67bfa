"""Who is told of a job's life."""

from collections.abc import Callable
from typing import Protocol

from flows.etl.runners.base import Cost, Handle, JobState, SparkJob


class Watch(Protocol):
    """Who is told of a job's life; what it raises ends the job."""

    def before(self, job: SparkJob) -> None:
        """A job is about to be asked for."""

    def submitted(self, job: SparkJob, handle: Handle, links: dict[str, str], *, adopted: bool) -> None:
        """The service has it; `adopted` where it ran before we came."""

    def looked(self, job: SparkJob, handle: Handle, state: JobState, cost: Callable[[], Cost | None]) -> None:
        """What it does now; `cost` asks what it has cost until now."""

    def ended(self, job: SparkJob, handle: Handle, state: JobState, cost: Cost | None) -> None:
        """It has ended, and cost that."""


class Unwatched:
    """Nobody is told."""

    def before(self, job: SparkJob) -> None:
        """Nothing."""

    def submitted(self, job: SparkJob, handle: Handle, links: dict[str, str], *, adopted: bool) -> None:
        """Nothing."""

    def looked(self, job: SparkJob, handle: Handle, state: JobState, cost: Callable[[], Cost | None]) -> None:
        """Nothing."""

    def ended(self, job: SparkJob, handle: Handle, state: JobState, cost: Cost | None) -> None:
        """Nothing."""
