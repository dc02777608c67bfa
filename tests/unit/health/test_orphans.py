"""Orphans: what lives on AWS and not in Prefect; nothing is ended while Prefect is silent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl.runners.base import Handle, SparkJob, SparkJobError
from flows.etl.runners.records import Record, Records
from flows.health import orphans
from flows.health.orphans import Orphan, Orphans, ended, find_orphans, used
from tests.factories import settings_of


class Cloud:
    """A runner with these living jobs."""

    name = "emr"

    def __init__(self, **runs: str) -> None:
        self.jobs = {job: Handle("emr", job, where="j-1") for job in runs}
        self.runs, self.cancelled = runs, list[str]()
        self.refuses = False

    def living(self) -> Iterator[tuple[Handle, dict[str, str]]]:
        for job, run in self.runs.items():
            yield self.jobs[job], {"project": "watchkeeper", "run": run, "flow": "etl"}

    def cancel(self, handle: Handle) -> None:
        if self.refuses:
            raise SparkJobError("not allowed; the caller needs the permission for CancelSteps")
        self.cancelled.append(handle.id)


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Flow runs of a server, by their state; it is asked over its own API's words."""
    states: dict[str, str] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        import json

        if "down" in states:
            return httpx.Response(503)
        asked = json.loads(request.content)["flow_runs"]
        found = [
            {"id": run, "state_type": state} for run, state in states.items() if run in asked["id"]["any_"]
        ]
        return httpx.Response(200, json=found)

    real = httpx.Client

    def client(**given: Any) -> httpx.Client:
        return real(**given, transport=httpx.MockTransport(answer))

    monkeypatch.setattr(orphans.httpx, "Client", client)  # type: ignore[attr-defined]
    return states


def shared(tmp_path: Path) -> Settings:
    return settings_of(tmp_path, prefect_api_url="http://prefect/api")


def test_a_job_is_an_orphan_when_its_flow_run_will_not_go_on(tmp_path: Path, prefect: dict[str, str]) -> None:
    prefect |= {"run-1": "RUNNING", "run-2": "COMPLETED", "run-3": "CRASHED", "run-4": "SCHEDULED"}
    prefect |= {"run-5": "CANCELLED", "run-6": "PAUSED", "run-7": "PENDING"}
    runs = {f"job-{n}": f"run-{n}" for n in range(1, 8)}
    found = find_orphans(shared(tmp_path), [Cloud(**runs)])  # type: ignore[list-item]
    assert [(orphan.handle.id, orphan.fate) for orphan in found] == [
        ("job-2", "left"),
        ("job-3", "left"),
        ("job-5", "left"),
    ]


def test_what_another_prefect_server_may_wait_for_is_told_and_not_ended(
    tmp_path: Path, prefect: dict[str, str]
) -> None:
    settings = shared(tmp_path)
    cloud = Cloud(theirs="run-1", alone="none", ours="none")
    (tmp_path / "job.json").write_text("{}")
    job = SparkJob("etl", tmp_path / "job.json", "shop.sales etl")
    record = Record.of(job, "emr", 1, cloud.jobs["ours"], "running")
    Records(settings.jobs / "records").write(job.key, record)
    found = {orphan.handle.id: orphan.fate for orphan in find_orphans(settings, [cloud])}  # type: ignore[list-item]
    assert found == {"theirs": orphans.FOREIGN, "alone": orphans.FOREIGN, "ours": "left"}


def test_nothing_is_an_orphan_while_prefect_does_not_answer(tmp_path: Path, prefect: dict[str, str]) -> None:
    prefect["down"] = ""
    cloud = Cloud(job="run-1")
    with pytest.raises(WatchkeeperError, match="nothing was ended"):
        find_orphans(shared(tmp_path), [cloud])  # type: ignore[list-item]
    with pytest.raises(WatchkeeperError, match="task server"):
        find_orphans(settings_of(tmp_path), [cloud])  # type: ignore[list-item]
    assert find_orphans(settings_of(tmp_path), [Cloud()]) == []  # type: ignore[list-item]


def test_an_end_that_is_refused_is_told(tmp_path: Path) -> None:
    cloud = Cloud(job="run-1")
    orphan = Orphan(cloud.jobs["job"], {"run": "run-1", "flow": "etl"})
    assert ended({"emr": cloud}, orphan).fate == "ended"  # type: ignore[dict-item]
    assert cloud.cancelled == ["job"]
    cloud.refuses = True
    assert "CancelSteps" in ended({"emr": cloud}, orphan).row["fate"]  # type: ignore[dict-item]
    assert Orphans([orphan]).figures() == {"job": "left"}


def test_only_services_that_were_ever_given_a_job_are_asked(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert used(settings) == []
    assert used(settings_of(tmp_path, runner="emr")) == ["emr"]
    (tmp_path / "job.json").write_text("{}")
    job = SparkJob("etl", tmp_path / "job.json", "shop.sales etl", "etl", "run-1")
    Records(settings.jobs / "records").write(job.key, Record.of(job, "emr_serverless", 1, None, "pending"))
    assert used(settings) == ["emr_serverless"]
