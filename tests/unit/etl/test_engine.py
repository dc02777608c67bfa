"""What people are told of a Spark job on AWS: links, states, cost; and when a budget ends it."""

from pathlib import Path
from typing import Any

import pytest

from flows.config import Settings
from flows.etl import engine
from flows.etl.engine import Telling, engine_of, in_words, slug, total
from flows.etl.runners.base import Cost, Handle, JobState, SparkJob
from flows.etl.runners.budget import BudgetError
from flows.etl.runners.local import LocalRunner
from observability.metrics import Metric
from tests.factories import settings_of

HANDLE = Handle("emr_serverless", "job-1", 1, "app-1")


class Told:
    """What reached Prefect and StatsD."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.links: dict[str, str] = {}
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.counts: dict[str, float] = {}
        for name in ("get_run_logger", "create_link_artifact", "create_table_artifact"):
            monkeypatch.setattr(engine, name, getattr(self, name))
        monkeypatch.setattr(engine.emit, "count", self.count)  # type: ignore[attr-defined]

    def get_run_logger(self) -> "Told":
        return self

    def info(self, text: str, *values: object) -> None:
        self.log.append(text % values)

    warning = info

    def create_link_artifact(self, key: str, link: str, description: str) -> None:
        self.links[key] = link

    def create_table_artifact(self, key: str, table: list[dict[str, Any]], description: str) -> None:
        self.tables[key] = table

    def count(self, metric: Metric, amount: float, **labels: str) -> None:
        assert labels.keys() == metric.labels.keys()
        self.counts[metric.name] = self.counts.get(metric.name, 0) + amount


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


@pytest.fixture
def job(tmp_path: Path) -> SparkJob:
    (tmp_path / "job.json").write_text("{}")
    return SparkJob("etl", tmp_path / "job.json", "shop.sales etl", "etl", "run-1")


def telling(home: Path, **budgets: Any) -> Telling:
    return Telling(settings_of(home, **budgets), "emr_serverless")


def costing(dollars: float | None) -> Any:
    missing = () if dollars is not None else ("vcpu",)
    return lambda: Cost({"vcpu": 1.0}, dollars, "us-east-1", bound=True, missing=missing)


def test_a_job_leaves_its_links_its_states_once_each_and_its_cost(
    tmp_path: Path, told: Told, job: SparkJob
) -> None:
    watch = telling(tmp_path)
    watch.before(job)
    watch.submitted(job, HANDLE, {"Spark UI": "https://ui", "logs": "s3://logs"}, adopted=False)
    for phase in ("pending", "pending", "running", "running"):
        watch.looked(job, HANDLE, JobState(phase), costing(1))
    watch.ended(job, HANDLE, JobState("success"), Cost({"vcpu": 2.0}, 0.25, "us-east-1, 2026-01-01"))
    assert told.links == {
        "spark-spark-ui-shop-sales-etl": "https://ui",
        "spark-logs-shop-sales-etl": "s3://logs",
    }
    assert told.log == [
        "shop.sales etl runs as job-1 on app-1",
        "shop.sales etl (job-1) is pending",
        "shop.sales etl (job-1) is running",
    ]
    assert told.tables["spark-cost-shop-sales-etl"] == [
        {"fact": "vcpu hours", "value": 2.0},
        {"fact": "cost", "value": "0.2500 dollars (us-east-1, 2026-01-01)"},
    ]
    assert told.counts == {"watchkeeper_spark_jobs_total": 1, "watchkeeper_spark_cost_dollars_total": 0.25}


@pytest.mark.parametrize("budget", ["budget_run_dollars", "budget_day_dollars"])
def test_a_budget_that_stops_ends_the_job_that_would_pass_it_and_begins_none(
    tmp_path: Path, told: Told, job: SparkJob, budget: str
) -> None:
    watch = telling(tmp_path, budget_action="stop", **{budget: 1.0})
    watch.before(job)
    watch.looked(job, HANDLE, JobState("running"), costing(0.5))
    watch.ended(job, HANDLE, JobState("cancelled"), Cost({"vcpu": 1.0}, 0.75))
    other = Handle("emr_serverless", "job-2", 1, "app-1")
    later = telling(tmp_path, budget_action="stop", **{budget: 1.0})
    later.before(job)
    with pytest.raises(BudgetError, match=f"WATCHKEEPER_{budget.upper()}"):
        later.looked(job, other, JobState("running"), costing(0.25))
    later.ended(job, other, JobState("cancelled"), Cost({"vcpu": 1.0}, 0.3))
    with pytest.raises(BudgetError, match="WATCHKEEPER_BUDGET_ACTION is stop"):
        telling(tmp_path, budget_action="stop", **{budget: 1.0}).before(job)


def test_a_budget_that_warns_says_so_once(tmp_path: Path, told: Told, job: SparkJob) -> None:
    watch = telling(tmp_path, budget_run_dollars=1.0)
    for _ in range(3):
        watch._next_cost = 0.0
        watch.looked(job, HANDLE, JobState("running"), costing(2))
    warned = [line for line in told.log if "WATCHKEEPER_BUDGET_RUN_DOLLARS" in line]
    assert len(warned) == 1


def test_a_budget_that_cannot_be_kept_for_want_of_a_price_is_none(
    tmp_path: Path, told: Told, job: SparkJob
) -> None:
    with pytest.raises(BudgetError, match="WATCHKEEPER_EMR_PRICES lacks vcpu of us-east-1"):
        telling(tmp_path, budget_run_dollars=1.0, budget_action="stop").looked(
            job, HANDLE, JobState("running"), costing(None)
        )
    telling(tmp_path, budget_run_dollars=1.0).looked(job, HANDLE, JobState("running"), costing(None))
    assert "no budget can be kept" in told.log[-1]


def test_without_a_budget_nobody_asks_what_a_job_costs_while_it_runs(
    tmp_path: Path, told: Told, job: SparkJob
) -> None:
    def ask() -> Cost:
        raise AssertionError("asked")

    telling(tmp_path).looked(job, HANDLE, JobState("running"), ask)


def test_cost_in_words() -> None:
    assert in_words(Cost({"vcpu": 1}, 0.5, "us-east-1", bound=True)) == "at most 0.5000 dollars (us-east-1)"
    unknown = in_words(Cost({"m5.xlarge": 1, "p5.48xlarge": 1}, None, "us-east-1", missing=("p5.48xlarge",)))
    assert unknown == "unknown: WATCHKEEPER_EMR_PRICES lacks p5.48xlarge of us-east-1"
    assert total([]) == {}
    assert total([Cost({}, 0.25), Cost({}, 0.5)]) == {"cost on AWS": "0.7500 dollars"}
    assert total([Cost({}, 0.25), Cost({}, None)]) == {"cost on AWS": "0.2500 dollars, and what has no price"}
    assert slug("Shop.sales etl") == "shop-sales-etl"


def test_the_run_says_the_runner_before_the_settings(settings: Settings) -> None:
    assert isinstance(engine_of(settings).runner, LocalRunner)
    assert engine_of(settings, "emr").runner.name == "emr"
    assert engine_of(settings_of(settings.home, runner="emr_serverless")).runner.name == "emr_serverless"
    assert engine_of(settings_of(settings.home, runner="emr"), "local").runner.name == "local"
