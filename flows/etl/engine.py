"""What a flow run has its Spark jobs run by, as the settings or the run say; and who is told of them."""

import time
from collections.abc import Callable

from prefect import get_run_logger

from flows.artifacts import create_link_artifact, create_table_artifact
from flows.config import Settings
from flows.etl.runners.base import Cost, Handle, JobState, SparkJob
from flows.etl.runners.budget import BudgetError, Spending, spent
from flows.etl.runners.choose import runner_of
from flows.etl.runners.config import RunnerName
from flows.etl.runners.life import Engine
from flows.etl.runners.records import Records
from flows.step import flow_name, flow_run_id
from observability import emit
from observability.metrics import SPARK_DOLLARS, SPARK_JOBS

COST_SECONDS = 60.0
"""Between two questions what a job that runs has cost."""


def engine_of(settings: Settings, runner: RunnerName | None = None) -> Engine:
    """The engine of the flow run that this code runs in; the settings name the runner unless one is said."""
    chosen = runner_of(settings, runner)
    records = Records(settings.jobs / "records")
    return Engine(chosen, flow_name(), flow_run_id(), records, Telling(settings, chosen.name))


class Telling:
    """Who is told of a job's life: the run's log, Prefect's artifacts, StatsD, and the budgets."""

    def __init__(self, settings: Settings, runner: str) -> None:
        self._settings, self._runner = settings, runner
        self._spending = Spending(settings.jobs / "spent")
        self._said: JobState | None = None
        self._warned: set[str] = set()
        self._next_cost = 0.0

    def before(self, job: SparkJob) -> None:
        """No job begins where a budget is spent and the settings say to stop.

        Raises:
            BudgetError: so it is.
        """
        if self._runner != "local":
            self._mind_budgets(job, 0.0)

    def submitted(self, job: SparkJob, handle: Handle, links: dict[str, str], *, adopted: bool) -> None:
        """Where the job is to be seen."""
        if self._runner == "local":
            return
        verb = "goes on as" if adopted else "runs as"
        get_run_logger().info("%s %s %s on %s", job.name, verb, handle.id, handle.where)
        for what, link in links.items():
            key = f"spark-{what}-{slug(job.name)}".lower().replace(" ", "-")
            create_link_artifact(key=key, link=link, description=f"{what} of {job.name}, {handle.id}")

    def looked(self, job: SparkJob, handle: Handle, state: JobState, cost: Callable[[], Cost | None]) -> None:
        """What is new of it.

        Raises:
            BudgetError: a budget is spent, and the settings say to stop.
        """
        if self._runner == "local":
            return
        if state != self._said:
            detail = f": {state.detail}" if state.detail else ""
            get_run_logger().info("%s (%s) is %s%s", job.name, handle.id, state.phase, detail)
            self._said = state
        budgets = (self._settings.budget_run_dollars, self._settings.budget_day_dollars)
        if any(budgets) and not state.ended and time.monotonic() >= self._next_cost:
            self._next_cost = time.monotonic() + COST_SECONDS
            known = cost()
            if known and known.dollars is None:
                self._warn_or_stop(f"no budget can be kept: the cost of {job.name} is {in_words(known)}")
            else:
                self._mind_budgets(job, known.dollars or 0.0 if known else 0.0)

    def _mind_budgets(self, job: SparkJob, dollars: float) -> None:
        """Warn once, or stop, where a budget is spent by what has ended and `dollars` of what runs."""
        run, day = self._spending.sums(job.run)
        if why := spent(self._settings, run + dollars, day + dollars):
            self._warn_or_stop(why)

    def _warn_or_stop(self, why: str) -> None:
        if self._settings.budget_action == "stop":
            raise BudgetError(f"{why}; WATCHKEEPER_BUDGET_ACTION is stop")
        if (budget := why.rpartition(" that ")[2]) not in self._warned:
            self._warned.add(budget)
            get_run_logger().warning("%s", why)

    def ended(self, job: SparkJob, handle: Handle, state: JobState, cost: Cost | None) -> None:
        """Its outcome and its cost."""
        emit.count(SPARK_JOBS, 1, program=job.program, runner=self._runner, outcome=state.phase)
        if cost is None:
            return
        self._spending.add(handle, job.run, cost)
        emit.count(SPARK_DOLLARS, cost.dollars or 0.0, program=job.program, runner=self._runner)
        rows: list[dict[str, object]] = [
            {"fact": f"{resource} hours", "value": round(hours, 4)} for resource, hours in cost.hours.items()
        ]
        rows.append({"fact": "cost", "value": in_words(cost)})
        create_table_artifact(
            key=f"spark-cost-{slug(job.name)}", table=rows, description=f"What {job.name}, {handle.id}, cost"
        )


def slug(name: str) -> str:
    """A name as Prefect takes it for an artifact's key."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())


def in_words(cost: Cost) -> str:
    """What a job cost, for people."""
    if cost.dollars is None:
        return f"unknown: WATCHKEEPER_EMR_PRICES lacks {', '.join(cost.missing)} of {cost.prices}"
    most = "at most " if cost.bound else ""
    return f"{most}{cost.dollars:.4f} dollars ({cost.prices})"


def total(costs: list[Cost]) -> dict[str, str]:
    """The figure of a flow run's message: what its jobs cost together; nothing where they cost nothing."""
    known = [cost.dollars for cost in costs if cost.dollars is not None]
    if not costs:
        return {}
    missing = "" if len(known) == len(costs) else ", and what has no price"
    return {"cost on AWS": f"{sum(known):.4f} dollars{missing}"}
