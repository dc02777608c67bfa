"""What makes each alert fire, for real where a machine of CI can: begun before the `yield`, ended after it.

Memory, processor time and a clock that is off enter through a textfile of node-exporter.
"""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil  # type: ignore[import-untyped]
import yaml

from flows.drift import verdicts
from flows.health import probing
from flows.health.probing import Result
from flows.server_record import server_pid
from services.bento.registry import Registry
from services.bento.store import LocalStore
from tests.factories import write_csv
from tests.stack.small_disk import SmallDisk
from tests.stack.watching import HEALTHY, Every, Stack
from tests.versions import IMAGE, image_model, write_version

Begun = Iterator[None]
DAY = 86_400
ITEMS: dict[str, Any] = {
    "description": "Items of a shop.",
    "source": {"pattern": "*.csv", "format": "csv"},
    "columns": {"id": {"type": "int"}, "price": {"type": "int"}, "at": {"type": "timestamp"}},
    "event_time": "at",
    "rules": [{"name": "price_below_zero", "column": "price", "range": {"min": 0}}],
    "table_rules": {"max_age_days": 1, "max_quarantined_ratio": 0.5},
    "duplicates": "drop",
}


def dataset(stack: Stack, name: str) -> None:
    """A contract of one table, `items`."""
    path = stack.contracts / name / "items.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(ITEMS))


def commit(stack: Stack, name: str, good: int, bad: int = 0, days_ago: float = 0) -> None:
    """A file of items into the lake, by the ETL itself."""
    when = f"{datetime.now(UTC) - timedelta(days=days_ago):%Y-%m-%d %H:%M:%S}"
    folder = stack.folder / "sources" / f"{name}-{time.time_ns()}"
    rows = [[time.time_ns() // 1000 % 10**9 + n, 1 if n < good else -1, when] for n in range(good + bad)]
    write_csv(folder / f"{folder.name}.csv", rows, ["id", "price", "at"])
    stack.run("flows.etl", "--dataset", name, "--source", str(folder))


def registry(stack: Stack, model: str) -> Registry:
    """A model of the home."""
    return Registry(LocalStore(stack.settings.registry), model, cache=stack.folder / "cache")


def add(stack: Stack, model: str, version: str, made: Any = None, **fields: Any) -> Registry:
    """A version of it."""
    known = registry(stack, model)
    folder = stack.folder / "versions" / model / version
    known.add(
        write_version(folder, IMAGE, onnx_model=made or image_model(), model=model, version=version, **fields)
    )
    return known


def tell(
    stack: Stack, subject: str, outcome: str, age: float = 0, performance: Any = None, columns: Any = None
) -> None:
    """A verdict of a drift run."""
    when = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    said = {
        "of_now": True,
        "outcome": outcome,
        "when": when,
        "columns": columns or {},
        "performance": performance,
    }
    verdicts.write(verdicts.new_folder(stack.settings, subject), said)


@contextmanager
def stopped(process: psutil.Process) -> Begun:
    """A process that neither answers nor ends, with all below it."""
    family = [*process.children(recursive=True), process]
    for each in family:
        each.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGCONT)


def node(**said: float) -> Callable[[Stack], Begun]:
    """The second host says so."""

    def cause(stack: Stack) -> Begun:
        stack.node.said |= said
        yield
        stack.node.said |= HEALTHY

    return cause


def disk_full(stack: Stack) -> Begun:
    """A file takes all but a fiftieth of the second host's disk."""
    stack.disk.fill(0.02)
    yield
    stack.disk.empty()


def disk_filling(stack: Stack) -> Begun:
    """A file takes two thirds of it, and goes on."""
    stack.disk.fill(0.35)
    with Growing(stack.disk):
        yield
    stack.disk.empty()


class Growing(Every):
    """A file that takes 32 kB a second more."""

    def __init__(self, disk: SmallDisk) -> None:
        super().__init__(1.0)
        self._disk = disk

    def step(self) -> None:
        """A second has passed."""
        self._disk.grow(2**15)


def deployment(stack: Stack, name: str, **more: Any) -> tuple[str, str]:
    """Ids of a flow of that name and of its deployment, on the real server."""
    flow = stack.prefect("POST", "/flows/", name=name)["id"]
    made = stack.prefect("POST", "/deployments/", name=name, flow_id=flow, **more)["id"]
    return flow, made


def run_of(stack: Stack, made: str, state: str) -> str:
    """A run of a deployment, brought into a state."""
    run = str(stack.prefect("POST", f"/deployments/{made}/create_flow_run")["id"])
    if state != "SCHEDULED":
        stack.prefect("POST", f"/flow_runs/{run}/set_state", state={"type": state}, force=True)
    return run


def flow_failed(stack: Stack) -> Begun:
    """A run that failed, then one that did not."""
    _, made = deployment(stack, "broken")
    run_of(stack, made, "FAILED")
    yield
    run_of(stack, made, "COMPLETED")


def flow_late(stack: Stack) -> Begun:
    """A run that no worker takes: it is of no pool."""
    _, made = deployment(stack, "waiting")
    run = run_of(stack, made, "SCHEDULED")
    yield
    stack.prefect("POST", f"/flow_runs/{run}/set_state", state={"type": "CANCELLED"}, force=True)


def flow_stuck(stack: Stack) -> Begun:
    """A run that began an hour ago: Prefect's clock cannot be moved, its database can."""
    _, made = deployment(stack, "endless")
    run = run_of(stack, made, "RUNNING")
    began = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%d %H:%M:%S.%f}"
    with sqlite3.connect(stack.settings.prefect / "prefect.db", timeout=30) as database:
        database.execute("UPDATE flow_run SET start_time = ? WHERE id = ?", (began, run))
    yield
    stack.prefect("POST", f"/flow_runs/{run}/set_state", state={"type": "COMPLETED"}, force=True)


def flow_not_scheduled(stack: Stack) -> Begun:
    """A schedule that is on and has no days left."""
    rule = "DTSTART:20200101T000000Z\nRRULE:FREQ=DAILY;UNTIL=20200105T000000Z"
    schedule = {"schedule": {"rrule": rule, "timezone": "UTC"}, "active": True}
    _, made = deployment(stack, "ended", schedules=[schedule])
    yield
    stack.prefect("DELETE", f"/deployments/{made}")


def prefect_down(stack: Stack) -> Begun:
    """The server hangs."""
    with stopped(psutil.Process(server_pid(stack.settings))):
        yield


def table_stale(stack: Stack) -> Begun:
    """Rows of three days ago; then of today."""
    commit(stack, "old", 5, days_ago=3)
    yield
    commit(stack, "old", 5)


def table_rows(stack: Stack) -> Begun:
    """Ten times the usual rows, a tenth of them bad; then the usual, good ones."""
    commit(stack, "shop", 400, 50)
    yield
    commit(stack, "shop", 40)


def landing_backlog(stack: Stack) -> Begun:
    """A file that has been waiting since this morning."""
    path = write_csv(
        stack.settings.landing / "shop" / "late.csv", [[1, 1, "2026-01-01"]], ["id", "price", "at"]
    )
    then = time.time() - 8 * 3600
    os.utime(path, (then, then))
    yield
    path.unlink()


def table_orphans(stack: Stack) -> Begun:
    """What a run that was killed last week had written; then maintenance."""
    path = stack.settings.home / "lake" / "old" / "items" / "data" / "killed" / "part-0.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    then = time.time() - 7 * DAY
    os.utime(path, (then, then))
    yield
    stack.run("flows.etl.maintain_command")
    assert not path.exists()


def no_champion(stack: Stack) -> Begun:
    """A version, and nobody promoted it."""
    lonely = add(stack, "lonely", "one")
    yield
    lonely.promote("one", None)


def champion_old(stack: Stack) -> Begun:
    """A champion of last spring, after which three were refused; then a new one."""
    aged = add(stack, "aged", "old", created=datetime.now(UTC) - timedelta(days=120))
    aged.promote("old", None)
    for _ in range(3):
        aged.append("rejected", "old")
    yield
    add(stack, "aged", "new").promote("new", "old")


def drift_of(subject: str, outcome: str, age: float = 0) -> Callable[[Stack], Begun]:
    """A verdict, and one that says none."""

    def cause(stack: Stack) -> Begun:
        tell(stack, subject, outcome, age)
        yield
        tell(stack, subject, "none")

    return cause


def live_score(stack: Stack) -> Begun:
    """Labels say that the champion is right half as often as it was."""
    add(stack, "tired", "one", metrics={"validation_macro_f1": 0.8}).promote("one", None)
    now = {"labels": 500, "macro_f1": 0.4, "low": 0.35, "high": 0.45, "estimated": None, "trusted": False}
    tell(stack, "model.tired", "none", performance=now)
    yield
    tell(stack, "model.tired", "none", performance={**now, "macro_f1": 0.8, "low": 0.75, "high": 0.85})


def worker_gone(stack: Stack) -> Begun:
    """The worker hangs."""
    (worker,) = [each for each in stack.processes("worker", "start") if each.ppid() == stack.pid]
    with stopped(worker):
        yield


def target_gone(stack: Stack) -> Begun:
    """The second host's exporter hangs."""
    with stopped(psutil.Process(stack.second_process.pid)):
        yield


def target_missing(stack: Stack) -> Begun:
    """Somebody emptied a target file."""
    path = stack.settings.run / "watch" / "targets" / "statsd.yml"
    said = path.read_text()
    path.write_text("[]")
    yield
    path.write_text(said)


def collector_failing(stack: Stack) -> Begun:
    """A contract that is none."""
    path = stack.contracts / "shop" / "wrong.yaml"
    path.write_text("columns: none")
    yield
    path.unlink()


def probe_failing(stack: Stack) -> Begun:
    """A file is where the staging folder was, and the health flow runs as it is deployed; then once more."""
    staging = stack.settings.home / "staging"
    aside = staging.rename(staging.with_name(".staging"))
    staging.touch()
    ask_health(stack)
    yield
    staging.unlink()
    aside.rename(staging)
    ask_health(stack)


def ask_health(stack: Stack) -> None:
    """A run of its deployment, by the worker, to its end."""
    made = stack.prefect("GET", "/deployments/name/health/health")["id"]
    run = stack.prefect("POST", f"/deployments/{made}/create_flow_run")["id"]
    stack.until(
        lambda: stack.prefect("GET", f"/flow_runs/{run}")["state_type"] == "COMPLETED", "the probes", 180
    )


def health_stale(stack: Stack) -> Begun:
    """Its schedule is on, and what it found is two hours old."""
    found = [Result("store", "good", 0.1, "")]
    probing.write(stack.settings, found, time.time() - 7200)
    flow = stack.prefect("POST", "/flows/", name="health")["id"]
    nightly = {"schedule": {"cron": "0 3 * * *", "timezone": "UTC"}, "active": True}
    stack.prefect("POST", "/deployments/", name="health-nightly", flow_id=flow, schedules=[nightly])
    yield
    probing.write(stack.settings, found, time.time())


def rules_failing(stack: Stack) -> Begun:
    """Another target says the same of a model: a rule would match one score with two."""
    path = stack.textfiles / "twin.prom"
    path.write_text('watchkeeper_champion_score_ratio{model="tired"} 0.8\n')
    yield
    path.unlink()


def notifications_failing(stack: Stack) -> Begun:
    """Alertmanager hangs, for as long as Prometheus takes to notice; it is told when it is back."""
    (alertmanager,) = stack.processes("alertmanager.yml")
    with stopped(alertmanager):
        stack.until(
            lambda: stack.holds("prometheus_notifications_errors_total > 0"), "Prometheus to notice", 120
        )
    yield
