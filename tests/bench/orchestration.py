"""`task bench:orchestration`: what our wrapper adds to a Prefect flow, and how late first tasks start.

The wrapper: the same tasks in a bare flow and in one of ours (hooks, metrics, events for the relay, a table
artifact, an event), in turn in one process against one server; nobody listens to StatsD or the relay. Tasks
wait, so that what else the machine does hardly counts; a real run, with Spark, waits longer, so the ratio
here is an upper bound of its own. Medians of ratios.

Lateness: deployments as `task deploy` makes them and a worker as `task worker` starts it, which had work
before. From the time that a run is due to the start of its first task: for runs that were scheduled, and for
runs that a person or an event starts at once, which no worker can prepare.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flows.config import Settings
from flows.errors import run_command
from flows.session import session
from tests.bench.serving.setting import Figure
from tests.checkout import Checkout
from tests.factories import settings_of, wait_until

STEPS = ("land", "spark", "verdict", "commit", "report", "compact", "expire", "sweep")
TABLE = {"dataset": "hm", "table": "articles"}
AHEAD_SECONDS = 60
"""How long before its time a run is scheduled; a server plans days ahead."""
APART_SECONDS = 20
"""Between two runs: none is to wait for another."""
DEPLOYMENTS = ("etl-hm", "etl-online-retail", "etl-garments", "etl-serving")

FLOW = """
from prefect import flow
from flows.step import run_step
from flows.watched import watched
from observability.metrics import ETL_STEP_SECONDS

@watched
@flow(name="etl", persist_result=False)
def etl(dataset: str, source: str | None = None) -> None:
    run_step(dataset, "land", lambda _: None, ETL_STEP_SECONDS, dataset=dataset, table="all")
"""


def contenders(seconds: float) -> dict[str, Callable[[], None]]:
    """The bare flow and ours, each with tasks that wait so long."""
    from prefect import flow, task
    from prefect.artifacts import create_table_artifact
    from prefect.cache_policies import NO_CACHE
    from prefect.events import emit_event

    from flows.step import run_step
    from flows.watched import watched
    from observability.metrics import ETL_STEP_SECONDS

    @task(cache_policy=NO_CACHE, persist_result=False)
    def wait() -> None:
        time.sleep(seconds)

    @flow(name="bare", persist_result=False)
    def bare() -> None:
        for _ in STEPS:
            wait()

    @watched
    @flow(name="ours", persist_result=False)
    def ours() -> None:
        for name in STEPS:
            run_step("hm.articles", name, lambda _: time.sleep(seconds), ETL_STEP_SECONDS, **TABLE)
        create_table_artifact(key="bench", table=[{"fact": n, "value": n} for n in range(12)])
        emit_event(event="watchkeeper.lake.committed", resource={"prefect.resource.id": "watchkeeper.bench"})

    return {"bare": bare, "ours": ours}


def wrapper(settings: Settings, seconds: float, rounds: int) -> dict[str, float]:
    """Median ratio of ours to bare, and the median of what ours adds, in seconds."""
    took: dict[str, list[float]] = {"bare": [], "ours": []}
    with session(settings):
        flows = contenders(seconds)
        for number in range(rounds + 1):
            # The first of a round pays for what the last one left to send: they take turns.
            for name in sorted(flows, reverse=bool(number % 2)):
                started = time.perf_counter()
                flows[name]()
                if number:  # the first round warms
                    took[name].append(time.perf_counter() - started)
    pairs = list(zip(took["bare"], took["ours"], strict=True))
    return {
        "bare": statistics.median(took["bare"]),
        "ratio": statistics.median(ours / bare for bare, ours in pairs),
        "added": statistics.median(ours - bare for bare, ours in pairs),
    }


class Late(Checkout):
    """Runs that are due at given times, and how late their first task started."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {"flows/etl/flow.py": FLOW})

    def lateness(self, count: int, ahead: float) -> list[float]:
        """Seconds from due to first task, of so many runs that are planned so long ahead."""
        ids = {each["name"]: each["id"] for each in self.ask("/deployments/filter")}
        due: dict[str, datetime] = {}
        began = datetime.now(UTC)
        for number in range(count):
            # Each deployment takes one run at a time, from half a minute before it is due.
            deployment = ids[DEPLOYMENTS[number % len(DEPLOYMENTS)]]
            when = began + timedelta(seconds=ahead + number * APART_SECONDS)
            if ahead == 0:
                time.sleep(max(0.0, (when - datetime.now(UTC)).total_seconds()))
                when = datetime.now(UTC)
            state = {"type": "SCHEDULED", "state_details": {"scheduled_time": when.isoformat()}}
            run = self.ask(f"/deployments/{deployment}/create_flow_run", state=state)
            due[run["id"]] = when
        return [self.first_task(run, when) for run, when in due.items()]

    def first_task(self, run: str, due: datetime) -> float:
        """How late a run's first task started."""

        def tasks() -> list[dict[str, Any]]:
            found = self.ask("/task_runs/filter", flow_runs={"id": {"any_": [run]}}, sort="ID_DESC")
            return [each for each in found if each["start_time"]]

        wait_until(lambda: bool(tasks()), "the first task", AHEAD_SECONDS + 1000)
        return (min(datetime.fromisoformat(each["start_time"]) for each in tasks()) - due).total_seconds()


def p95(values: list[float]) -> float:
    """The smallest value that 95% do not exceed."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def measured(folder: Path, rounds: int, runs: int) -> Iterator[Figure]:
    """Both halves."""
    settings = settings_of(folder / "wrapper")
    for seconds, goal in ((0.0, None), (1.0, 1.05)):
        found = wrapper(settings, seconds, rounds)
        name = f"{len(STEPS)} tasks of {seconds:g} s"
        yield Figure(f"{name}: bare, s", found["bare"])
        yield Figure(f"{name}: ours adds, s", found["added"])
        yield Figure(f"{name}: ours / bare", found["ratio"], goal)
    with Late(folder / "late").deployed() as house, house.worker():
        house.lateness(1, 0)  # warms the worker
        for name, ahead, goal in (("scheduled", AHEAD_SECONDS, 2.0), ("started at once", 0.0, None)):
            late = house.lateness(runs, ahead)
            yield Figure(f"due to first task, {name}: median, s", statistics.median(late))
            yield Figure(f"due to first task, {name}: p95 of {runs}, s", p95(late), goal)


def main() -> int:
    """Measure, and print every figure beside its goal."""
    args = argparse.ArgumentParser(prog="task bench:orchestration --", description=__doc__)
    args.add_argument("--rounds", type=int, default=9, help="of bare and ours")
    args.add_argument("--runs", type=int, default=20, help="of deployments, of each kind")
    args.add_argument("--quick", action="store_true", help="one round, two runs")
    given = args.parse_args()
    rounds, runs = (1, 2) if given.quick else (given.rounds, given.runs)
    with tempfile.TemporaryDirectory(prefix="watchkeeper-bench-") as scratch:
        for figure in measured(Path(scratch), rounds, runs):
            print(figure, flush=True)
    return 0


if __name__ == "__main__":
    run_command(main)
