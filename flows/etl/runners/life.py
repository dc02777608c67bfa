"""A job's life from its submission to its end: never twice, never left behind.

Run by every flow that has a Spark job. Whoever asks again for the same work of the same flow run gets the
job that already runs; whatever ends the wait, ends the job.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from flows.etl.runners.base import (
    Cost,
    Handle,
    JobState,
    OnLog,
    OnProgress,
    Pace,
    Runner,
    SparkJob,
    SparkJobError,
    UnansweredError,
)
from flows.etl.runners.cause import cause_of
from flows.etl.runners.progress import progress_of
from flows.etl.runners.records import Record, Records
from flows.etl.runners.watch import Unwatched, Watch
from flows.s3_path import AnyPath

PATIENCE_SECONDS = 300.0
"""For which a service that does not answer is asked again, before the wait for the job is given up."""
CANCEL_TRIES = 3
T = TypeVar("T")


@dataclass
class Engine:
    """What a flow run has its Spark jobs run by.

    Attributes:
        flow: the flow's name.
        run_id: the flow run's id.
        records: see `run_job`; without effect where no job outlives its parent.
        watch: see `run_job`.
        costs: what the jobs have cost so far.
    """

    runner: Runner
    flow: str = "none"
    run_id: str = "none"
    records: Records | None = None
    watch: Watch | None = None
    costs: list[Cost] = field(default_factory=list)

    def run(self, program: str, path: AnyPath, name: str, on_progress: OnProgress, on_log: OnLog) -> None:
        """Run a program on the job that lies at `path`; see `run_job`."""
        job = SparkJob(program, path, name, self.flow, self.run_id)
        records = self.records if self.runner.outlives else None
        cost = run_job(self.runner, job, on_progress, on_log, records=records, watch=self.watch)
        self.costs += [cost] if cost else []


def run_job(
    runner: Runner,
    job: SparkJob,
    on_progress: OnProgress,
    on_log: OnLog,
    *,
    records: Records | None = None,
    watch: Watch | None = None,
) -> Cost | None:
    """Run a job to its end; its summary and its files are there then. Returns what it cost.

    Args:
        runner: where.
        job: what.
        on_progress: called with Spark tasks done and known so far, where the runner knows them.
        on_log: called with lines of the driver's log, as they come or after a failure.
        records: where the job's id is kept until it ends; None where no job outlives its parent.
        watch: who is told of its life.

    Raises:
        SparkJobError: the job failed, or could not be run.
        BaseException: what ended the wait; the job is cancelled then.
    """
    life = Life(runner, job, on_log, records, watch or Unwatched())
    try:
        state, began = life.begin(), time.monotonic()
        for pause in pauses(runner.pace):
            if state.ended:
                break
            runner.follow(life.held, pause, on_progress, on_log)
            state = life.look(on_progress)
            if runner.limit_seconds and time.monotonic() - began > runner.limit_seconds:
                raise SparkJobError(
                    f"the Spark job ran longer than {runner.limit_seconds / 60:.0f} minutes; "
                    "see WATCHKEEPER_EMR_TIMEOUT_MINUTES"
                )
    except BaseException:
        life.cancel()
        raise
    return life.close(state)


def pauses(pace: Pace) -> Iterator[float]:
    """Seconds to wait before each look."""
    seconds = pace.first
    while True:
        yield seconds
        seconds = min(seconds * pace.growth, pace.longest)


class Life:
    """One job, its handle once it has one, and what is kept of it."""

    def __init__(
        self, runner: Runner, job: SparkJob, on_log: OnLog, records: Records | None, watch: Watch
    ) -> None:
        self._runner, self._job, self._on_log = runner, job, on_log
        self._records, self._watch = records, watch
        self._handle: Handle | None = None
        self._asked = False

    @property
    def held(self) -> Handle:
        """Where the job is."""
        assert self._handle
        return self._handle

    def begin(self) -> JobState:
        """Adopt the job where it lives or has done its work; start its next attempt where it has not."""
        attempt = 1
        if known := self._known():
            state = self._settled(known)
            if not state.ended or (state.phase == "success" and self._job.summary.exists()):
                self._handle = known
                self._on_log(f"adopting {known.id}, {state.phase}: the same work of the same flow run")
                return self._told(state, adopted=True)
            attempt = known.attempt + 1
        self._watch.before(self._job)
        self._keep(attempt, "pending")
        self._asked = True
        self._handle = patiently(lambda: self._runner.submit(self._job, attempt))
        self._keep(attempt, "pending")
        return self._told(self.describe(self.held), adopted=False)

    def _known(self) -> Handle | None:
        """The newest attempt of this very work; one of other work under the same name is ended first."""
        record = self._records.read(self._job.key) if self._records else None
        if record and record.handle and record.runner == self._runner.name:
            if record.token == self._job.token:
                return record.handle
            if not self.describe(record.handle).ended:
                self._on_log(f"ending {record.handle.id}: the work of its flow run has changed")
                self._runner.cancel(record.handle)
                self._settled(record.handle)
        return patiently(lambda: self._runner.find(self._job))

    def _settled(self, handle: Handle) -> JobState:
        """A job's state, once it no longer waits for its end."""
        for pause in pauses(self._runner.pace):
            state = self.describe(handle)
            if state.phase != "cancelling":
                return state
            self._runner.follow(handle, pause, lambda _done, _known: None, self._on_log)
        raise AssertionError("pauses go on for ever")

    def _told(self, state: JobState, *, adopted: bool) -> JobState:
        self._keep(self.held.attempt, state.phase)
        links = self._unless_refused("where the job is to be seen is not known", self._runner.links, 0)
        self._watch.submitted(self._job, self.held, links or {}, adopted=adopted)
        return state

    def describe(self, handle: Handle) -> JobState:
        """A job's state, asked for again where the service does not answer, or says that it ended badly.

        A service that gathers its answer from several machines may take such a word back.
        """
        state = patiently(lambda: self._runner.describe(handle))
        if state.phase in ("failed", "cancelled") and self._runner.outlives:
            return patiently(lambda: self._runner.describe(handle))
        return state

    def look(self, on_progress: OnProgress) -> JobState:
        """What the job does now, for whoever watches too."""
        state = self.describe(self.held)
        if state.phase == "running" and not self._runner.tells_log and (far := progress_of(self._job)):
            on_progress(far.done, far.known)
            state = JobState(state.phase, ", ".join(filter(None, (state.detail, str(far)))))
        cost = partial(patiently, partial(self._runner.cost, self.held))
        self._watch.looked(self._job, self.held, state, cost)
        return state

    def close(self, state: JobState) -> Cost | None:
        """What follows its end; returns what it cost.

        Raises:
            SparkJobError: it was no success.
        """
        self._keep(self.held.attempt, state.phase)
        cost = self._unless_refused("the job's cost is not known", self._runner.cost)
        self._watch.ended(self._job, self.held, state, cost)
        if state.phase == "success" and self._job.summary.exists():
            return cost
        log = self._unless_refused("the driver's log cannot be read", self._runner.logs) or []
        if not self._runner.tells_log:
            for line in log:
                self._on_log(line)
        raise SparkJobError(
            f"the Spark job failed: {cause_of(log, state.detail or state.phase, self._runner.full_disk)}"
        )

    def _unless_refused(self, words: str, ask: Callable[[Handle], T], seconds: float = 30) -> T | None:
        """An answer on which the job's end does not hang; None where there is none, and the log says so."""
        try:
            return patiently(lambda: ask(self.held), seconds)
        except SparkJobError as error:
            self._on_log(f"{words}: {error}")
            return None

    def cancel(self) -> None:
        """End the job, whatever was known of it when the wait ended; raises nothing in the place of that."""
        for _ in range(CANCEL_TRIES):
            try:
                handle = self._handle or (self._runner.find(self._job) if self._asked else None)
                if handle:
                    self._runner.cancel(handle)
                    self._keep(handle.attempt, "cancelled", handle)
                    cost = self._runner.cost(handle)
                    self._watch.ended(self._job, handle, JobState("cancelled"), cost)
                return
            except SparkJobError as error:
                self._on_log(f"could not end the job, `task orphans -- --end` does: {error}")
                if not isinstance(error, UnansweredError):
                    return
            except Exception as error:  # of a folder of records that is gone, or of whoever reads the log
                self._on_log(f"the end of the job was not recorded: {error}")
                return

    def _keep(self, attempt: int, phase: str, handle: Handle | None = None) -> None:
        if self._records:
            record = Record.of(self._job, self._runner.name, attempt, handle or self._handle, phase)
            self._records.write(self._job.key, record)


def patiently(ask: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """An answer, asked for again for so long where the service gives none.

    Raises:
        UnansweredError: it gave none for so long.
    """
    until = time.monotonic() + seconds
    for pause in pauses(Pace(1, 15)):
        try:
            return ask()
        except UnansweredError:
            if time.monotonic() + pause > until:
                raise
            time.sleep(pause)
    raise AssertionError("pauses go on for ever")
