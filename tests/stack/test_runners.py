"""The runners on servers that speak AWS's API and really run the job, with what goes wrong in between."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flows.etl.runners import emr, emr_serverless
from flows.etl.runners.artifact import Artifact, artifact
from flows.etl.runners.aws import Aws
from flows.etl.runners.base import Cost, Handle, OnLog, OnProgress, Runner, SparkJob, SparkJobError
from flows.etl.runners.config import RunnerSettings
from flows.etl.runners.emr import EmrRunner
from flows.etl.runners.emr_serverless import EmrServerlessRunner
from flows.etl.runners.life import run_job
from flows.etl.runners.records import Records
from tests.factories import settings_of, wait_until
from tests.stack.buckets import ACCOUNT, REGION, minio
from tests.stack.emr_server import EmrServer, S3Place, emr_server
from tests.stack.emr_server.jars import needs_jars
from tests.stack.programs import needs

pytestmark = [needs("minio"), needs_jars, pytest.mark.timeout(900)]

BUCKET = "warehouse"
LONG = 300
GOOD = """
import sys, spark_job
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
assert spark_job.read_text(spark, sys.argv[1]) == "{}"
spark_job.write_text(spark, sys.argv[1].replace("job.json", "_summary.json"), "{}")
"""
BAD = "raise ValueError('the cause')\n"
ENDLESS = "import time\nprint('waiting', flush=True)\ntime.sleep(900)\n"


class InBucket:
    """As much of a path as a runner needs."""

    def __init__(self, client: Any, key: str) -> None:
        self.client, self.key = client, key

    def __str__(self) -> str:
        return f"s3://{BUCKET}/{self.key}"

    @property
    def parent(self) -> "InBucket":
        return InBucket(self.client, self.key.rpartition("/")[0])

    def __truediv__(self, name: str) -> "InBucket":
        return InBucket(self.client, f"{self.key}/{name}")

    def exists(self) -> bool:
        return bool(self.client.list_objects_v2(Bucket=BUCKET, Prefix=self.key).get("Contents"))

    def read_text(self, encoding: str) -> str:
        try:
            return str(self.client.get_object(Bucket=BUCKET, Key=self.key)["Body"].read().decode(encoding))
        except self.client.exceptions.NoSuchKey:
            raise FileNotFoundError(str(self)) from None

    def write(self, text: str) -> "InBucket":
        self.client.put_object(Bucket=BUCKET, Key=self.key, Body=text.encode())
        return self


class Cloud(NamedTuple):
    """The servers, and the settings that lead there."""

    server: EmrServer
    settings: RunnerSettings
    s3: Any

    def runner(self, service: str) -> Runner:
        return EmrRunner(self.settings) if service == "emr" else EmrServerlessRunner(self.settings)

    def job(self, name: str) -> SparkJob:
        path = InBucket(self.s3, f"staging/{name}/job.json").write("{}")
        return SparkJob("etl", path, name, "etl", f"run-of-{name}")  # type: ignore[arg-type]

    def started(self) -> int:
        """How many jobs were ever started."""
        return len(self.server.ledger.entries)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    with minio(folder) as url, pytest.MonkeyPatch.context() as patch:
        place = S3Place(url, ACCOUNT["AWS_ACCESS_KEY_ID"], ACCOUNT["AWS_SECRET_ACCESS_KEY"], REGION)
        s3 = place.client
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        with emr_server(folder / "emr", place) as server:
            for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
                patch.delenv(name, raising=False)
            for name, value in server.environment().items():
                patch.setenv(name, value)
            sizes = {f"emr_{of}_memory_gb": 1 for of in ("driver", "executor")}
            settings = settings_of(
                folder / "home",
                aws_region=REGION,
                emr_store=f"s3://{BUCKET}/wk",
                emr_serverless_role="arn:aws:iam::123456789012:role/job",
                emr_executors=1,
                **sizes,
            )
            yield Cloud(server, settings, s3)


@pytest.fixture
def program(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a text the program `etl`."""

    def say(text: str) -> None:
        entry = InBucket(cloud.s3, f"programs/{len(text)}.py").write(text)

        def instead(aws: Aws) -> Artifact:
            made = artifact(aws)
            return Artifact({"etl": str(entry)}, made.py_files, made.archives)

        for module in (emr, emr_serverless):
            monkeypatch.setattr(module, "artifact", instead)

    return say


def run(runner: Runner, job: SparkJob, records: Path, log: list[str] | None = None) -> Cost | None:
    heard = [] if log is None else log
    return run_job(runner, job, lambda _done, _known: None, heard.append, records=Records(records))


SERVICES = pytest.mark.parametrize("service", ["emr_serverless", "emr"])
CREATES = {"emr_serverless": "StartJobRun", "emr": "RunJobFlow"}


@SERVICES
def test_a_lost_answer_is_one_job_which_is_taken_as_done_the_next_time(
    cloud: Cloud, program: Callable[[str], None], tmp_path: Path, service: str
) -> None:
    program(GOOD)
    job, before = cloud.job(f"lost-{service}"), cloud.started()
    cloud.server.faults.lose_answer(CREATES[service])
    cost = run(cloud.runner(service), job, tmp_path)
    assert cost is not None
    assert all(hours > 0 for hours in cost.hours.values())
    assert job.summary.exists()
    run(cloud.runner(service), cloud.job(f"lost-{service}"), tmp_path)
    assert cloud.started() == before + 1


@SERVICES
def test_a_worker_that_died_after_its_call_finds_its_job_on_another_machine(
    cloud: Cloud, program: Callable[[str], None], tmp_path: Path, service: str
) -> None:
    program(GOOD)
    before = cloud.started()
    cloud.runner(service).submit(cloud.job(f"died-{service}"), 1)
    log: list[str] = []
    run(cloud.runner(service), cloud.job(f"died-{service}"), tmp_path / "nothing is known here", log)
    assert log[0].startswith("adopting ")
    assert cloud.started() == before + 1


@SERVICES
def test_a_failure_says_the_programs_own_words(
    cloud: Cloud, program: Callable[[str], None], tmp_path: Path, service: str
) -> None:
    program(BAD)
    log: list[str] = []
    with pytest.raises(SparkJobError, match=r"^the Spark job failed: the cause$"):
        run(cloud.runner(service), cloud.job(f"bad-{service}"), tmp_path, log)
    assert "ValueError: the cause" in log
    program(GOOD)
    run(cloud.runner(service), cloud.job(f"bad-{service}"), tmp_path)  # its second attempt


@SERVICES
def test_an_interrupted_wait_leaves_nothing_running(
    cloud: Cloud,
    program: Callable[[str], None],
    tmp_path: Path,
    service: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program(ENDLESS)
    runner = cloud.runner(service)
    inner = runner.follow

    def interrupted(handle: Handle, seconds: float, on_progress: OnProgress, on_log: OnLog) -> None:
        if runner.describe(handle).phase == "running":
            raise KeyboardInterrupt
        inner(handle, 1, on_progress, on_log)

    monkeypatch.setattr(runner, "follow", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(runner, cloud.job(f"endless-{service}"), tmp_path)
    wait_until(lambda: not cloud.server.live(), "the job and its cluster to end", LONG)
    assert list(runner.living()) == []
