"""The interface between flows and whatever runs their Spark jobs; `life.run_job` takes a job through it."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

from flows.errors import WatchkeeperError
from flows.s3_path import AnyPath

OnProgress = Callable[[int, int], None]
OnLog = Callable[[str], None]
Phase = Literal["pending", "scheduled", "running", "success", "failed", "cancelling", "cancelled"]


class SparkJobError(WatchkeeperError):
    """The job ended without its summary, or could not be run; the text says the cause first."""


class UnansweredError(SparkJobError):
    """The service gave no answer now and may give one later: throttled, unreachable or out of order."""


@dataclass(frozen=True)
class SparkJob:
    """One job: which program runs, on what.

    Attributes:
        program: `etl`, `score` or `profile`: a key of `artifact.PROGRAMS`.
        path: the job's arguments, JSON, here or on S3; the program gets `str(path)` and leaves
            `_summary.json` beside it.
        name: what it works on, for people; one job of a name at a time in a flow run.
        flow: the flow's name.
        run: the flow run's id.
    """

    program: str
    path: AnyPath
    name: str
    flow: str = "none"
    run: str = "none"

    @cached_property
    def token(self) -> str:
        """The same for the same work of the same flow run, and for nothing else; 32 hexadecimal digits."""
        return digest(self.run, self.name, self.program, self.path.read_text(encoding="utf-8"))

    @property
    def key(self) -> str:
        """The same for whatever this flow run does under this name."""
        return digest(self.run, self.name)

    @property
    def summary(self) -> AnyPath:
        """What the program leaves when all is done."""
        return self.path.parent / "_summary.json"

    @property
    def progress(self) -> AnyPath:
        """Where the program says how far it is."""
        return self.path.parent / "_progress.json"

    def attempt(self, number: int) -> str:
        """The token of one attempt, from 1."""
        return f"{self.token}-{number}"


def digest(*texts: str) -> str:
    """A name for these texts, in this order."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Handle:
    """Where a job that was submitted is found again.

    Attributes:
        runner: the runner's name.
        id: of the process, the job run or the step.
        attempt: of the job's token.
        where: the application or the cluster; empty here.
        owned: the cluster was created for this job and ends with it.
    """

    runner: str
    id: str
    attempt: int = 1
    where: str = ""
    owned: bool = False


@dataclass(frozen=True)
class JobState:
    """What a job does now; `detail` is the service's word on it."""

    phase: Phase
    detail: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.phase in ("success", "failed", "cancelled")


@dataclass(frozen=True)
class Cost:
    """What a job used, and what that costs.

    Attributes:
        hours: by resource: `vcpu`, `memory_gb`, `storage_gb`, or a type of instance.
        dollars: by the prices' table; None where it does not know a resource.
        prices: which prices: region and date.
        bound: this is the most that it may have cost until now: it runs still, or is not billed yet, or a
            price is not known but for its bound.
        missing: resources without a price.
    """

    hours: Mapping[str, float] = field(default_factory=dict)
    dollars: float | None = None
    prices: str = ""
    bound: bool = False
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pace:
    """Seconds between two looks at a job: from the first, longer each time, to the longest."""

    first: float
    longest: float
    growth: float = 1.4


class Runner(Protocol):
    """One way to run Spark jobs. Calls raise `SparkJobError`, and `UnansweredError` where asking again helps.

    Attributes:
        name: as the settings call it.
        pace: how often a look at a job is worth its call.
        tells_log: whether `follow` passes the driver's log on; where not, it is fetched after a failure.
        outlives: whether a job goes on without the process that submitted it.
        full_disk: what to do where Spark's disks are full.
        limit_seconds: for which a job may run, where the service itself sets no limit.
    """

    name: str
    pace: Pace
    tells_log: bool
    outlives: bool
    full_disk: str
    limit_seconds: float | None

    def submit(self, job: SparkJob, attempt: int) -> Handle:
        """Start the job; the same attempt of the same token again is the same job, whatever was lost."""
        ...

    def find(self, job: SparkJob) -> Handle | None:
        """The newest attempt of the job's token that the service knows of."""
        ...

    def describe(self, handle: Handle) -> JobState:
        """What the job does now."""
        ...

    def follow(self, handle: Handle, seconds: float, on_progress: OnProgress, on_log: OnLog) -> None:
        """Wait so long, or until the job ends where that is known sooner; pass on what it says meanwhile."""
        ...

    def cancel(self, handle: Handle) -> None:
        """End the job and what was created for it; nothing where it has ended."""
        ...

    def logs(self, handle: Handle) -> list[str]:
        """The last lines of the driver's log; before them, where the service keeps them, of executors."""
        ...

    def cost(self, handle: Handle) -> Cost | None:
        """What the job has cost until now; None where that is nothing, or is not known (yet)."""
        ...

    def links(self, handle: Handle) -> dict[str, str]:
        """Pages about the job, by what they show."""
        ...

    def living(self) -> Iterator[tuple[Handle, dict[str, str]]]:
        """Every job of ours, whoever asked for it, that has not ended, and its tags."""
        ...
