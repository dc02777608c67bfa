"""What Spark jobs on AWS have cost, and whether a budget is spent.

A file for each job that has ended, in a folder a day. What others that run now cost is not known.
"""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

from flows.etl.runners.base import Cost, Handle, SparkJobError
from flows.etl.runners.config import RunnerSettings
from flows.paths import json_in, write_whole
from flows.s3_path import AnyPath


class BudgetError(SparkJobError):
    """A budget is spent, and the settings say to stop."""


class Spending:
    """The jobs that have ended, with their cost.

    Args:
        folder: here or on S3.
    """

    def __init__(self, folder: AnyPath) -> None:
        self.folder = folder

    def add(self, handle: Handle, run: str, cost: Cost, when: datetime | None = None) -> None:
        """Keep a job's cost; again for the same job, in the place of the last."""
        entry = {"run": run, "dollars": cost.dollars or 0.0, "hours": dict(cost.hours), "bound": cost.bound}
        day = when or datetime.now(UTC)
        name = f"{handle.where or 'here'}-{handle.id or 'all'}.json"
        write_whole(self.folder / f"{day:%Y-%m-%d}" / name, json.dumps(entry).encode())

    def of(self, day: date) -> list[dict[str, Any]]:
        """The entries of a day."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in json_in(self.folder / f"{day}")]

    def sums(self, run: str, now: datetime | None = None) -> tuple[float, float]:
        """Dollars of a flow run, which may have begun the day before, and of today."""
        today = (now or datetime.now(UTC)).date()
        of_today, before = self.of(today), self.of(today - timedelta(days=1))
        own = sum(entry["dollars"] for entry in of_today + before if entry["run"] == run)
        return own, sum(entry["dollars"] for entry in of_today)


def spent(settings: RunnerSettings, run: float, day: float) -> str | None:
    """Which budget is spent, in words; None where there is money left.

    Args:
        settings: the budgets.
        run: dollars of the flow run.
        day: dollars of the day, the run's included.
    """
    budgets = (
        ("this flow run", run, settings.budget_run_dollars, "RUN"),
        ("today", day, settings.budget_day_dollars, "DAY"),
    )
    for what, dollars, budget, name in budgets:
        if budget is not None and dollars >= budget:
            return (
                f"the Spark jobs of {what} cost {dollars:.2f} dollars, of {budget:.2f} that "
                f"WATCHKEEPER_BUDGET_{name}_DOLLARS allows"
            )
    return None
