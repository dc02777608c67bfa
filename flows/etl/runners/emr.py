"""Spark on EMR (EC2): a step of a running cluster, or of one that is created for the job and ends with it.

EMR has no client token. So the step's name holds the job's, EMR is asked for that name before each try to
create it, and a call whose answer was lost is not sent again before its step was looked for.
"""

import re
import time
from collections.abc import Callable, Iterator
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
from flows.etl.runners.emr_cluster import ALIVE, MEANT, clusters, running_cluster, transient
from flows.etl.runners.prices import cost_of, prices_in
from flows.etl.runners.s3_logs import driver, executors
from flows.etl.runners.spark_conf import PORTABLE_CONF, arguments, attempt_of, named, sizes

PHASES: dict[str, Phase] = {
    "PENDING": "pending",
    "RUNNING": "running",
    "COMPLETED": "success",
    "FAILED": "failed",
    "INTERRUPTED": "failed",
    "CANCEL_PENDING": "cancelling",
    "CANCELLED": "cancelled",
}
LIVING = ["PENDING", "RUNNING", "CANCEL_PENDING"]
OVER = {"TERMINATED": "cancelled", "TERMINATED_WITH_ERRORS": "failed"}
CREATE_TRIES = 5
LISTED_SECONDS = 120.0
SETTLING_SECONDS = 3.0
"""Before a look for what an unanswered call may have created."""


class EmrRunner:
    """Runs jobs as steps.

    Args:
        settings: cluster, machines, sizes.
        aws: the clients, as the settings and AWS's own say unless given.
    """

    name = "emr"
    pace = Pace(first=5, longest=30)
    tells_log = False
    outlives = True
    full_disk = (
        "the disk of a machine of the cluster is full; take types with more in WATCHKEEPER_EMR_WORKER_TYPES"
    )

    def __init__(self, settings: RunnerSettings, aws: Aws | None = None) -> None:
        self.settings, self.aws = settings, aws or Aws(settings)
        self.limit_seconds: float | None = 60.0 * settings.emr_timeout_minutes

    @cached_property
    def client(self) -> Any:  # noqa: ANN401  # boto3 has no types
        """For questions, which may be asked again."""
        return self.aws.client("emr")

    @cached_property
    def creating(self) -> Any:  # noqa: ANN401
        """For what must not be sent twice."""
        return self.aws.client("emr", once=True)

    def submit(self, job: SparkJob, attempt: int) -> Handle:
        """See `Runner.submit`."""
        step = self.step(job, attempt, artifact(self.aws))
        if self.settings.emr_cluster:
            cluster = running_cluster(self.aws, self.client)
            asked = {"JobFlowId": cluster, "Steps": [step]}
            return self._created(lambda: self.creating.add_job_flow_steps(**asked), job, attempt)
        new = transient(self.settings, self.aws.store(), self.aws.tags(job))
        new |= {"Name": named(job, attempt), "Steps": [step]}
        return self._created(lambda: self.creating.run_job_flow(**new), job, attempt)

    def _created(self, create: Callable[[], dict[str, Any]], job: SparkJob, attempt: int) -> Handle:
        """What `create` creates, looked for before each try."""
        for left in reversed(range(CREATE_TRIES)):
            if found := self._attempt(job, attempt):
                return found
            try:
                with told(f"starting {job.name} on EMR", **MEANT):
                    created = create()
                break
            except UnansweredError:
                if not left:
                    raise
                time.sleep(SETTLING_SECONDS)
        return self._listed(job, attempt, created.get("JobFlowId"))

    def _attempt(self, job: SparkJob, attempt: int) -> Handle | None:
        """The attempt, where EMR has it."""
        found = self.find(job)
        return found if found and found.attempt == attempt else None

    def _listed_attempt(self, job: SparkJob, attempt: int) -> Handle | None:
        """The same; where EMR does not answer, it may soon."""
        try:
            return self._attempt(job, attempt)
        except UnansweredError:
            return None

    def _listed(self, job: SparkJob, attempt: int, cluster: str | None) -> Handle:
        """What was created, once EMR lists it; a cluster that never comes to have its step is ended."""
        try:
            until = time.monotonic() + LISTED_SECONDS
            while (found := self._listed_attempt(job, attempt)) is None:
                if time.monotonic() > until:
                    raise SparkJobError(f"EMR took {job.name} and does not list it")
                time.sleep(SETTLING_SECONDS)
        except BaseException:
            if cluster:
                self.cancel(Handle(self.name, "", attempt, cluster, owned=True))
            raise
        return found

    def step(self, job: SparkJob, attempt: int, programs: Artifact) -> dict[str, Any]:
        """The step: spark-submit, whose driver runs on the main machine and logs into the step's folder."""
        python = "./environment/bin/python" if programs.archives else self.settings.emr_python
        conf = {**PORTABLE_CONF, **sizes(self.settings)}
        conf["spark.executorEnv.PYSPARK_PYTHON"] = conf["spark.yarn.appMasterEnv.PYSPARK_PYTHON"] = python
        # In cluster mode the archive is unpacked for the driver too; its log goes to YARN's container then.
        mode = "cluster" if programs.archives else "client"
        conf["spark.pyspark.python"] = python
        archives = ["--archives", ",".join(programs.archives)] if programs.archives else []
        submit = ["spark-submit", "--deploy-mode", mode, *arguments(conf)]
        files = ["--py-files", ",".join(programs.py_files), *archives]
        return {
            "Name": named(job, attempt),
            "ActionOnFailure": "CONTINUE" if self.settings.emr_cluster else "TERMINATE_CLUSTER",
            "HadoopJarStep": {
                "Jar": "command-runner.jar",
                # A step has no tags; these come back with it, and mean nothing to command-runner.
                "Properties": [{"Key": key, "Value": value} for key, value in self.aws.tags(job).items()],
                "Args": [*submit, *files, programs.entry_points[job.program], str(job.path)],
            },
        }

    def find(self, job: SparkJob) -> Handle | None:
        """See `Runner.find`."""
        found: dict[int, Handle] = {}
        for cluster, owned in self._candidates(job):
            for step in self._steps(cluster):
                if f" {job.token}-" in step["Name"]:
                    number = attempt_of(step["Name"])
                    found.setdefault(number, Handle(self.name, step["Id"], number, cluster, owned))
        return found[max(found)] if found else None

    def _candidates(self, job: SparkJob) -> Iterator[tuple[str, bool]]:
        """Clusters that may have the job, and whether they are the job's own."""
        if self.settings.emr_cluster:
            yield running_cluster(self.aws, self.client), False
            return
        since = datetime.now(UTC) - timedelta(minutes=self.settings.emr_timeout_minutes, days=1)
        for cluster in clusters(self.client, since=since):
            if f" {job.token}-" in cluster["Name"]:
                yield cluster["Id"], True

    def _steps(self, cluster: str, states: list[str] | None = None) -> Iterator[dict[str, Any]]:
        which = {"ClusterId": cluster, **({"StepStates": states} if states else {})}
        with told("listing EMR's steps", **MEANT):
            for page in self.client.get_paginator("list_steps").paginate(**which):
                yield from page["Steps"]

    def _step(self, handle: Handle) -> dict[str, Any]:
        with told(f"asking for step {handle.id} of EMR", **MEANT):
            asked = {"ClusterId": handle.where, "StepId": handle.id}
            return self.client.describe_step(**asked)["Step"]  # type: ignore[no-any-return]

    def describe(self, handle: Handle) -> JobState:
        """See `Runner.describe`; a step that waits for a cluster which has ended has ended too."""
        try:
            status = self._step(handle)["Status"]
        except GoneError as gone:
            return JobState("failed", str(gone))
        phase = PHASES[status["State"]]
        detail = status.get("FailureDetails", {}).get("Message") or message_of(status)
        if phase not in ("success", "failed", "cancelled"):
            cluster = self._cluster(handle)["Status"]
            if over := OVER.get(cluster["State"]):
                return JobState("cancelled" if over == "cancelled" else "failed", message_of(cluster))
            if phase == "pending" and cluster["State"] in ("STARTING", "BOOTSTRAPPING"):
                detail = f"the cluster is {cluster['State'].lower()}"
        return JobState(phase, detail)

    def _cluster(self, handle: Handle) -> dict[str, Any]:
        with told(f"asking for cluster {handle.where} of EMR", **MEANT):
            return self.client.describe_cluster(ClusterId=handle.where)["Cluster"]  # type: ignore[no-any-return]

    def follow(self, handle: Handle, seconds: float, on_progress: OnProgress, on_log: OnLog) -> None:
        """See `Runner.follow`; its log comes too late to be passed on meanwhile."""
        time.sleep(seconds)

    def cancel(self, handle: Handle) -> None:
        """See `Runner.cancel`; with the job's own cluster everything of it ends."""
        if handle.owned:
            with told(f"ending cluster {handle.where} of EMR"):
                self.client.terminate_job_flows(JobFlowIds=[handle.where])
        elif not self.describe(handle).ended:
            with told(f"ending step {handle.id} of EMR"):
                self.client.cancel_steps(
                    ClusterId=handle.where, StepIds=[handle.id], StepCancellationOption="TERMINATE_PROCESS"
                )

    def logs(self, handle: Handle) -> list[str]:
        """See `Runner.logs`."""
        if not (below := self._log_uri(handle)):
            return []
        folder = f"{below}{handle.where}"
        said = driver(self.aws, f"{folder}/steps/{handle.id}")
        ids = [found[0] for line in said if (found := re.search(r"application_\d+_\d+", line))]
        return (executors(self.aws, f"{folder}/containers/{ids[-1]}/") if ids else []) + said

    def _log_uri(self, handle: Handle) -> str:
        """Where the cluster leaves its logs, '' where it leaves none; `s3n` is how EMR itself writes it."""
        said = self._cluster(handle).get("LogUri")
        return re.sub("^s3[an]://", "s3://", said).rstrip("/") + "/" if said else ""

    def cost(self, handle: Handle) -> Cost | None:
        """See `Runner.cost`: all hours of the job's own cluster, of a shared one those of the step."""
        line = (self._cluster(handle) if handle.owned else self._step(handle))["Status"]["Timeline"]
        now = datetime.now(UTC)
        start = line.get("CreationDateTime") if handle.owned else line.get("StartDateTime")
        if start is None:
            return None
        end = line.get("EndDateTime", now)
        hours: dict[str, float] = {}
        with told("listing EMR's machines"):
            pages = self.client.get_paginator("list_instances").paginate(ClusterId=handle.where)
            machines = [machine for page in pages for machine in page["Instances"]]
        for machine in machines:
            spot = " spot" if machine.get("Market") == "SPOT" else ""
            kind = machine["InstanceType"] + spot
            hours[kind] = hours.get(kind, 0) + hours_of(machine["Status"]["Timeline"], start, end)
        prices = prices_in(self.client.meta.region_name, self.settings.emr_prices, "instances")
        return cost_of(hours, prices, bound="EndDateTime" not in line)

    def links(self, handle: Handle) -> dict[str, str]:
        """See `Runner.links`."""
        region = self.client.meta.region_name
        page = (
            f"https://{region}.console.aws.amazon.com/emr/home?region={region}#/clusterDetails/{handle.where}"
        )
        below = self._log_uri(handle)
        return {"cluster": page, **({"logs": f"{below}{handle.where}/steps/{handle.id}/"} if below else {})}

    def living(self) -> Iterator[tuple[Handle, dict[str, str]]]:
        """See `Runner.living`: clusters of jobs' own, and the steps of a shared one."""
        if self.settings.emr_cluster:
            cluster = running_cluster(self.aws, self.client)
            for step in self._steps(cluster, LIVING):
                held = step["Config"].get("Properties", {})
                if held.get("project") == PROJECT:
                    yield Handle(self.name, step["Id"], attempt_of(step["Name"]), cluster), held
        for each in clusters(self.client, ALIVE):
            handle = Handle(self.name, "", where=each["Id"], owned=True)
            held = {tag["Key"]: tag["Value"] for tag in self._cluster(handle).get("Tags", [])}
            if held.get("project") == PROJECT and "run" in held:
                yield handle, held


def message_of(status: dict[str, Any]) -> str:
    """Why something is in its state."""
    return str(status.get("StateChangeReason", {}).get("Message", ""))


def hours_of(machine: dict[str, Any], start: datetime, end: datetime) -> float:
    """Hours between `start` and `end` in which a machine ran, a minute at least as EC2 bills it."""
    began = max(machine.get("CreationDateTime", start), start)
    ended = min(machine.get("EndDateTime") or end, end)
    seconds = (ended - began).total_seconds()
    return max(seconds, 60.0) / 3600 if seconds > 0 else 0.0
