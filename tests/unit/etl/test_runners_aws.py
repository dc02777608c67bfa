"""What AWS refuses is told as what to mend; programs go up once; logs are read; money is counted."""

import gzip
import io
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    TokenRetrievalError,
)
from moto import mock_aws

from flows.errors import WatchkeeperError
from flows.etl.runners.artifact import artifact, content_hash, zipped
from flows.etl.runners.aws import Aws, GoneError, bucket_and_key, told
from flows.etl.runners.base import Cost, Handle, SparkJobError, UnansweredError
from flows.etl.runners.budget import Spending, spent
from flows.etl.runners.prices import cost_of, load_prices, prices_in
from flows.etl.runners.s3_logs import driver, executors, tail
from tests.factories import settings_of

REGION = "eu-central-1"
ROLE = "arn:aws:iam::123456789012:role/jobs"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS in this process, with a bucket."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        Aws(cloud_settings(Path())).s3.create_bucket(
            Bucket="store", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        yield


def cloud_settings(home: Path, **more: Any) -> Any:
    return settings_of(home, aws_region=REGION, emr_store="s3://store/wk", emr_serverless_role=ROLE, **more)


def client_error(code: str, message: str = "", status: int = 400) -> ClientError:
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "StartJobRun")


REFUSALS: dict[str, tuple[Exception, type[SparkJobError], str]] = {
    "a permission that AWS names": (
        client_error(
            "AccessDeniedException",
            "User: x is not authorized to perform: iam:PassRole on resource: arn:aws:iam::1:role/r",
        ),
        SparkJobError,
        "not allowed; the caller needs the permission iam:PassRole on arn:aws:iam::1:role/r",
    ),
    "a permission that it does not name": (
        client_error("AccessDenied"),
        SparkJobError,
        "the caller needs the permission for StartJobRun",
    ),
    "credentials that have expired": (
        client_error("ExpiredTokenException"),
        SparkJobError,
        "the AWS credentials have expired; refresh them; a job that ran goes on",
    ),
    "a login that has expired": (
        TokenRetrievalError(provider="sso", error_msg="x"),
        SparkJobError,
        "have expired",
    ),
    "credentials of nobody": (client_error("UnrecognizedClientException"), SparkJobError, "AWS_PROFILE"),
    "no credentials": (NoCredentialsError(), SparkJobError, "no AWS credentials"),
    "a profile that is not there": (ProfileNotFound(profile="nope"), SparkJobError, "AWS_PROFILE"),
    "a role that cannot be taken": (
        client_error("ValidationException", "Execution role arn:… is invalid"),
        SparkJobError,
        "see WATCHKEEPER_EMR_SERVERLESS_ROLE",
    ),
    "a quota": (
        client_error("ServiceQuotaExceededException", "vCPUs"),
        SparkJobError,
        "a quota of the AWS account is reached (vCPUs)",
    ),
    "a quota, by its text": (
        client_error("ValidationException", "Resource limit exceeded for maximum capacity"),
        SparkJobError,
        "a quota of the AWS account is reached",
    ),
    "a bucket that is not there": (
        client_error("NoSuchBucket", status=404),
        SparkJobError,
        "the bucket does not exist; see WATCHKEEPER_EMR_STORE",
    ),
    "a thing that is not there": (client_error("ResourceNotFoundException", "gone"), GoneError, "gone"),
    "a cluster that is not there": (
        client_error("InvalidRequestException", "Cluster id 'j-1' is not valid."),
        GoneError,
        "is not valid",
    ),
    "throttling": (client_error("ThrottlingException"), UnansweredError, "busy"),
    "a service that is out of order": (client_error("Whatever", status=503), UnansweredError, "busy"),
    "no way to the region": (
        EndpointConnectionError(endpoint_url="https://emr.nowhere-1"),
        UnansweredError,
        "WATCHKEEPER_AWS_REGION",
    ),
    "an answer that was lost": (
        ReadTimeoutError(endpoint_url="https://emr"),
        UnansweredError,
        "Read timeout",
    ),
}


@pytest.mark.parametrize(("error", "kind", "said"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_names_what_to_mend(error: Exception, kind: type[SparkJobError], said: str) -> None:
    with pytest.raises(SparkJobError) as refused, told("starting the job", role="emr_serverless_role"):
        raise error
    assert type(refused.value) is kind
    assert str(refused.value).startswith("starting the job: ")
    assert said in str(refused.value)


def test_no_store_and_no_region_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SparkJobError, match="WATCHKEEPER_EMR_STORE"):
        Aws(settings_of(tmp_path)).store()
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SparkJobError, match="no region; set WATCHKEEPER_AWS_REGION"):
        Aws(settings_of(tmp_path)).client("emr")


def test_the_programs_are_the_same_bytes_each_time_and_hold_what_they_import() -> None:
    first = zipped()
    zipped.cache_clear()
    assert zipped() == first
    names = zipfile.ZipFile(io.BytesIO(first)).namelist()
    assert {"transform.py", "spark_job.py", "flows/score/classify.py", "services/bento/predictor.py"} <= set(
        names
    )
    assert len(set(names)) == len(names)
    assert not [name for name in names if "config" in name and name.startswith("flows")]
    assert content_hash({"a": b"1"}) != content_hash({"a": b"2"}) != content_hash({"b": b"2"})


def test_the_programs_are_uploaded_once(cloud: None, tmp_path: Path) -> None:
    aws = Aws(cloud_settings(tmp_path))
    made = artifact(aws)
    assert artifact(aws) == made
    for location in (*made.entry_points.values(), *made.py_files):
        bucket, key = bucket_and_key(location)
        assert aws.s3.list_object_versions(Bucket=bucket, Prefix=key)["Versions"][0]["IsLatest"]
    keys = [item["Key"] for item in aws.s3.list_objects_v2(Bucket="store")["Contents"]]
    assert len(keys) == 4
    assert len({key.split("/")[2] for key in keys}) == 1
    # Python looks beside a program first: `profile.py` there would be found in the place of its own.
    assert not {Path(key).stem for key in keys} & sys.stdlib_module_names
    assert made.archives == ()
    packed = artifact(Aws(cloud_settings(tmp_path, emr_archive="s3://store/env.tar.gz")))
    assert packed.archives == ("s3://store/env.tar.gz#environment",)


def test_a_bucket_that_is_missing_is_told_before_anything_is_created(cloud: None, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, aws_region=REGION, emr_store="s3://nowhere/wk")
    with pytest.raises(SparkJobError, match="the bucket does not exist; see WATCHKEEPER_EMR_STORE"):
        artifact(Aws(settings))


def test_a_logs_end_is_read_whatever_its_size_and_parts(cloud: None, tmp_path: Path) -> None:
    aws = Aws(cloud_settings(tmp_path))
    lines = "".join(f"line {number}\n" for number in range(5000)).encode()
    body = gzip.compress(lines[:40_000]) + gzip.compress(lines[40_000:] + b"the end")
    aws.s3.put_object(Bucket="store", Key="log/stderr.gz", Body=body)
    assert tail(aws, "s3://store/log/stderr.gz", 3) == ["line 4998", "line 4999", "the end"]
    assert tail(aws, "s3://store/log/none.gz") is None
    aws.s3.put_object(Bucket="store", Key="d/stderr.gz", Body=gzip.compress(b"INFO Spark says"))
    assert driver(aws, "s3://store/d") == ["INFO Spark says"]
    words = gzip.compress(b"progress 1 2\nTraceback\nValueError: the cause\n")
    aws.s3.put_object(Bucket="store", Key="d/stdout.gz", Body=words)
    assert driver(aws, "s3://store/d") == ["INFO Spark says", "Traceback", "ValueError: the cause"]
    for number in range(5):
        content = gzip.compress(f"executor {number}".encode())
        aws.s3.put_object(Bucket="store", Key=f"x/{number}/stderr.gz", Body=content)
        aws.s3.put_object(Bucket="store", Key=f"x/{number}/stdout.gz", Body=content)
    said = executors(aws, "s3://store/x/")
    assert len(said) == 6
    assert said[0].startswith("--- x/")


def test_hours_become_dollars_by_the_table(tmp_path: Path) -> None:
    table = load_prices(settings_of(tmp_path).emr_prices)
    assert {"us-east-1", "eu-central-1"} <= table.keys()
    prices = prices_in("us-east-1", settings_of(tmp_path).emr_prices, "serverless")
    cost = cost_of({"vcpu": 2.0, "memory_gb": 10.0, "storage_gb": 0.0}, prices)
    assert cost.dollars == pytest.approx(2 * 0.052624 + 10 * 0.0057785)
    assert cost.hours == {"vcpu": 2.0, "memory_gb": 10.0}
    assert cost.prices == f"us-east-1, {table['us-east-1'].read}"
    nowhere = prices_in("mars-1", settings_of(tmp_path).emr_prices, "instances")
    assert cost_of({"p5.48xlarge": 1.0}, nowhere).dollars is None
    assert cost_of({}, nowhere).dollars == 0
    # Spot costs at most what the same machine costs on demand.
    machines = prices_in("us-east-1", settings_of(tmp_path).emr_prices, "instances")
    spot = cost_of({"m5.xlarge": 1.0, "m5.xlarge spot": 2.0}, machines)
    assert spot.dollars == pytest.approx(3 * 0.24)
    assert spot.bound
    assert not cost_of({"m5.xlarge": 1.0}, machines).bound
    assert cost_of({"m5.xlarge": 1.0, "p5.48xlarge spot": 1.0}, machines).missing == ("p5.48xlarge spot",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "us-east-1: {read: 2026-01-01, source: x, serverless: {vcpu: much}}",
            "us-east-1: .*serverless|serverless",
        ),
        ("- 1", "no prices"),
        ("us-east-1: {source: x}", "read"),
        (None, "no prices"),
    ],
)
def test_prices_that_are_none_name_the_file_and_the_setting(
    tmp_path: Path, text: str | None, said: str
) -> None:
    file = tmp_path / "prices.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(WatchkeeperError, match=said) as refused:
        load_prices(file)
    assert str(file) in str(refused.value)
    assert "WATCHKEEPER_EMR_PRICES" in str(refused.value)


def test_what_jobs_cost_is_kept_by_day_and_once_a_job(tmp_path: Path) -> None:
    spending, now = Spending(tmp_path / "spent"), datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert spending.sums("run-1", now) == (0, 0)
    for _ in range(2):
        spending.add(Handle("emr", "s-1", where="j-1"), "run-1", Cost({"vcpu": 1}, 1.5), now)
    spending.add(Handle("emr", "s-2", where="j-1"), "run-2", Cost({"vcpu": 1}, 2.0), now)
    spending.add(Handle("emr", "s-3", where="j-1"), "run-1", Cost({"vcpu": 1}, 4.0), now - timedelta(days=1))
    spending.add(Handle("emr", "s-4", where="j-1"), "run-1", Cost({"vcpu": 1}), now)
    assert spending.sums("run-1", now) == (5.5, 3.5)


def test_a_budget_is_spent_when_it_is_reached(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, budget_run_dollars=1, budget_day_dollars=10)
    assert spent(settings, 0.99, 9.99) is None
    said = spent(settings, 1, 9.99)
    assert said == (
        "the Spark jobs of this flow run cost 1.00 dollars, of 1.00 that "
        "WATCHKEEPER_BUDGET_RUN_DOLLARS allows"
    )
    assert "today cost 10.00" in (spent(settings, 0.5, 10) or "")
    assert spent(settings_of(tmp_path), 1e6, 1e6) is None
