"""EMR on EC2 against moto: looked for before it is created, ended with its cluster; moto runs nothing."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from flows.etl.runners import emr
from flows.etl.runners.artifact import Artifact
from flows.etl.runners.base import Handle, SparkJob, SparkJobError, UnansweredError
from flows.etl.runners.emr import EmrRunner, hours_of
from flows.etl.runners.emr_cluster import transient
from tests.unit.etl.test_runners_aws import client_error, cloud, cloud_settings  # noqa: F401

pytestmark = pytest.mark.usefixtures("cloud")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing settles here."""
    monkeypatch.setattr(emr, "SETTLING_SECONDS", 0.0)


@pytest.fixture
def job(tmp_path: Path) -> SparkJob:
    (tmp_path / "job.json").write_text("{}")
    return SparkJob("etl", tmp_path / "job.json", "shop.sales etl", "etl", "run-1")


def shared(tmp_path: Path) -> EmrRunner:
    """A runner on a cluster that others have started."""
    runner = EmrRunner(cloud_settings(tmp_path, emr_cluster="everyones"))
    runner.client.run_job_flow(
        Name="everyones",
        ReleaseLabel="emr-7.12.0",
        LogUri="s3n://store/theirs/",
        Instances={
            "MasterInstanceType": "m5.xlarge",
            "SlaveInstanceType": "m5.xlarge",
            "InstanceCount": 2,
            "KeepJobFlowAliveWhenNoSteps": True,
        },
        JobFlowRole="EMR_EC2_DefaultRole",
        ServiceRole="EMR_DefaultRole",
    )
    return runner


def own(tmp_path: Path, **more: Any) -> EmrRunner:
    """A runner whose jobs get clusters of their own."""
    return EmrRunner(cloud_settings(tmp_path, **more))


def clusters(runner: EmrRunner) -> list[dict[str, Any]]:
    found = runner.client.list_clusters()["Clusters"]
    return [runner.client.describe_cluster(ClusterId=each["Id"])["Cluster"] for each in found]


def test_a_step_is_spark_submit_with_all_that_the_job_needs(tmp_path: Path, job: SparkJob) -> None:
    runner = shared(tmp_path)
    handle = runner.submit(job, 1)
    assert not handle.owned
    step = runner.client.describe_step(ClusterId=handle.where, StepId=handle.id)["Step"]
    assert step["Name"] == f"shop.sales etl {job.token}-1"
    assert step["ActionOnFailure"] == "CONTINUE"
    assert [(found, tags["run"]) for found, tags in runner.living()] == [(handle, "run-1")]
    args = step["Config"]["Args"]
    assert args[:3] == ["spark-submit", "--deploy-mode", "client"]
    assert args[-2].endswith("/etl_job.py")
    assert args[-1] == str(job.path)
    assert args[args.index("--py-files") + 1].endswith("/jobs.zip")
    assert "spark.sql.session.timeZone=UTC" in args
    packed = runner.step(
        job, 1, Artifact({"etl": "s3://e.py"}, ("s3://j.zip",), ("s3://e.tar.gz#environment",))
    )
    args = packed["HadoopJarStep"]["Args"]
    assert args[:3] == ["spark-submit", "--deploy-mode", "cluster"]
    assert args[args.index("--archives") + 1] == "s3://e.tar.gz#environment"


def test_a_cluster_of_the_jobs_own_ends_with_it_and_carries_our_tags(tmp_path: Path, job: SparkJob) -> None:
    runner = own(tmp_path, emr_workers=6, emr_subnets=["subnet-1"])
    handle = runner.submit(job, 1)
    assert handle.owned
    (made,) = clusters(runner)
    assert made["Name"] == f"shop.sales etl {job.token}-1"
    assert made["AutoTerminate"]
    assert {tag["Key"]: tag["Value"] for tag in made["Tags"]} == {
        "project": "watchkeeper",
        "owner": "watchkeeper",
        "flow": "etl",
        "run": "run-1",
    }
    asked = transient(runner.settings, "s3://store/wk", {})
    main, core, task = asked["Instances"]["InstanceFleets"]
    assert (main["TargetOnDemandCapacity"], core["TargetOnDemandCapacity"]) == (1, 1)
    assert task["LaunchSpecifications"]["SpotSpecification"]["TimeoutAction"] == "SWITCH_TO_ON_DEMAND"
    limits = asked["ManagedScalingPolicy"]["ComputeLimits"]
    assert (limits["MaximumCapacityUnits"], limits["MaximumOnDemandCapacityUnits"]) == (6, 1)
    assert asked["Instances"]["Ec2SubnetIds"] == ["subnet-1"]
    assert not asked["Instances"]["KeepJobFlowAliveWhenNoSteps"]


@pytest.mark.parametrize("make", [shared, own])
def test_a_call_whose_answer_was_lost_creates_nothing_twice(
    tmp_path: Path, job: SparkJob, make: Callable[[Path], EmrRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, calls = make(tmp_path), []

    def losing(name: str) -> Callable[..., Any]:
        real = getattr(runner.creating, name)

        def call(**asked: Any) -> Any:
            calls.append(name)
            real(**asked)
            raise ReadTimeoutError(endpoint_url="https://emr")

        return call

    for name in ("add_job_flow_steps", "run_job_flow"):
        monkeypatch.setattr(runner.creating, name, losing(name))
    handle = runner.submit(job, 1)
    assert len(calls) == 1
    assert runner.find(job) == handle
    assert runner.submit(job, 1) == handle
    assert len(calls) == 1
    assert len(clusters(runner)) == 1


def test_a_throttled_call_is_made_again_and_at_last_given_up(
    tmp_path: Path, job: SparkJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, calls = own(tmp_path), []

    def throttle(**_: Any) -> None:
        calls.append(1)
        raise client_error("ThrottlingException")

    monkeypatch.setattr(runner.creating, "run_job_flow", throttle)
    with pytest.raises(UnansweredError, match="busy"):
        runner.submit(job, 1)
    assert len(calls) == emr.CREATE_TRIES
    assert clusters(runner) == []


def test_the_calls_that_create_are_never_sent_again_by_botocore(tmp_path: Path) -> None:
    runner = own(tmp_path)
    assert runner.creating.meta.config.retries["total_max_attempts"] == 1
    assert runner.client.meta.config.retries["total_max_attempts"] > 1


def test_a_cluster_that_never_lists_its_step_is_ended(
    tmp_path: Path, job: SparkJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = own(tmp_path)
    monkeypatch.setattr(emr, "LISTED_SECONDS", -1.0)
    monkeypatch.setattr(EmrRunner, "find", lambda self, job: None)
    with pytest.raises(SparkJobError, match="does not list it"):
        runner.submit(job, 1)
    (made,) = clusters(runner)
    assert made["Status"]["State"] in ("TERMINATING", "TERMINATED")


def test_a_listing_that_is_not_answered_is_asked_for_again(
    tmp_path: Path, job: SparkJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, answers = own(tmp_path), [None, UnansweredError("AWS is busy")]
    find = EmrRunner.find

    def busy(self: EmrRunner, job: SparkJob) -> Handle | None:
        if not answers:
            return find(self, job)
        if answer := answers.pop(0):
            raise answer
        return None

    monkeypatch.setattr(emr, "SETTLING_SECONDS", 0.0)
    monkeypatch.setattr(EmrRunner, "find", busy)
    assert runner.submit(job, 1).attempt == 1
    (made,) = clusters(runner)
    assert made["Status"]["State"] not in ("TERMINATING", "TERMINATED")


def test_a_cluster_without_logs_has_none_to_show(
    tmp_path: Path, job: SparkJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = shared(tmp_path)
    handle = runner.submit(job, 1)
    monkeypatch.setattr(EmrRunner, "_cluster", lambda *_: {})
    assert runner.logs(handle) == []
    assert runner.links(handle).keys() == {"cluster"}


def test_a_cluster_that_does_not_run_names_the_setting(tmp_path: Path, job: SparkJob) -> None:
    runner = EmrRunner(cloud_settings(tmp_path, emr_cluster="nobodys"))
    with pytest.raises(SparkJobError, match="no EMR cluster nobodys runs; see WATCHKEEPER_EMR_CLUSTER"):
        runner.submit(job, 1)


def test_the_newest_attempt_of_a_token_is_found(tmp_path: Path, job: SparkJob) -> None:
    for runner in (shared(tmp_path), own(tmp_path)):
        assert runner.find(job) is None
        handles = [runner.submit(job, attempt) for attempt in (1, 2, 10)]
        assert runner.find(job) == handles[-1]
        assert runner.find(SparkJob("etl", job.path, job.name, "etl", "run-2")) is None


def test_the_end_of_a_job_is_the_end_of_its_own_cluster(tmp_path: Path, job: SparkJob) -> None:
    runner = own(tmp_path)
    handle = runner.submit(job, 1)
    assert [tags["run"] for _, tags in runner.living()] == ["run-1"]
    runner.cancel(handle)
    runner.cancel(handle)
    assert list(runner.living()) == []
    assert runner.describe(handle).ended


def test_only_the_step_ends_on_a_shared_cluster(
    tmp_path: Path, job: SparkJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, ended = shared(tmp_path), []
    handle = runner.submit(job, 1)
    monkeypatch.setattr(runner.client, "cancel_steps", lambda **asked: ended.append(asked))
    runner.cancel(handle)
    assert [(asked["ClusterId"], asked["StepIds"]) for asked in ended] == [(handle.where, [handle.id])]
    assert clusters(runner)[0]["Status"]["State"] in ("RUNNING", "WAITING")


def test_a_step_of_a_cluster_that_has_ended_has_ended_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, handle = own(tmp_path), Handle("emr", "s-1", 1, "j-1", owned=True)
    step: dict[str, Any] = {"Status": {"State": "PENDING"}}
    cluster: dict[str, Any] = {"Status": {"State": "BOOTSTRAPPING"}}
    monkeypatch.setattr(runner.client, "describe_step", lambda **_: {"Step": step})
    monkeypatch.setattr(runner.client, "describe_cluster", lambda **_: {"Cluster": cluster})
    assert runner.describe(handle).detail == "the cluster is bootstrapping"
    why = {"Message": "no capacity for Spot"}
    cluster["Status"] = {"State": "TERMINATED_WITH_ERRORS", "StateChangeReason": why}
    found = runner.describe(handle)
    assert (found.phase, found.detail) == ("failed", "no capacity for Spot")
    for state, phase in emr.PHASES.items():
        step["Status"] = {"State": state, "FailureDetails": {"Message": "the step's own word"}}
        cluster["Status"] = {"State": "RUNNING"}
        found = runner.describe(handle)
        assert (found.phase, found.detail) == (phase, "the step's own word")


def test_the_hours_of_a_machine_are_those_within_the_jobs() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def hours(**life: int) -> float:
        at = {name: noon + timedelta(minutes=minutes) for name, minutes in life.items()}
        return hours_of(at, noon, noon + timedelta(hours=2))

    assert hours(CreationDateTime=-60) == 2
    assert hours(CreationDateTime=30, EndDateTime=90) == 1
    assert hours(CreationDateTime=-90, EndDateTime=-30) == 0
    assert hours(CreationDateTime=119) == pytest.approx(1 / 60)


def test_a_cluster_costs_what_its_machines_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text(
        "eu-central-1: {read: 2026-01-01, source: a test, instances: {m5.xlarge: 0.25, m5.xlarge spot: 0.1}}"
    )
    runner, noon = own(tmp_path, emr_prices=prices), datetime(2026, 1, 1, 12, tzinfo=UTC)
    life = {"CreationDateTime": noon, "EndDateTime": noon + timedelta(hours=2)}
    cluster = {"Cluster": {"Status": {"State": "TERMINATED", "Timeline": life}}}
    monkeypatch.setattr(runner.client, "describe_cluster", lambda **_: cluster)
    machines = [
        {"InstanceType": "m5.xlarge", "Market": market, "Status": {"Timeline": life}}
        for market in ("ON_DEMAND", "ON_DEMAND", "SPOT")
    ]

    class Pages:
        def paginate(self, **_: Any) -> list[dict[str, Any]]:
            return [{"Instances": machines[:2]}, {"Instances": machines[2:]}]

    monkeypatch.setattr(runner.client, "get_paginator", lambda _name: Pages())
    cost = runner.cost(Handle("emr", "s-1", 1, "j-1", owned=True))
    assert cost is not None
    assert cost.hours == {"m5.xlarge": 4.0, "m5.xlarge spot": 2.0}
    assert cost.dollars == pytest.approx(4 * 0.25 + 2 * 0.1)
    assert not cost.bound
    assert cost.prices == "eu-central-1, 2026-01-01"
