"""EMR Serverless against moto: what is asked for, found again and taken back; moto runs nothing."""

import shlex
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.etl.runners import emr_serverless
from flows.etl.runners.artifact import artifact
from flows.etl.runners.aws import Aws
from flows.etl.runners.base import Handle, SparkJob, SparkJobError
from flows.etl.runners.emr_application import create_application, find_application
from flows.etl.runners.emr_serverless import EmrServerlessRunner
from flows.etl.runners.spark_conf import PORTABLE_CONF
from tests.factories import settings_of
from tests.unit.etl.test_runners_aws import REGION, ROLE, client_error, cloud, cloud_settings  # noqa: F401

pytestmark = pytest.mark.usefixtures("cloud")


def job_of(folder: Path, run: str = "run-1") -> SparkJob:
    (folder / "job.json").write_text("{}")
    return SparkJob("etl", folder / "job.json", "shop.sales etl", "etl", run)


@pytest.fixture
def runner(tmp_path: Path) -> EmrServerlessRunner:
    return EmrServerlessRunner(cloud_settings(tmp_path))


def applications(runner: EmrServerlessRunner) -> list[dict[str, Any]]:
    listed = runner.client.list_applications()["applications"]
    return [runner.client.get_application(applicationId=each["id"])["application"] for each in listed]


def test_a_job_is_asked_for_with_all_that_it_needs(runner: EmrServerlessRunner, tmp_path: Path) -> None:
    job = job_of(tmp_path)
    handle = runner.submit(job, 1)
    run = runner.client.get_job_run(applicationId=handle.where, jobRunId=handle.id)["jobRun"]
    assert run["executionRole"] == ROLE
    assert run["name"] == f"shop.sales etl {job.token}-1"
    assert run["tags"] == {"project": "watchkeeper", "owner": "watchkeeper", "flow": "etl", "run": "run-1"}
    submit = run["jobDriver"]["sparkSubmit"]
    assert submit["entryPoint"].startswith("s3://store/wk/artifacts/")
    assert submit["entryPoint"].endswith("/etl_job.py")
    assert submit["entryPointArguments"] == [str(job.path)]
    given = shlex.split(submit["sparkSubmitParameters"])
    conf = dict(argument.split("=", 1) for argument in given[1::2])
    assert set(given[::2]) == {"--conf"}
    assert PORTABLE_CONF.items() <= conf.items()
    assert conf["spark.submit.pyFiles"].endswith("/jobs.zip")
    asked = runner.asked(job, 3, artifact(runner.aws))
    assert asked["clientToken"] == job.attempt(3)
    assert asked["executionTimeoutMinutes"] == 360
    assert asked["retryPolicy"] == {"maxAttempts": 1}
    logs = asked["configurationOverrides"]["monitoringConfiguration"]["s3MonitoringConfiguration"]
    assert logs == {"logUri": "s3://store/wk/logs/"}


def test_a_packed_environment_runs_the_job(tmp_path: Path) -> None:
    runner = EmrServerlessRunner(cloud_settings(tmp_path, emr_archive="s3://store/env.tar.gz"))
    conf = runner.parameters(artifact(runner.aws))
    assert "spark.archives=s3://store/env.tar.gz#environment" in conf
    assert "spark.executorEnv.PYSPARK_PYTHON=./environment/bin/python" in conf


def test_the_application_is_created_where_there_is_none_and_found_after(
    runner: EmrServerlessRunner, tmp_path: Path
) -> None:
    assert find_application(runner.aws, runner.client) is None
    first = runner.submit(job_of(tmp_path), 1)
    second = runner.submit(job_of(tmp_path, "run-2"), 1)
    assert first.where == second.where
    (made,) = applications(runner)
    assert made["name"] == "watchkeeper"
    assert made["tags"] == {"project": "watchkeeper", "owner": "watchkeeper"}
    assert made["autoStopConfiguration"] == {"enabled": True, "idleTimeoutMinutes": 15}
    assert made["autoStartConfiguration"] == {"enabled": True}
    assert made["maximumCapacity"]["cpu"] == "64 vCPU"
    by_id = cloud_settings(tmp_path, emr_serverless_application=first.where)
    assert find_application(Aws(by_id), runner.client) == first.where
    named = cloud_settings(tmp_path, emr_serverless_application="other")
    assert find_application(Aws(named), runner.client) is None


def test_an_application_that_was_created_for_a_job_that_is_refused_goes_again(
    runner: EmrServerlessRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise client_error("ValidationException", "the role is invalid")

    monkeypatch.setattr(runner.client, "start_job_run", refuse)
    with pytest.raises(SparkJobError, match="WATCHKEEPER_EMR_SERVERLESS_ROLE"):
        runner.submit(job_of(tmp_path), 1)
    assert find_application(runner.aws, runner.client) is None
    kept = create_application(runner.aws, runner.client)
    with pytest.raises(SparkJobError, match="WATCHKEEPER_EMR_SERVERLESS_ROLE"):
        runner.submit(job_of(tmp_path), 1)
    assert find_application(runner.aws, runner.client) == kept  # that was not ours to remove


def test_no_role_is_told_before_anything_is_created(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, aws_region=REGION, emr_store="s3://store/wk")
    runner = EmrServerlessRunner(settings)
    with pytest.raises(SparkJobError, match="WATCHKEEPER_EMR_SERVERLESS_ROLE"):
        runner.submit(job_of(tmp_path), 1)
    assert applications(runner) == []


def test_the_newest_attempt_of_a_token_is_found_and_no_other(
    runner: EmrServerlessRunner, tmp_path: Path
) -> None:
    job, other = job_of(tmp_path), job_of(tmp_path, "run-2")
    assert runner.find(job) is None
    handles = [runner.submit(job, attempt) for attempt in (1, 2, 10)]
    runner.submit(other, 11)
    assert runner.find(job) == handles[-1]
    assert runner.find(job_of(tmp_path, "run-3")) is None


class Client:
    """Answers of one job run; counts who ends it."""

    class meta:  # noqa: N801  # as boto3 calls it
        region_name = "us-east-1"

    def __init__(self, **run: Any) -> None:
        self.run, self.cancelled = run, 0

    def get_job_run(self, **_: Any) -> dict[str, Any]:
        if "state" not in self.run:
            raise client_error("ResourceNotFoundException", "no such job")
        return {"jobRun": self.run}

    def cancel_job_run(self, **_: Any) -> None:
        self.cancelled += 1


def answering(tmp_path: Path, **run: Any) -> EmrServerlessRunner:
    runner = EmrServerlessRunner(cloud_settings(tmp_path))
    runner.client = Client(**run)
    return runner


HANDLE = Handle("emr_serverless", "r1", 1, "a1")


@pytest.mark.parametrize(("state", "phase"), emr_serverless.PHASES.items())
def test_every_state_has_its_phase_and_only_what_runs_is_ended(
    tmp_path: Path, state: str, phase: str
) -> None:
    runner = answering(tmp_path, state=state, stateDetails="why")
    found = runner.describe(HANDLE)
    assert (found.phase, found.detail) == (phase, "why")
    runner.cancel(HANDLE)
    assert runner.client.cancelled == (0 if found.ended else 1)


def test_a_job_that_the_service_does_not_know_has_failed_unless_it_is_new(tmp_path: Path) -> None:
    runner = answering(tmp_path)
    assert runner.describe(HANDLE).phase == "failed"
    runner._started[HANDLE.id] = time.monotonic()
    assert runner.describe(HANDLE).phase == "pending"


def test_what_was_billed_is_the_cost_and_before_that_a_bound(tmp_path: Path) -> None:
    billed = {"vCPUHour": 2.0, "memoryGBHour": 8.0, "storageGBHour": 0.0}
    cost = answering(tmp_path, state="SUCCESS", billedResourceUtilization=billed).cost(HANDLE)
    assert cost is not None
    assert cost.dollars == pytest.approx(2 * 0.052624 + 8 * 0.0057785)
    assert not cost.bound
    assert answering(tmp_path, state="PENDING").cost(HANDLE) is None
    hour = datetime.now(UTC) - timedelta(hours=1)
    ended = answering(tmp_path, state="CANCELLING", startedAt=hour).cost(HANDLE)
    assert ended is not None
    assert ended.bound
    half = hour + timedelta(minutes=30)
    cancelled = answering(tmp_path, state="CANCELLED", startedAt=hour, endedAt=half).cost(HANDLE)
    assert cancelled is not None
    assert cancelled.hours["vcpu"] == pytest.approx((4 + 8 * 4) / 2)
    assert answering(tmp_path, state="CANCELLED", createdAt=hour, endedAt=half).cost(HANDLE) is None
    running = answering(tmp_path, state="RUNNING", createdAt=hour).cost(HANDLE)
    assert running is not None
    assert running.bound
    assert running.hours["vcpu"] == pytest.approx(4 + 8 * 4, rel=0.01)


def test_what_lives_with_our_tags_is_listed(runner: EmrServerlessRunner, tmp_path: Path) -> None:
    assert list(runner.living()) == []
    handle = runner.submit(job_of(tmp_path), 1)
    states = [run["state"] for run in runner.client.list_job_runs(applicationId=handle.where)["jobRuns"]]
    living = list(runner.living())
    assert [found.id for found, _ in living] == (
        [handle.id] if set(states) <= set(emr_serverless.LIVING) else []
    )


class Applications:
    """A service that gives the same token the same application, ended or not."""

    def __init__(self) -> None:
        self.by_token: dict[str, str] = {}
        self.states: dict[str, list[str]] = {}

    def create_application(self, **asked: Any) -> dict[str, str]:
        made = self.by_token.setdefault(asked["clientToken"], f"app-{len(self.by_token)}")
        self.states.setdefault(made, ["CREATED"])
        return {"applicationId": made}

    def get_application(self, applicationId: str) -> dict[str, Any]:  # noqa: N803  # boto3's name
        states = self.states[applicationId]
        return {"application": {"state": states.pop(0) if len(states) > 1 else states[0]}}

    def stop_application(self, **_: Any) -> None:
        """Nothing runs on it."""

    delete_application = stop_application


def test_an_application_that_was_removed_today_is_not_taken_for_the_new_one(tmp_path: Path) -> None:
    service, aws = Applications(), Aws(cloud_settings(tmp_path))
    assert create_application(aws, service) == create_application(aws, service) == "app-0"
    service.states["app-0"] = ["TERMINATED"]
    assert create_application(aws, service) == create_application(aws, service) == "app-1"
    service.states = {f"app-{number}": ["TERMINATED"] for number in range(20)}
    with pytest.raises(SparkJobError, match="was not created: 10 of today ended at once, such as app-9"):
        create_application(aws, service)


def test_an_application_that_ends_while_it_is_created_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.etl.runners.emr_application.time.sleep", lambda _seconds: None)
    service = Applications()
    service.states["app-0"] = ["CREATING", "TERMINATED"]
    with pytest.raises(SparkJobError, match="the EMR Serverless application was not created: "):
        create_application(Aws(cloud_settings(tmp_path)), service)
