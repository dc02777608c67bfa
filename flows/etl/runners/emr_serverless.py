"""Spark on EMR Serverless: a job run for each attempt, whose client token makes asking twice asking once."""

import shlex
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from flows.etl.runners.artifact import Artifact, artifact
from flows.etl.runners.aws import PROJECT, Aws, GoneError, told
from flows.etl.runners.base import (
    Cost,
    Handle,
    JobState,
    OnLog,
    OnProgress,
    Pace,
    Phase,
    SparkJob,
    SparkJobError,
    UnansweredError,
)
from flows.etl.runners.config import RunnerSettings
from flows.etl.runners.emr_application import create_application, find_application, remove_application
from flows.etl.runners.prices import cost_of, prices_in
from flows.etl.runners.s3_logs import driver, executors
from flows.etl.runners.spark_conf import PORTABLE_CONF, arguments, attempt_of, named, sizes

PHASES: dict[str, Phase] = {
    "SUBMITTED": "pending",
    "PENDING": "pending",
    "QUEUED": "pending",
    "SCHEDULED": "scheduled",
    "RUNNING": "running",
    "SUCCESS": "success",
    "FAILED": "failed",
    "CANCELLING": "cancelling",
    "CANCELLED": "cancelled",
}
LIVING = ["SUBMITTED", "PENDING", "QUEUED", "SCHEDULED", "RUNNING", "CANCELLING"]
MEANT = {
    "role": "emr_serverless_role",
    "application": "emr_serverless_application",
    "entrypoint": "emr_store",
    "entry point": "emr_store",
    "loguri": "emr_store",
    "log uri": "emr_store",
    "timeout": "emr_timeout_minutes",
    "attempts": "emr_serverless_attempts",
    "capacity": "emr_serverless_vcpus",
}
NEW_SECONDS = 60
"""For which a job that was just started may not be known everywhere."""
USED = {"vcpu": "vCPUHour", "memory_gb": "memoryGBHour", "storage_gb": "storageGBHour"}


class EmrServerlessRunner:
    """Runs jobs on one application of EMR Serverless.

    Args:
        settings: application, role, sizes.
        aws: the clients, as the settings and AWS's own say unless given.
    """

    name = "emr_serverless"
    pace = Pace(first=2, longest=15)
    tells_log = False
    outlives = True
    limit_seconds: float | None = None  # the service has its own
    full_disk = "the disk of a worker is full; raise WATCHKEEPER_EMR_EXECUTOR_DISK_GB"

    def __init__(self, settings: RunnerSettings, aws: Aws | None = None) -> None:
        self.settings, self.aws = settings, aws or Aws(settings)
        self._started: dict[str, float] = {}

    @cached_property
    def client(self) -> Any:  # noqa: ANN401  # boto3 has no types
        """boto3's."""
        return self.aws.client("emr-serverless")

    def submit(self, job: SparkJob, attempt: int) -> Handle:
        """See `Runner.submit`."""
        role = self.settings.emr_serverless_role
        if role is None:
            raise SparkJobError(
                "EMR Serverless needs a role for its jobs; set WATCHKEEPER_EMR_SERVERLESS_ROLE"
            )
        programs = artifact(self.aws)
        found = find_application(self.aws, self.client)
        application = found or create_application(self.aws, self.client)
        try:
            with told(f"starting {job.name} on EMR Serverless", **MEANT):
                run = self.client.start_job_run(
                    applicationId=application, executionRoleArn=role, **self.asked(job, attempt, programs)
                )["jobRunId"]
        except SparkJobError as error:
            # Where no answer came there may be a job, which has an application that stops by itself.
            if found is None and not isinstance(error, UnansweredError):
                remove_application(self.client, application)
            raise
        self._started[run] = time.monotonic()
        return Handle(self.name, run, attempt, application)

    def asked(self, job: SparkJob, attempt: int, programs: Artifact) -> dict[str, Any]:
        """The job run, but for its application and role."""
        monitoring = {"s3MonitoringConfiguration": {"logUri": self.logs_below}}
        return {
            "clientToken": job.attempt(attempt),
            "name": named(job, attempt),
            "jobDriver": {
                "sparkSubmit": {
                    "entryPoint": programs.entry_points[job.program],
                    "entryPointArguments": [str(job.path)],
                    "sparkSubmitParameters": self.parameters(programs),
                }
            },
            "configurationOverrides": {"monitoringConfiguration": monitoring},
            "executionTimeoutMinutes": self.settings.emr_timeout_minutes,
            "retryPolicy": {"maxAttempts": self.settings.emr_serverless_attempts},
            "tags": self.aws.tags(job),
        }

    def parameters(self, programs: Artifact) -> str:
        """What spark-submit is told."""
        conf = {**PORTABLE_CONF, **sizes(self.settings), **self.workers, **self.python(programs)}
        conf["spark.submit.pyFiles"] = ",".join(programs.py_files)
        if programs.archives:
            conf["spark.archives"] = ",".join(programs.archives)
        return shlex.join(arguments(conf))

    @property
    def workers(self) -> dict[str, str]:
        """What only EMR Serverless knows of."""
        disk = f"{self.settings.emr_executor_disk_gb}g"
        return {
            "spark.emr-serverless.driver.disk": disk,
            "spark.emr-serverless.executor.disk": disk,
        }

    def python(self, programs: Artifact) -> dict[str, str]:
        """Which Python runs the programs: the packed environment's where there is one."""
        python = "./environment/bin/python" if programs.archives else self.settings.emr_python
        return {
            "spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON": python,
            "spark.emr-serverless.driverEnv.PYSPARK_PYTHON": python,
            "spark.executorEnv.PYSPARK_PYTHON": python,
        }

    @property
    def logs_below(self) -> str:
        """Where EMR Serverless leaves its logs."""
        return f"{self.aws.store()}/logs/"

    def find(self, job: SparkJob) -> Handle | None:
        """See `Runner.find`: by the names of the application's newest runs."""
        application = find_application(self.aws, self.client)
        if application is None:
            return None
        since = datetime.now(UTC) - timedelta(minutes=self.settings.emr_timeout_minutes, days=1)
        attempts = {
            attempt_of(run["name"]): run["id"]
            for run in self._runs(application, createdAtAfter=since)
            if f" {job.token}-" in run.get("name", "")
        }
        return Handle(self.name, attempts[max(attempts)], max(attempts), application) if attempts else None

    def _runs(self, application: str, **which: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
        with told("listing the jobs of EMR Serverless", **MEANT):
            for page in self.client.get_paginator("list_job_runs").paginate(
                applicationId=application, **which
            ):
                yield from page["jobRuns"]

    def _run(self, handle: Handle) -> dict[str, Any]:
        with told(f"asking for job {handle.id} of EMR Serverless", **MEANT):
            asked = {"applicationId": handle.where, "jobRunId": handle.id}
            return self.client.get_job_run(**asked)["jobRun"]  # type: ignore[no-any-return]

    def describe(self, handle: Handle) -> JobState:
        """See `Runner.describe`; a job that the service has forgotten has ended without success."""
        try:
            run = self._run(handle)
        except GoneError as gone:
            if time.monotonic() - self._started.get(handle.id, -NEW_SECONDS) < NEW_SECONDS:
                return JobState("pending", str(gone))
            return JobState("failed", str(gone))
        return JobState(PHASES[run["state"]], run.get("stateDetails", ""))

    def follow(self, handle: Handle, seconds: float, on_progress: OnProgress, on_log: OnLog) -> None:
        """See `Runner.follow`; its log comes too late to be passed on meanwhile."""
        time.sleep(seconds)

    def cancel(self, handle: Handle) -> None:
        """See `Runner.cancel`."""
        if self.describe(handle).ended:
            return
        with told(f"ending job {handle.id} of EMR Serverless"):
            self.client.cancel_job_run(applicationId=handle.where, jobRunId=handle.id)

    def logs(self, handle: Handle) -> list[str]:
        """See `Runner.logs`."""
        folder = f"{self.logs_below}applications/{handle.where}/jobs/{handle.id}"
        if self.settings.emr_serverless_attempts > 1:
            folder += f"/attempts/{self._run(handle).get('attempt', 1)}"
        return executors(self.aws, f"{folder}/SPARK_EXECUTOR/") + driver(self.aws, f"{folder}/SPARK_DRIVER")

    def cost(self, handle: Handle) -> Cost | None:
        """See `Runner.cost`; until the service says what it bills, the most that the job may have cost."""
        run = self._run(handle)
        prices = prices_in(self.client.meta.region_name, self.settings.emr_prices, "serverless")
        billed = run.get("billedResourceUtilization") or run.get("totalResourceUtilization")
        if billed:
            return cost_of({name: billed.get(key, 0.0) for name, key in USED.items()}, prices)
        began = run.get("startedAt") or (run["createdAt"] if PHASES[run["state"]] == "running" else None)
        if began is None:  # it never ran
            return None
        hours = ((run.get("endedAt") or datetime.now(UTC)) - began).total_seconds() / 3600
        return cost_of({name: hours * n for name, n in self.at_most.items()}, prices, bound=True)

    @property
    def at_most(self) -> dict[str, float]:
        """What a job uses with all its executors."""
        s = self.settings
        return {
            "vcpu": s.emr_driver_cores + s.emr_executors * s.emr_executor_cores,
            # Spark asks for a tenth more than its heap.
            "memory_gb": 1.1 * (s.emr_driver_memory_gb + s.emr_executors * s.emr_executor_memory_gb),
            "storage_gb": (1 + s.emr_executors) * (s.emr_executor_disk_gb - 20),
        }

    def links(self, handle: Handle) -> dict[str, str]:
        """See `Runner.links`; that to the Spark UI is good for an hour."""
        found = {"logs": f"{self.logs_below}applications/{handle.where}/jobs/{handle.id}/"}
        try:
            with told("asking for the Spark UI"):
                asked = {"applicationId": handle.where, "jobRunId": handle.id}
                found["Spark UI"] = self.client.get_dashboard_for_job_run(**asked)["url"]
        except SparkJobError:
            pass  # a job has none before it runs
        return found

    def living(self) -> Iterator[tuple[Handle, dict[str, str]]]:
        """See `Runner.living`."""
        application = find_application(self.aws, self.client)
        for run in self._runs(application, states=LIVING) if application else ():
            handle = Handle(self.name, run["id"], where=application or "")
            tags = self._run(handle).get("tags", {})
            if tags.get("project") == PROJECT:
                yield handle, tags
