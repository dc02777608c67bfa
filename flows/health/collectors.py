"""What the exporter says of runs, of the probes and of this machine: Prefect's API, a file, and the disk."""

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import httpx

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.health import probing
from flows.prefect_env import authorization
from flows.server import running_server
from observability.exporter import Sample
from observability.metrics import (
    ENDED,
    HOME_FREE,
    LATE_RUNS,
    PROBE_SECONDS,
    PROBE_TIME,
    PROBE_UP,
    RUN_SECONDS,
    RUN_STATE,
    RUN_TIME,
    RUNNING_SINCE,
    SCHEDULED_RUNS,
    SUCCESS_SECONDS,
    SUCCESS_TIME,
    WORKER_TIME,
)

OVER = [name.upper() for name in ENDED]
GOING = ["SCHEDULED", "PENDING", "RUNNING"]
PAGE = 200
"""Prefect gives no more at once."""
Run = dict[str, Any]
Key = tuple[str, str | None]
"""Ids of a flow and of its deployment."""


def disk(settings: Settings) -> Iterator[Sample]:
    """What is left for the home."""
    yield HOME_FREE, {}, shutil.disk_usage(settings.home).free


def probes(settings: Settings) -> Iterator[Sample]:
    """What the newest run of the health flow found; what it skipped is neither good nor bad.

    Raises:
        WatchkeeperError: it was kept by somebody else.
    """
    known = probing.read(settings)
    if known is None:
        return
    when, results = known
    yield PROBE_TIME, {}, when
    for each in results:
        if each.outcome != "skipped":
            yield PROBE_UP, {"probe": each.probe}, float(each.outcome == "good")
            yield PROBE_SECONDS, {"probe": each.probe}, each.seconds


class Runs:
    """The runs of Prefect's server: of those that have ended only what is new, the others each time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._last: dict[Key, Run] = {}
        self._success: dict[Key, Run] = {}
        self._seen = ""

    def collect(self) -> Iterator[Sample]:
        """Of each flow and deployment its runs, and of each pool its workers.

        Raises:
            WatchkeeperError: no server runs, or it refuses to tell.
            httpx.HTTPError: it does not answer.
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
            for run in self._ended_since(ask) if self._seen else newest_ended(ask, deployments, names):
                self._take(run)
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

    def _ended_since(self, ask: "Asking") -> list[Run]:
        """What has ended since the last time."""
        asked = {"state": {"type": {"any_": OVER}}, "end_time": {"after_": self._seen}}
        return ask.all("/flow_runs/filter", sort="END_TIME_DESC", flow_runs=asked)

    def _take(self, run: Run) -> None:
        """Remember the newest."""
        key, when = key_of(run), timestamp(run["end_time"])
        for held in (self._last, self._success) if run["state_type"] == "COMPLETED" else (self._last,):
            if key not in held or timestamp(held[key]["end_time"]) <= when:
                held[key] = run
        self._seen = max(self._seen, run["end_time"])


class Asking:
    """Questions of which Prefect answers a page at a time."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def all(self, path: str, **body: Any) -> list[Run]:  # noqa: ANN401
        """Every page."""
        found: list[Run] = []
        while True:
            page = self._ask(path, body | {"limit": PAGE, "offset": len(found)})
            found += page
            if len(page) < PAGE:
                return found

    def newest(self, runs: dict[str, Any], **body: Any) -> list[Run]:  # noqa: ANN401
        """A page of runs, those that ended last first."""
        asked = {"sort": "END_TIME_DESC", "limit": PAGE, "flow_runs": runs, **body}
        return self._ask("/flow_runs/filter", asked)

    def _ask(self, path: str, body: dict[str, Any]) -> list[Run]:
        answer = self._client.post(path, json=body)
        if not answer.is_success:  # httpx's own text has the whole address, which may hold a password
            raise WatchkeeperError(f"the Prefect server answers {answer.status_code} to {path}")
        return list(answer.json())


def newest_ended(ask: Asking, deployments: Iterable[str], flows: Iterable[str]) -> Iterator[Run]:
    """Of each deployment, and of each flow's commands, the last run that ended and the last that completed.

    Not every run is read for that: what a page tells of is left out of the next question.
    """
    for states in (OVER, ["COMPLETED"]):
        yield from newest_in(ask, states, deployments, flows)


def newest_in(
    ask: Asking, states: list[str], deployments: Iterable[str], flows: Iterable[str]
) -> Iterator[Run]:
    """Of each the last run that ended in one of these states."""
    over = {"state": {"type": {"any_": states}}, "end_time": {"is_null_": False}}
    commands = {**over, "deployment_id": {"is_null_": True}}
    yield from first_of_each(
        "deployment_id", deployments, lambda left: ask.newest({**over, "deployment_id": {"any_": left}})
    )
    yield from first_of_each(
        "flow_id", flows, lambda left: ask.newest(commands, flows={"id": {"any_": left}})
    )


def first_of_each(field: str, ids: Iterable[str], ask: Callable[[list[str]], list[Run]]) -> Iterator[Run]:
    """The first run with each of these ids, as far as there is one; asks again without those that it has."""
    left = set(ids)
    while left:
        page = ask(sorted(left))
        for run in page:
            if run[field] in left:
                left.remove(run[field])
                yield run
        if len(page) < PAGE:
            return


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
