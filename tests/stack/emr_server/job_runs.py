"""An EMR Serverless job run: the life of one Spark, told in the service's states."""

import copy
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from tests.stack.emr_server.applications import Application
from tests.stack.emr_server.clock import Clock
from tests.stack.emr_server.faults import JobFaults
from tests.stack.emr_server.ledger import Entry
from tests.stack.emr_server.logs import Logs, last_words
from tests.stack.emr_server.process import JobProcess, lose_node
from tests.stack.emr_server.spark import SparkHost, reason_of
from tests.stack.emr_server.submission import Submission
from tests.stack.emr_server.usage import billed

PHASES = (("SUBMITTED", 1.0), ("PENDING", 10.0), ("SCHEDULED", 10.0))
"""Service seconds that a job waits in each, beside its application's start."""
LOG_SECONDS = 30
FINAL = ("SUCCESS", "FAILED", "CANCELLED")
DETAILS = 256
SAID = {
    "SUBMITTED": "Job run was submitted.",
    "PENDING": "Job run is waiting for its application.",
    "SCHEDULED": "Job run is waiting for workers.",
    "RUNNING": "Job run is running.",
    "SUCCESS": "Job run completed.",
    "CANCELLING": "Job run is being cancelled.",
}
"""What the service says of a state when it has nothing particular to say."""


@dataclass
class JobRun:
    """One job run. A thread carries it from state to state; calls only look and set events."""

    id: str
    arn: str
    application: Application
    request: dict[str, Any]
    submission: Submission
    host: SparkHost
    clock: Clock
    logs: Logs
    faults: JobFaults
    entry: Entry
    region: str
    state: str = "SUBMITTED"
    details: str = SAID["SUBMITTED"]
    attempt: int = 1
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    attempt_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started_at: datetime | None = None
    ended_at: datetime | None = None
    told_running: bool = False

    def __post_init__(self) -> None:
        self.asked = {k: v for k, v in copy.deepcopy(self.request).items() if k != "applicationId"}
        self.cancelled, self.over = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._live, name=f"job-{self.id}", daemon=True)

    @property
    def done(self) -> bool:
        return self.state in FINAL

    @property
    def most_attempts(self) -> int:
        """How often it is tried."""
        return int(self.asked.get("retryPolicy", {}).get("maxAttempts", 1))

    def cancel(self) -> None:
        """End it; what has ended stays as it is."""
        if not self.done:
            self.cancelled.set()
            self._become("CANCELLING")

    def close(self) -> None:
        """End it without a word, since the server ends."""
        self.over.set()
        self.cancelled.set()
        for process in self.entry.processes:
            process.kill()
        self.thread.join(30)

    def _become(self, state: str, details: str = "") -> None:
        self.state, self.updated_at = state, datetime.now(UTC)
        self.details = (details or SAID[state])[:DETAILS]

    def _live(self) -> None:
        try:
            state, details = self._attempts()
        except Exception as error:  # a job of a broken server fails: it must not wait for ever
            state, details = "FAILED", f"the test server failed: {error!r}"
        self.ended_at = datetime.now(UTC)
        self.application.idle_since = self.clock.now()
        self._become(state, details)

    def _attempts(self) -> tuple[str, str]:
        while True:
            state, details = self._try()
            if state != "FAILED" or self.attempt >= self.most_attempts:
                return state, details
            self.attempt += 1
            self.attempt_at = datetime.now(UTC)
            self._become("PENDING")

    def _try(self) -> tuple[str, str]:
        """One attempt, from its first state to its last."""
        if self._wait_for_capacity():
            return "CANCELLED", "Job run was cancelled before it ran."
        try:
            process = self.host.start(
                self.submission, f"{self.id}/{self.attempt}", broken=self.faults.driver_fails
            )
        except ClientError as error:
            return "FAILED", f"Job failed: an archive cannot be fetched: {reason_of(error)}"
        self.entry.processes.append(process)
        if self.attempt <= self.faults.nodes_lost:
            lose_node(process)
        self.started_at = self.started_at or datetime.now(UTC)
        if not self.cancelled.is_set():
            self._become("RUNNING")
        try:
            return self._follow(process)
        finally:
            process.kill()
            self._upload(process)

    def _wait_for_capacity(self) -> bool:
        """Go through the states before RUNNING; True if that was cancelled."""
        phases = PHASES if self.attempt == 1 else PHASES[1:]
        for state, seconds in phases:
            if not self.cancelled.is_set() and self.state != state:
                self._become(state)
            late = self.faults.slow_start_seconds if state == "SCHEDULED" else 0
            if self.clock.wait(seconds + late, self.cancelled):
                return True
            while state == "PENDING" and self.application.state != "STARTED":
                if self.clock.wait(1, self.cancelled):
                    return True
        return self.cancelled.is_set()

    def _follow(self, process: JobProcess) -> tuple[str, str]:
        """Wait for a process's end, or for whatever ends it."""
        minutes = self.asked.get("executionTimeoutMinutes", 720)
        started = logged = self.clock.now()
        while process.code is None:
            if self.clock.wait(0.5, self.cancelled):
                return "CANCELLED", "Job run was cancelled."
            if minutes and self.clock.now() - started > minutes * 60:
                return "CANCELLED", f"Job run exceeded its execution timeout of {minutes} minutes."
            if self.clock.now() - logged > LOG_SECONDS:
                logged = self.clock.now()
                self._upload(process)
        return self._verdict(process)

    def _verdict(self, process: JobProcess) -> tuple[str, str]:
        if process.code == 0:
            return "SUCCESS", ""
        code = process.code or 0
        code = 128 - code if code < 0 else code
        words = last_words(process.stderr, process.stdout)
        return "FAILED", (
            "Job failed, please check complete logs in configured logging destination. "
            f"ExitCode: {code}. Last few exceptions: {words}"
        )

    def _upload(self, process: JobProcess) -> None:
        if self.over.is_set():
            return
        folder = f"applications/{self.application.id}/jobs/{self.id}"
        if self.most_attempts > 1:
            folder += f"/attempts/{self.attempt}"
        for path in (process.stdout, process.stderr):
            self.logs.put_file(f"{folder}/SPARK_DRIVER/{path.name}.gz", path)

    def describe(self) -> dict[str, Any]:
        """As GetJobRun tells it."""
        seconds = sum(process.seconds for process in self.entry.processes)
        told = {
            "mode": "BATCH",
            "tags": {},
            "executionTimeoutMinutes": 720,
            "retryPolicy": {"maxAttempts": 1},
            **{
                key: value
                for key, value in self.asked.items()
                if key not in ("clientToken", "executionRoleArn")
            },
            **self.common(),
            "jobRunId": self.id,
            "totalExecutionDurationSeconds": int(seconds),
            "startedAt": self.started_at,
            "endedAt": self.ended_at,
        }
        if self.done and self.entry.processes:
            use = billed(self.submission, seconds)
            told |= {"totalResourceUtilization": use, "billedResourceUtilization": use}
        return {key: value for key, value in told.items() if value is not None}

    def common(self) -> dict[str, Any]:
        """What GetJobRun and ListJobRuns both tell."""
        return {
            "applicationId": self.application.id,
            "arn": self.arn,
            "createdBy": f"arn:aws:iam::{self.arn.split(':')[4]}:user/tester",
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            "executionRole": self.asked["executionRoleArn"],
            "state": self.told_state(),
            "stateDetails": self.details,
            "releaseLabel": self.application.asked["releaseLabel"],
            "attempt": self.attempt,
            "attemptCreatedAt": self.attempt_at,
            "attemptUpdatedAt": self.updated_at,
        }

    def told_state(self) -> str:
        """The state; once, after RUNNING was told, the one before it, if the job is to flap."""
        if self.state == "RUNNING" and self.faults.flaps:
            if self.told_running:
                self.faults = JobFaults(nodes_lost=self.faults.nodes_lost)
                return "PENDING"
            self.told_running = True
        return self.state

    def summary(self) -> dict[str, Any]:
        """As ListJobRuns tells it."""
        named = {"name": self.asked["name"]} if "name" in self.asked else {}
        return {"id": self.id, "mode": "BATCH", "type": "Spark", **named, **self.common()}
