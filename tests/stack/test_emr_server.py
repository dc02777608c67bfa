"""The EMR server itself, by boto3: what it says of jobs is what becomes of their processes."""

import gzip
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ParamValidationError

from tests.factories import wait_until
from tests.stack.buckets import ACCOUNT, REGION, minio
from tests.stack.emr_server import EmrServer, S3Place, emr_server
from tests.stack.emr_server.faults import JobFaults
from tests.stack.emr_server.jars import needs_jars
from tests.stack.emr_server.spark import emr_python
from tests.stack.programs import needs

BUCKET = "warehouse"
LONG = 300
"""Seconds to wait for a Spark on a busy machine."""
ROLE = "arn:aws:iam::123456789012:role/job"
LOGS = {"monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": f"s3://{BUCKET}/logs/"}}}
COPY = """
import sys
from pyspark.sql import SparkSession
import helper
spark = SparkSession.builder.getOrCreate()
rows = spark.read.option("header", True).csv(sys.argv[1])
rows.selectExpr(f"number * {helper.FACTOR} AS number").write.parquet(sys.argv[2])
print("progress 1 1", sys.version_info[:2], spark.conf.get("spark.app.flavour"))
"""
WAIT = "import time\nprint('waiting', flush=True)\ntime.sleep(600)\n"
BLIND = """
import os, sys
for name in ("flows", "tests", "pyarrow", "boto3"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(f"{name} can be seen")
assert "WATCHKEEPER_HOME" not in os.environ, "the environment leaks"
ours = [path for path in sys.path if path.startswith(sys.argv[1])]
assert all(path.startswith((os.environ["SPARK_HOME"], sys.base_prefix)) for path in ours), ours
import flows
"""
pytestmark = [needs("minio"), needs_jars, pytest.mark.timeout(900)]


class Shop:
    """A client of each service, and the bucket."""

    def __init__(self, server: EmrServer) -> None:
        self.server, self.s3 = server, server.s3.client
        self.serverless, self.emr = self.client("emr-serverless"), self.client("emr")

    def client(self, service: str, **more: Any) -> Any:
        """A boto3 client as a user would have it, but for the endpoint."""
        place = self.server.s3
        session = boto3.session.Session(place.access_key, place.secret_key, region_name=place.region)
        return session.client(service, **{"endpoint_url": self.server.url, **more})

    def put(self, key: str, content: str | bytes) -> str:
        """Put an object; returns its URI."""
        body = content.encode() if isinstance(content, str) else content
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def log(self, key: str) -> str:
        """A log of a job, unpacked."""
        body = self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return gzip.decompress(body).decode()

    def application(self, **more: Any) -> str:
        """A new application."""
        asked = {"releaseLabel": "emr-7.9.0", "type": "SPARK", "name": "shop"} | more
        return str(self.serverless.create_application(**asked)["applicationId"])

    def start(self, application: str, program: str, *arguments: str, **more: Any) -> str:
        """Start a job of this program."""
        parameters = more.pop("parameters", None)
        driver = {
            "entryPoint": self.put("jobs/program.py", program),
            "entryPointArguments": list(arguments),
            **({"sparkSubmitParameters": parameters} if parameters else {}),
        }
        asked = {
            "applicationId": application,
            "executionRoleArn": ROLE,
            "jobDriver": {"sparkSubmit": driver},
            "configurationOverrides": LOGS,
        }
        return str(self.serverless.start_job_run(**asked | more)["jobRunId"])

    def run(self, application: str, job: str) -> dict[str, Any]:
        """What the service says of a job."""
        found: dict[str, Any] = self.serverless.get_job_run(applicationId=application, jobRunId=job)["jobRun"]
        return found

    def until(self, application: str, job: str, *states: str) -> dict[str, Any]:
        """Wait for one of these states."""
        wait_until(lambda: self.run(application, job)["state"] in states, f"{states}", LONG)
        return self.run(application, job)

    def done(self, application: str, job: str) -> dict[str, Any]:
        """Wait for the end."""
        return self.until(application, job, "SUCCESS", "FAILED", "CANCELLED")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmrServer]:
    folder = tmp_path_factory.mktemp("emr")
    with minio(folder) as url:
        place = S3Place(url, ACCOUNT["AWS_ACCESS_KEY_ID"], ACCOUNT["AWS_SECRET_ACCESS_KEY"], REGION)
        where = {"LocationConstraint": REGION}
        place.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
        with emr_server(folder / "server", place, speed=120) as server:
            yield server


@pytest.fixture
def shop(whole: EmrServer) -> Iterator[Shop]:
    """The shop; after a test nothing runs, and every fault that it ordered has happened."""
    shop = Shop(whole)
    yield shop
    assert whole.faults.open == []
    for application in shop.serverless.list_applications()["applications"]:
        for run in shop.serverless.list_job_runs(applicationId=application["id"])["jobRuns"]:
            shop.serverless.cancel_job_run(applicationId=application["id"], jobRunId=run["id"])
    clusters = [cluster.id for cluster in whole.ec2.live()]
    if clusters:
        shop.emr.terminate_job_flows(JobFlowIds=clusters)
    wait_until(lambda: whole.live() == [], "the end of everything", LONG)


def code_of(call: Callable[[], object]) -> str:
    """The code of the error that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


def test_a_job_reads_and_writes_the_object_store_and_is_billed(shop: Shop) -> None:
    application = shop.application(tags={"project": "watchkeeper"})
    helper = shop.put("jobs/helper.py", "FACTOR = 3\n")
    source, target = shop.put("in/a.csv", "number\n1\n2\n"), f"s3://{BUCKET}/out/{application}"
    parameters = (
        f"--py-files {helper} --conf spark.app.flavour='dark blue' --conf spark.driver.memory=8g "
        "--conf spark.executor.instances=1 --conf spark.executor.memory=2g --conf spark.executor.cores=2"
    )
    job = shop.start(application, COPY, source, target, parameters=parameters, tags={"run": "7"})
    states: list[str] = []
    while not states or states[-1] not in ("SUCCESS", "FAILED"):
        state = shop.run(application, job)["state"]
        states += [state] if state not in states else []
    run = shop.run(application, job)
    assert run["state"] == "SUCCESS", shop.log(log_of(application, job, "stdout"))
    assert states == [s for s in ("SUBMITTED", "PENDING", "SCHEDULED", "RUNNING", "SUCCESS") if s in states]
    assert states[-2:] == ["RUNNING", "SUCCESS"]
    written = shop.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"out/{application}/")["Contents"]
    assert any(item["Key"].endswith(".parquet") for item in written)
    assert "dark blue" in shop.log(log_of(application, job, "stdout"))
    use = run["billedResourceUtilization"]
    seconds = max(60, run["totalExecutionDurationSeconds"])
    assert use["vCPUHour"] == pytest.approx(6 * seconds / 3600, abs=0.003)
    assert use["memoryGBHour"] == pytest.approx(11 * seconds / 3600, abs=0.005)
    assert run["tags"] == {"run": "7"}
    assert run["endedAt"] >= run["startedAt"] >= run["createdAt"]
    [entry] = shop.server.ledger.tagged(run="7")
    assert (entry.id, entry.alive, entry.live) == (job, False, False)


def test_jobs_run_on_the_python_of_emr(shop: Shop) -> None:
    assert emr_python(), "a Python 3.9, EMR 7's own: .ci/run brings one"
    application = shop.application()
    job = shop.start(application, "import sys\nprint(sys.version_info[:2])\n")
    assert shop.done(application, job)["state"] == "SUCCESS"
    assert shop.log(log_of(application, job, "stdout")) == "(3, 9)\n"


def log_of(application: str, job: str, name: str) -> str:
    """Where the driver's log is; what a Python program says is in `stdout`, its traceback too."""
    return f"logs/applications/{application}/jobs/{job}/SPARK_DRIVER/{name}.gz"


def test_a_job_sees_nothing_of_the_checkout(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", checkout)
    monkeypatch.setenv("WATCHKEEPER_HOME", checkout)
    application = shop.application()
    run = shop.done(application, job := shop.start(application, BLIND, checkout))
    assert run["state"] == "FAILED"
    assert "ModuleNotFoundError: No module named 'flows'" in run["stateDetails"], shop.log(
        log_of(application, job, "stdout")
    )
    assert "No module named 'flows'" in shop.log(log_of(application, job, "stdout"))
    assert len(run["stateDetails"]) <= 256


def test_a_job_has_the_environment_of_its_archive(shop: Shop) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("words.txt", "from the archive")
    uri = shop.put("jobs/environment.zip", packed.getvalue())
    application = shop.application()
    program = "import os\nprint(open('environment/words.txt').read(), os.environ['COLOUR'])\n"
    parameters = f"--conf spark.archives={uri}#environment --conf spark.emr-serverless.driverEnv.COLOUR=red"
    run = shop.done(application, job := shop.start(application, program, parameters=parameters))
    assert run["state"] == "SUCCESS", run["stateDetails"]
    assert shop.log(log_of(application, job, "stdout")) == "from the archive red\n"


def test_what_is_not_in_the_store_fails_the_job(shop: Shop) -> None:
    application = shop.application()
    missing = f"--archives s3://{BUCKET}/nothing.tar.gz#environment"
    run = shop.done(application, shop.start(application, "", parameters=missing))
    assert run["state"] == "FAILED"
    assert "an archive cannot be fetched" in run["stateDetails"]
    driver = {"entryPoint": f"s3://{BUCKET}/nothing.py"}
    job = shop.start(application, "", jobDriver={"sparkSubmit": driver})
    run = shop.done(application, job)
    assert run["state"] == "FAILED"
    assert "nothing.py" in shop.log(log_of(application, job, "stderr"))


def test_cancelling_ends_every_process_of_the_job(shop: Shop) -> None:
    application = shop.application()
    job = shop.start(application, WAIT)
    [process] = wait_for_processes(shop, job)
    wait_until(lambda: b"waiting" in process.stdout.read_bytes(), "the job's first words", LONG)
    pids = process.pids
    assert len(pids) >= 3  # launcher, JVM and Python
    shop.serverless.cancel_job_run(applicationId=application, jobRunId=job)
    assert shop.run(application, job)["state"] in ("CANCELLING", "CANCELLED")
    assert shop.done(application, job)["state"] == "CANCELLED"
    wait_until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "the end of all", LONG)
    assert shop.server.ledger.live() == []


def wait_for_processes(shop: Shop, job: str) -> list[Any]:
    """The processes of a job, once it has any."""
    [entry] = [entry for entry in shop.server.ledger.entries if entry.id == job]
    wait_until(lambda: bool(entry.processes), "the job's process", LONG)
    return entry.processes


def test_the_execution_timeout_cancels_a_job(shop: Shop) -> None:
    application = shop.application()
    run = shop.done(application, shop.start(application, WAIT, executionTimeoutMinutes=5))
    assert run["state"] == "CANCELLED"
    assert "timeout of 5 minutes" in run["stateDetails"]


def test_a_job_ends_with_the_process_that_the_server_is_in(tmp_path: Path) -> None:
    command = "import time; print('up', flush=True); time.sleep(600)"
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom tests.stack.emr_server.process import JobProcess\n"
        f"logs = Path({str(tmp_path)!r}) / 'logs'\n"
        f"process = JobProcess([sys.executable, '-c', {command!r}], Path('.'), {{}}, logs)\n"
        "print(process._process.pid, flush=True)\ntime.sleep(600)\n"
    )
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        session = int(parent.stdout.readline())
        wait_until(lambda: bool((tmp_path / "logs" / "stdout").read_bytes()), "the job's first words", LONG)
        parent.kill()
    wait_until(lambda: not Path(f"/proc/{session}").exists(), "the end of the orphaned job", LONG)


# Tokens, states and refusals


def test_the_same_token_is_one_job_and_another_request_a_conflict(shop: Shop) -> None:
    application = shop.application()
    jobs = {shop.start(application, WAIT, clientToken="once") for _ in range(3)}
    assert len(jobs) == 1
    assert code_of(lambda: shop.start(application, WAIT, "other", clientToken="once")) == "ConflictException"
    assert len({shop.application(clientToken="the-application") for _ in range(3)}) == 1
    asked = {"clientToken": "the-application", "name": "other"}
    assert code_of(lambda: shop.application(**asked)) == "ConflictException"


def test_an_application_starts_for_a_job_and_stops_when_idle(shop: Shop) -> None:
    stop = {"enabled": True, "idleTimeoutMinutes": 2}
    application = shop.application(autoStopConfiguration=stop)

    def state() -> str:
        return str(shop.serverless.get_application(applicationId=application)["application"]["state"])

    wait_until(lambda: state() == "CREATED", "the application")
    shop.done(application, shop.start(application, "pass"))
    assert state() == "STARTED"
    refused = code_of(lambda: shop.serverless.delete_application(applicationId=application))
    assert refused == "ValidationException"
    wait_until(lambda: state() == "STOPPED", "the application to stop by itself", LONG)
    shop.serverless.update_application(
        applicationId=application, maximumCapacity={"cpu": "8 vCPU", "memory": "32 GB"}
    )
    shop.serverless.delete_application(applicationId=application)
    assert state() == "TERMINATED"
    assert code_of(lambda: shop.start(application, "pass")) == "ValidationException"


def test_an_application_with_a_running_job_does_not_stop(shop: Shop) -> None:
    application = shop.application()
    job = shop.start(application, WAIT)
    shop.until(application, job, "RUNNING")
    refused = code_of(lambda: shop.serverless.stop_application(applicationId=application))
    assert refused == "ValidationException"


def test_lists_are_paged_and_filtered(shop: Shop) -> None:
    application = shop.application(autoStartConfiguration={"enabled": False})
    assert code_of(lambda: shop.start(application, WAIT)) == "ValidationException"
    shop.serverless.start_application(applicationId=application)
    wait_until(
        lambda: (
            shop.serverless.get_application(applicationId=application)["application"]["state"] == "STARTED"
        ),
        "the application",
    )
    jobs = [shop.start(application, WAIT, name=f"job-{number}") for number in range(3)]
    pages = shop.serverless.get_paginator("list_job_runs").paginate(
        applicationId=application, PaginationConfig={"PageSize": 2}
    )
    assert [run["id"] for page in pages for run in page["jobRuns"]] == jobs[::-1]
    for job in jobs[1:]:
        shop.serverless.cancel_job_run(applicationId=application, jobRunId=job)
        shop.done(application, job)
    found = shop.serverless.list_job_runs(applicationId=application, states=["CANCELLED"])["jobRuns"]
    assert [run["id"] for run in found] == jobs[:0:-1]


def test_tags_can_be_changed_and_read(shop: Shop) -> None:
    application = shop.application(tags={"project": "watchkeeper"})
    arn = shop.serverless.get_application(applicationId=application)["application"]["arn"]
    shop.serverless.tag_resource(resourceArn=arn, tags={"owner": "data"})
    shop.serverless.untag_resource(resourceArn=arn, tagKeys=["project"])
    assert shop.serverless.list_tags_for_resource(resourceArn=arn)["tags"] == {"owner": "data"}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"clientToken": "a" * 65}, "clientToken"),
        ({"clientToken": "a token"}, "pattern"),
        ({"executionRoleArn": "job-role-of-mine-here"}, "executionRoleArn"),
        ({"mode": "SOMETIMES"}, "mode"),
        ({"jobDriver": {"sparkSubmit": {"entryPoint": " "}}}, "entryPoint"),
        ({"jobDriver": {}}, "sparkSubmit"),
        ({"applicationId": "no application"}, "applicationId"),
    ],
)
def test_what_the_model_refuses_is_refused(shop: Shop, asked: dict[str, Any], said: str) -> None:
    loose = shop.client("emr-serverless", config=Config(parameter_validation=False))
    request = {
        "applicationId": shop.application(),
        "executionRoleArn": ROLE,
        "clientToken": "token",
        "jobDriver": {"sparkSubmit": {"entryPoint": f"s3://{BUCKET}/a.py"}},
    }
    with pytest.raises(ClientError, match=said) as refused:
        loose.start_job_run(**request | asked)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(ParamValidationError):
        shop.serverless.start_job_run(**request, unknown=1)


def test_what_is_not_there_and_who_is_not_known(shop: Shop) -> None:
    application = shop.application()
    assert code_of(lambda: shop.run(application, "00nothing000000")) == "ResourceNotFoundException"
    stranger = boto3.session.Session("AKIASTRANGER", "x", region_name=REGION)
    client = stranger.client("emr-serverless", endpoint_url=shop.server.url)
    assert code_of(client.list_applications) == "UnrecognizedClientException"
    elsewhere = shop.client("emr-serverless", region_name="eu-north-1")
    assert code_of(elsewhere.list_applications) == "InvalidSignatureException"


# Faults


def test_throttling_is_retried_by_boto3_and_seen_without_retries(shop: Shop) -> None:
    application = shop.application()
    once = shop.client("emr-serverless", config=Config(retries={"total_max_attempts": 1}))
    shop.server.faults.throttle("ListJobRuns")
    assert code_of(lambda: once.list_job_runs(applicationId=application)) == "ThrottlingException"
    before = shop.server.calls["ListJobRuns"]
    shop.server.faults.throttle("ListJobRuns", times=2)
    shop.serverless.list_job_runs(applicationId=application)
    assert shop.server.calls["ListJobRuns"] == before + 3


@pytest.mark.parametrize(
    "code",
    ["ExpiredTokenException", "AccessDeniedException", "ConflictException", "ServiceQuotaExceededException"],
)
def test_a_refused_call_does_nothing(shop: Shop, code: str) -> None:
    application = shop.application()
    before = len(shop.server.ledger.entries)
    shop.server.faults.refuse("StartJobRun", code)
    assert code_of(lambda: shop.start(application, WAIT)) == code
    assert len(shop.server.ledger.entries) == before


def test_a_lost_answer_leaves_a_job_that_its_token_finds(shop: Shop) -> None:
    application = shop.application()
    once = shop.client("emr-serverless", config=Config(retries={"total_max_attempts": 1}))
    retrying, shop.serverless = shop.serverless, once
    shop.server.faults.lose_answer("StartJobRun")
    before = len(shop.server.ledger.entries)
    with pytest.raises(ConnectionClosedError):
        shop.start(application, WAIT, clientToken="lost")
    assert len(shop.server.ledger.entries) == before + 1
    assert shop.start(application, WAIT, clientToken="lost") == shop.server.ledger.entries[-1].id
    shop.serverless = retrying
    shop.server.faults.lose_answer("StartJobRun", times=2)
    shop.start(application, WAIT)  # boto3 makes a token of its own, and asks again with it
    assert len(shop.server.ledger.entries) == before + 2


def test_a_driver_that_fails_says_why(shop: Shop) -> None:
    application = shop.application()
    shop.server.faults.next_job(JobFaults(driver_fails=True))
    run = shop.done(application, job := shop.start(application, WAIT))
    assert run["state"] == "FAILED"
    assert "ExitCode: 1" in run["stateDetails"]
    assert "RuntimeError: the driver was told to fail" in shop.log(log_of(application, job, "stdout"))


def test_a_lost_node_is_retried_as_the_policy_says(shop: Shop) -> None:
    application = shop.application()
    shop.server.faults.next_job(JobFaults(nodes_lost=1))
    job = shop.start(application, "print('survived')", retryPolicy={"maxAttempts": 2})
    run = shop.done(application, job)
    assert (run["state"], run["attempt"]) == ("SUCCESS", 2)
    [entry] = [entry for entry in shop.server.ledger.entries if entry.id == job]
    assert [process.code for process in entry.processes] == [-9, 0]
    assert shop.server.ledger.at_once([entry]) == 1
    second = f"logs/applications/{application}/jobs/{job}/attempts/2/SPARK_DRIVER/stdout.gz"
    assert shop.log(second) == "survived\n"
    shop.server.faults.next_job(JobFaults(nodes_lost=1))
    run = shop.done(application, shop.start(application, "print('once')"))
    assert run["state"] == "FAILED"
    assert "ExitCode: 137" in run["stateDetails"]


def test_a_slow_start_and_a_state_that_flaps(shop: Shop) -> None:
    application = shop.application()
    shop.server.faults.next_job(JobFaults(slow_start_seconds=600, flaps=True))
    job = shop.start(application, WAIT)
    began = shop.server.clock.now()
    shop.until(application, job, "RUNNING")
    assert shop.server.clock.now() - began > 600
    states = [shop.run(application, job)["state"] for _ in range(3)]
    assert states == ["PENDING", "RUNNING", "RUNNING"] or states == ["RUNNING", "RUNNING", "RUNNING"]


def test_what_a_test_does_at_a_call_happens_before_or_after_its_effect(shop: Shop) -> None:
    application, seen = shop.application(), []
    shop.server.faults.at("StartJobRun", lambda: seen.append(len(shop.server.ledger.entries)))
    shop.server.faults.at("StartJobRun", lambda: seen.append(len(shop.server.ledger.entries)), after=True)
    shop.start(application, WAIT)
    assert seen[1] == seen[0] + 1


# EMR on EC2


def cluster_of(shop: Shop, *steps: dict[str, Any], alive: bool = False, **more: Any) -> str:
    """A new cluster of one machine and a fleet of Spot."""
    fleets = [
        {
            "InstanceFleetType": "MASTER",
            "TargetOnDemandCapacity": 1,
            "InstanceTypeConfigs": [{"InstanceType": "m6g.xlarge"}],
        },
        {
            "InstanceFleetType": "CORE",
            "TargetSpotCapacity": 2,
            "InstanceTypeConfigs": [{"InstanceType": "m6g.xlarge"}],
        },
    ]
    asked = {
        "Name": "shop",
        "ReleaseLabel": "emr-7.9.0",
        "LogUri": f"s3://{BUCKET}/emr",
        "Instances": {"InstanceFleets": fleets, "KeepJobFlowAliveWhenNoSteps": alive},
        "Steps": list(steps),
        "Tags": [{"Key": "project", "Value": "watchkeeper"}],
        "JobFlowRole": "profile",
        "ServiceRole": "role",
    }
    return str(shop.emr.run_job_flow(**asked | more)["JobFlowId"])


def step_of(shop: Shop, name: str, program: str, action: str = "CONTINUE") -> dict[str, Any]:
    """A step that runs this program."""
    uri = shop.put(f"steps/{name}.py", program)
    words = ["spark-submit", "--deploy-mode", "client", "--conf", "spark.app.flavour=red", uri, "argument"]
    return {
        "Name": name,
        "ActionOnFailure": action,
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": words},
    }


def step_states(shop: Shop, cluster: str) -> dict[str, str]:
    """State by name of each step."""
    return {step["Name"]: step["Status"]["State"] for step in shop.emr.list_steps(ClusterId=cluster)["Steps"]}


def cluster_state(shop: Shop, cluster: str) -> str:
    return str(shop.emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"])


def test_a_transient_cluster_runs_its_step_and_ends(shop: Shop) -> None:
    cluster = cluster_of(shop, step_of(shop, "copy", "import sys\nprint(sys.argv[1])\n"))
    assert shop.emr.describe_cluster(ClusterId=cluster)["Cluster"]["AutoTerminate"]
    wait_until(lambda: cluster_state(shop, cluster) == "TERMINATED", "the cluster's end", LONG)
    told = shop.emr.describe_cluster(ClusterId=cluster)["Cluster"]
    assert told["Status"]["StateChangeReason"]["Code"] == "ALL_STEPS_COMPLETED"
    assert told["Tags"] == [{"Key": "project", "Value": "watchkeeper"}]
    assert step_states(shop, cluster) == {"copy": "COMPLETED"}
    step = shop.emr.list_steps(ClusterId=cluster)["Steps"][0]["Id"]
    assert shop.log(f"emr/{cluster}/steps/{step}/stdout.gz") == "argument\n"
    machines = shop.emr.list_instances(ClusterId=cluster)["Instances"]
    assert sorted(machine["Market"] for machine in machines) == ["ON_DEMAND", "SPOT", "SPOT"]


def test_a_step_that_fails_ends_the_cluster_if_it_says_so(shop: Shop) -> None:
    steps = [
        step_of(shop, "bad", "raise ValueError('on purpose')", "TERMINATE_CLUSTER"),
        step_of(shop, "next", ""),
    ]
    cluster = cluster_of(shop, *steps)
    wait_until(lambda: cluster_state(shop, cluster) == "TERMINATED_WITH_ERRORS", "the cluster's end", LONG)
    assert step_states(shop, cluster) == {"bad": "FAILED", "next": "CANCELLED"}
    step = shop.emr.list_steps(ClusterId=cluster, StepStates=["FAILED"])["Steps"][0]
    assert "on purpose" in step["Status"]["FailureDetails"]["Message"]
    assert (
        step["Status"]["FailureDetails"]["LogFile"]
        == f"s3://{BUCKET}/emr/{cluster}/steps/{step['Id']}/stderr.gz"
    )


def test_steps_on_a_waiting_cluster_are_cancelled_with_their_processes(shop: Shop) -> None:
    cluster = cluster_of(shop, alive=True)
    wait_until(lambda: cluster_state(shop, cluster) == "WAITING", "the cluster", LONG)
    steps = [step_of(shop, "first", WAIT), step_of(shop, "second", WAIT)]
    first, second = shop.emr.add_job_flow_steps(JobFlowId=cluster, Steps=steps)["StepIds"]
    [process] = wait_for_processes(shop, first)
    assert cluster_state(shop, cluster) == "RUNNING"
    told = shop.emr.cancel_steps(
        ClusterId=cluster, StepIds=[second, first], StepCancellationOption="TERMINATE_PROCESS"
    )
    assert [info["Status"] for info in told["CancelStepsInfoList"]] == ["SUBMITTED", "SUBMITTED"]
    wait_until(lambda: set(step_states(shop, cluster).values()) == {"CANCELLED"}, "the steps' end", LONG)
    assert not process.alive
    again = shop.emr.cancel_steps(ClusterId=cluster, StepIds=[first])["CancelStepsInfoList"]
    assert again[0]["Status"] == "FAILED"
    assert shop.server.live() == [cluster]
    shop.emr.terminate_job_flows(JobFlowIds=[cluster])
    wait_until(lambda: cluster_state(shop, cluster) == "TERMINATED", "the cluster's end", LONG)


def test_an_idle_cluster_ends_by_its_policy(shop: Shop) -> None:
    cluster = cluster_of(shop, alive=True)
    shop.emr.put_auto_termination_policy(ClusterId=cluster, AutoTerminationPolicy={"IdleTimeout": 120})
    shop.emr.add_tags(ResourceId=cluster, Tags=[{"Key": "run", "Value": "8"}])
    tags = shop.emr.describe_cluster(ClusterId=cluster)["Cluster"]["Tags"]
    assert {"Key": "run", "Value": "8"} in tags
    wait_until(lambda: cluster_state(shop, cluster) == "TERMINATED", "the cluster's end", LONG)
    found = shop.emr.list_clusters(ClusterStates=["TERMINATED"])["Clusters"]
    assert cluster in [item["Id"] for item in found]
    refused = code_of(
        lambda: shop.emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step_of(shop, "late", "")])
    )
    assert refused == "ValidationException"


def test_a_running_step_ends_with_its_cluster(shop: Shop) -> None:
    cluster = cluster_of(shop, step_of(shop, "long", WAIT))
    step = shop.emr.list_steps(ClusterId=cluster)["Steps"][0]["Id"]
    [process] = wait_for_processes(shop, step)
    shop.emr.terminate_job_flows(JobFlowIds=[cluster])
    wait_until(lambda: cluster_state(shop, cluster) == "TERMINATED", "the cluster's end", LONG)
    assert not process.alive
    assert step_states(shop, cluster) == {"long": "CANCELLED"}


def test_a_cluster_whose_answer_was_lost_is_found_by_its_tags(shop: Shop) -> None:
    once = shop.client("emr", config=Config(retries={"total_max_attempts": 1}))
    shop.emr = once
    shop.server.faults.lose_answer("RunJobFlow")
    with pytest.raises(ConnectionClosedError):
        cluster_of(shop, alive=True, Tags=[{"Key": "run", "Value": "lost"}])
    states = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]
    [found] = shop.emr.list_clusters(ClusterStates=states)["Clusters"]
    tags = shop.emr.describe_cluster(ClusterId=found["Id"])["Cluster"]["Tags"]
    assert tags == [{"Key": "run", "Value": "lost"}]
    shop.server.faults.refuse("DescribeCluster", "ThrottlingException")
    assert code_of(lambda: cluster_state(shop, found["Id"])) == "ThrottlingException"
    assert code_of(lambda: cluster_state(shop, "j-NOTHING")) == "InvalidRequestException"
