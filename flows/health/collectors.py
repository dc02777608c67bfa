"""What the exporter says of runs and of this machine: Prefect's API, and the disk."""

import shutil
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.prefect_env import authorization
from flows.server import running_server
from observability.exporter import Sample
from observability.metrics import (
    ENDED,
    HOME_FREE,
    LATE_RUNS,
    RUN_SECONDS,
    RUN_STATE,
    RUN_TIME,
    RUNNING_SINCE,
    SCHEDULED_RUNS,
    SUCCESS_SECONDS,
    SUCCESS_TIME,
    WORKER_TIME,
)

GOING = ["SCHEDULED", "PENDING", "RUNNING"]
PAGE = 200
"""Prefect gives no more at once."""
Run = dict[str, Any]
Key = tuple[str, str | None]
"""Ids of a flow and of its deployment."""


def disk(settings: Settings) -> Iterator[Sample]:
    """What is left for the home."""
    yield HOME_FREE, {}, shutil.disk_usage(settings.home).free


class Runs:
    """The runs of Prefect's server: those that have ended are asked for once, the others each time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._last: dict[Key, Run] = {}
        self._success: dict[Key, Run] = {}
        self._seen = ""

    def collect(self) -> Iterator[Sample]:
        """Of each flow and deployment its runs, and of each pool its workers.

        Raises:
            WatchkeeperError: no server runs.
            httpx.HTTPError: it does not answer as it should.
        """
        url = self._settings.prefect_api_url or running_server(self._settings)
        if url is None:
            raise WatchkeeperError("no Prefect server runs; `task server` starts one")
        with httpx.Client(
            base_url=url, headers=authorization(self._settings), timeout=10, trust_env=False
        ) as client:
            ask = Asking(client)
            names = {flow["id"]: flow["name"] for flow in ask.all("/flows/filter")}
            deployments = {each["id"]: each for each in ask.all("/deployments/filter")}
            self._catch_up(ask)
            going: dict[Key, list[Run]] = defaultdict(list)
            for run in ask.all("/flow_runs/filter", flow_runs={"state": {"type": {"any_": GOING}}}):
                going[key_of(run)].append(run)
            pools = ask.all("/work_pools/filter")
            workers = {pool["name"]: ask.all(f"/work_pools/{pool['name']}/workers/filter") for pool in pools}

        def label(key: Key) -> dict[str, str]:
            flow, deployment = key
            known = deployments.get(deployment or "", {"name": "none"})
            return {"flow": names.get(flow, "none"), "deployment": known["name"]}

        alive = {key for key in self._last if key[1] is None or key[1] in deployments}
        for key in sorted(alive, key=str):
            yield from ended(label(key), self._last[key], self._success.get(key))
        for deployment in deployments.values():
            key = (deployment["flow_id"], deployment["id"])
            yield from going_on(label(key), deployment, going[key])
        for pool, found in workers.items():
            beats = [timestamp(worker["last_heartbeat_time"]) for worker in found]
            if beats:
                yield WORKER_TIME, {"pool": pool}, max(beats)

    def _catch_up(self, ask: "Asking") -> None:
        """Take in what has ended since the last time, oldest first."""
        asked: dict[str, Any] = {"state": {"type": {"any_": [name.upper() for name in ENDED]}}}
        if self._seen:
            asked["end_time"] = {"after_": self._seen}
        for run in ask.all("/flow_runs/filter", sort="END_TIME_DESC", flow_runs=asked)[::-1]:
            if run["end_time"] is None:
                continue
            self._last[key_of(run)] = run
            if run["state_type"] == "COMPLETED":
                self._success[key_of(run)] = run
            self._seen = max(self._seen, run["end_time"])


class Asking:
    """Questions of which Prefect answers a page at a time."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def all(self, path: str, **body: Any) -> list[Run]:  # noqa: ANN401
        """Every page."""
        found: list[Run] = []
        while True:
            answer = self._client.post(path, json=body | {"limit": PAGE, "offset": len(found)})
            answer.raise_for_status()
            page = answer.json()
            found += page
            if len(page) < PAGE:
                return found


def key_of(run: Run) -> Key:
    """Of which flow and deployment it is."""
    return run["flow_id"], run["deployment_id"]


def timestamp(text: str) -> float:
    """Seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def ended(label: dict[str, str], last: Run, success: Run | None) -> Iterator[Sample]:
    """What has ended."""
    for outcome in ENDED:
        yield RUN_STATE, {**label, "outcome": outcome}, float(last["state_type"].lower() == outcome)
    yield RUN_TIME, label, timestamp(last["end_time"])
    yield RUN_SECONDS, label, last["total_run_time"]
    if success:
        yield SUCCESS_TIME, label, timestamp(success["end_time"])
        yield SUCCESS_SECONDS, label, success["total_run_time"]


def going_on(label: dict[str, str], deployment: Run, runs: list[Run]) -> Iterator[Sample]:
    """What runs, is late or is to come."""
    began = [timestamp(run["start_time"]) for run in runs if run["state_type"] == "RUNNING"]
    if began:
        yield RUNNING_SINCE, label, min(began)
    yield LATE_RUNS, label, sum(run["state_name"] == "Late" for run in runs)
    if any(schedule["active"] for schedule in deployment["schedules"]) and not deployment["paused"]:
        yield SCHEDULED_RUNS, label, sum(run["state_name"] == "Scheduled" for run in runs)
