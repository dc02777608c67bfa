"""The real ETL flow on EMR, both ways: the table in the bucket equals the one that Spark here makes."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from flows.config import CHECKOUT, Settings
from tests.factories import (
    content_hash,
    retail_days,
    run_table,
    settings_of,
    shipped,
    wait_until,
)
from tests.stack.cloud import BUCKET, Cloud, cloud
from tests.stack.emr_server.faults import JobFaults
from tests.stack.emr_server.jars import needs_jars
from tests.stack.programs import needs

TABLE = "online_retail.transactions"
CONTRACT = shipped(TABLE)
pytestmark = [needs("minio"), needs_jars, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud"), speed=120) as made:
        yield made


def run_etl(aws: Cloud, folder: Path, runner: str, source: Path) -> "subprocess.CompletedProcess[str]":
    """`task etl` as a user runs it, with a home of its own."""
    return run_flow(aws, folder, runner, "flows.etl", "--dataset", "online_retail", "--source", str(source))


def run_flow(aws: Cloud, folder: Path, runner: str, *command: str) -> "subprocess.CompletedProcess[str]":
    """A flow's command with that home."""
    return run(folder, aws.environment(folder / "home", runner, folder.name), command)


def run(
    folder: Path, environment: dict[str, str], command: Sequence[str]
) -> "subprocess.CompletedProcess[str]":
    """A command, to its end."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=1500,
    )


def of_drift(done: "subprocess.CompletedProcess[str]") -> tuple[str, dict[str, float]]:
    """A verdict's outcome, and the columns' scores."""
    verdict = json.loads(done.stdout)
    return verdict["outcome"], {name: each["score"] for name, each in verdict["columns"].items()}


def hash_in_store(aws: Cloud, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Content of the table that is in the store."""
    aws.lead_here(monkeypatch, folder / "reader", folder.name)
    return content_hash(settings_of(folder / "reader", store=f"s3://{BUCKET}/{folder.name}"), TABLE)


def hash_here(folder: Path, source: Path) -> str:
    """Content of the table that local Spark makes of the same files."""
    settings: Settings = settings_of(folder / "local")
    run_table(settings, CONTRACT, source)
    return content_hash(settings, TABLE)


def assert_same_table(
    aws: Cloud, folder: Path, runner: str, month: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The promise: equal content, and nothing left behind."""
    aws.forget_tables()
    source = retail_days(folder / "in", month)
    before = len(aws.emr.ledger.entries)
    done = run_etl(aws, folder, runner, source)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [entry] = aws.emr.ledger.entries[before:]
    assert not entry.alive
    wait_until(lambda: aws.emr.live() == [], "the end of what was started", 60)
    tags = dict(entry.tags())
    assert {"project", "owner", "flow", "run"} <= tags.keys()
    assert tags["flow"] == "etl"
    again = run_etl(aws, folder, runner, source)
    assert again.returncode == 0, again.stderr[-3000:]
    assert len(aws.emr.ledger.entries) == before + 1, "nothing new, no job"
    assert hash_in_store(aws, folder, monkeypatch) == hash_here(folder, source)


@pytest.mark.parametrize("runner", ["emr_serverless", "emr"])
def test_a_slice_of_retail_is_the_same_table(
    aws: Cloud, tmp_path: Path, runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / runner.replace("_", "-")
    folder.mkdir()
    assert_same_table(aws, folder, runner, "2010-12-0", monkeypatch)


@pytest.mark.slow
def test_the_whole_of_retail_is_the_same_table(
    aws: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "whole"
    folder.mkdir()
    assert_same_table(aws, folder, "emr_serverless", "201", monkeypatch)
    # Its profiles are made there too, and say the same.
    jobs = len(aws.emr.ledger.entries)
    drift = ["flows.drift", "--dataset", "online_retail", "--table", "transactions", "--format", "json"]
    there = run_flow(aws, folder, "emr_serverless", *drift)
    assert there.returncode == 0, there.stderr[-3000:]
    assert len(aws.emr.ledger.entries) == jobs + 1
    here = run(folder, aws.here(folder / "local"), drift)
    assert here.returncode == 0, here.stderr[-3000:]
    assert of_drift(there) == of_drift(here)


@pytest.mark.parametrize("runner", ["emr_serverless", "emr"])
def test_a_driver_that_fails_is_told_with_its_cause(aws: Cloud, tmp_path: Path, runner: str) -> None:
    aws.forget_tables()
    source = retail_days(tmp_path / "in", "2010-12-01")
    aws.emr.faults.next_job(JobFaults(driver_fails=True))
    done = run_etl(aws, tmp_path, runner, source)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "the driver was told to fail" in said, said[-3000:]
    assert "Traceback" not in done.stderr
    wait_until(lambda: aws.emr.live() == [], "the end of what was started", 60)
