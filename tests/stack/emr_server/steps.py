"""A step of an EMR cluster: a `spark-submit` by the command runner, in the service's states."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from tests.stack.emr_server.clock import Clock
from tests.stack.emr_server.errors import ApiError
from tests.stack.emr_server.faults import JobFaults
from tests.stack.emr_server.ledger import Entry
from tests.stack.emr_server.logs import Logs, last_words
from tests.stack.emr_server.process import JobProcess, lose_node
from tests.stack.emr_server.spark import SparkHost, reason_of
from tests.stack.emr_server.submission import Submission

FINAL = ("COMPLETED", "CANCELLED", "FAILED", "INTERRUPTED")
START_SECONDS = 5
LOG_SECONDS = 300
"""How often the service brings logs to S3 while a step runs."""


@dataclass
class Step:
    """One step; its cluster calls `run`."""

    id: str
    cluster_id: str
    asked: dict[str, Any]
    submission: Submission
    host: SparkHost
    clock: Clock
    logs: Logs
    faults: JobFaults
    entry: Entry
    state: str = "PENDING"
    failure: dict[str, str] = field(default_factory=dict)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started_at: datetime | None = None
    ended_at: datetime | None = None

    def __post_init__(self) -> None:
        self.cancelled, self.over = threading.Event(), threading.Event()

    @property
    def done(self) -> bool:
        return self.state in FINAL

    def cancel(self) -> None:
        """End it; one that waits is cancelled at once."""
        self.cancelled.set()
        if self.state == "PENDING":
            self._end("CANCELLED")

    def run(self) -> None:
        """From RUNNING to its end."""
        if not self.done:
            self._end(*self._run())

    def _run(self) -> tuple[str, str]:
        self.state, self.started_at = "RUNNING", datetime.now(UTC)
        if self.clock.wait(START_SECONDS + self.faults.slow_start_seconds, self.cancelled):
            return "CANCELLED", ""
        try:
            process = self.host.start(self.submission, self.id, broken=self.faults.driver_fails)
        except ClientError as error:
            return "FAILED", f"an archive cannot be fetched: {reason_of(error)}"
        self.entry.processes.append(process)
        if self.faults.nodes_lost:
            lose_node(process)
        try:
            return self._follow(process)
        finally:
            process.kill()
            self._upload(process)

    def _follow(self, process: JobProcess) -> tuple[str, str]:
        logged = self.clock.now()
        while process.code is None:
            if self.clock.wait(0.5, self.cancelled):
                return "CANCELLED", ""
            if self.clock.now() - logged > LOG_SECONDS:
                logged = self.clock.now()
                self._upload(process)
        return (
            ("COMPLETED", "") if process.code == 0 else ("FAILED", last_words(process.stderr, process.stdout))
        )

    def _end(self, state: str, message: str = "") -> None:
        if state == "FAILED":
            log = f"{self.logs.uri.rstrip('/')}/{self.cluster_id}/steps/{self.id}/stderr.gz"
            self.failure = {"Reason": "Unknown Error.", "Message": message, "LogFile": log}
        self.ended_at = datetime.now(UTC)
        self.state = state

    def _upload(self, process: JobProcess) -> None:
        if self.over.is_set():
            return
        folder = step_folder = f"{self.cluster_id}/steps/{self.id}"
        if self.submission.option("--deploy-mode") == "cluster":
            # The driver is YARN's then: the step's own log only says where.
            application = f"application_{self.created_at:%s}000_0001"
            container = application.replace("application", "container") + "_01_000001"
            folder = f"{self.cluster_id}/containers/{application}/{container}"
            report = f"INFO Client: Application report for {application} (state: {self.state})\n"
            self.logs.put(f"{step_folder}/stderr.gz", report.encode())
        for path in (process.stdout, process.stderr):
            self.logs.put_file(f"{folder}/{path.name}.gz", path)
        said = f"INFO startExec spark-submit, step {self.id}\n"
        self.logs.put(f"{step_folder}/controller.gz", said.encode())

    def describe(self) -> dict[str, Any]:
        """As DescribeStep and ListSteps tell it."""
        jar = self.asked["HadoopJarStep"]
        times = {"StartDateTime": self.started_at, "EndDateTime": self.ended_at}
        status: dict[str, Any] = {
            "State": "CANCEL_PENDING" if self.cancelled.is_set() and not self.done else self.state,
            "StateChangeReason": {},
            "Timeline": {"CreationDateTime": self.created_at}
            | {name: time for name, time in times.items() if time},
        }
        return {
            "Id": self.id,
            "Name": self.asked["Name"],
            "Config": {"Jar": jar["Jar"], "Properties": {}, "Args": jar.get("Args", [])},
            "ActionOnFailure": self.asked.get("ActionOnFailure", "CONTINUE"),
            "Status": status | ({"FailureDetails": self.failure} if self.failure else {}),
        }


def submission_of(step: dict[str, Any], defaults: dict[str, str]) -> Submission:
    """What a step runs; here that can only be `spark-submit`."""
    jar = step["HadoopJarStep"]
    words = jar.get("Args", [])
    if jar["Jar"] != "command-runner.jar" or words[:1] != ["spark-submit"]:
        raise ApiError(
            "ValidationException", f"{jar['Jar']} {' '.join(words[:1])}: this server runs spark-submit"
        )
    try:
        return Submission.of(words[1:], defaults=defaults)
    except ValueError as error:
        raise ApiError("ValidationException", f"step {step['Name']}: {error}") from None
