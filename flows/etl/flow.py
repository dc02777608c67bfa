"""The ETL flow: for each table of a data set land, Spark, verdict, commit, report.

Run by `task etl`, `task demo` and the deployments of `prefect.yaml`. Promises that a table is either as it
was or one snapshot further, and that the same input twice is one commit.
"""

import time
from collections.abc import Callable
from datetime import date
from typing import TypeVar

from prefect import flow, get_run_logger

from flows.config import Settings, load_settings
from flows.console import OnProgress
from flows.errors import WatchkeeperError
from flows.etl import steps
from flows.etl.contract import Contract
from flows.etl.datasets import load_dataset, with_event_time
from flows.etl.engine import engine_of
from flows.etl.lake import OvertakenError
from flows.etl.plan import Again, make_plan
from flows.etl.report import Summary, publish
from flows.etl.runners.config import RunnerName
from flows.etl.runners.life import Engine
from flows.etl.source_files import refuse_empty_source
from flows.etl.steps import TableResult
from flows.step import run_step
from flows.watched import watched
from observability.metrics import ETL_STEP_SECONDS

REPLANS = 3
T = TypeVar("T")


@watched
@flow(name="etl", flow_run_name="etl-{dataset}", persist_result=False)
def etl(
    dataset: str,
    source: str | None = None,
    rebuild_from: date | None = None,
    rebuild_to: date | None = None,
    replay_table: str | None = None,
    runner: RunnerName | None = None,
) -> Summary:
    """Bring a data set's new files into the lake, table by table.

    Args:
        dataset: a folder of contracts.
        source: folder, glob or `s3://` prefix; `landing/<dataset>` of the home unless said.
        rebuild_from: with `rebuild_to`, process the source files with rows of these days again, of each
            table that has an event time.
        rebuild_to: last day, inclusive.
        replay_table: process this table's source files with quarantined rows again, and nothing else.
        runner: where Spark runs; as the settings say unless said.

    Raises:
        WatchkeeperError: a table's run failed; that table is as it was.
    """
    settings = load_settings()
    contracts = load_dataset(settings.contracts, dataset)
    if replay_table:
        contracts = [contract for contract in contracts if contract.table == replay_table]
    again = Again(rebuild_from, rebuild_to, quarantined=replay_table is not None)
    if again.start:
        contracts = with_event_time(contracts)
    if source is None and again.kind == "etl":
        source = str(settings.landing / dataset)
    if source is not None:
        refuse_empty_source(contracts, source)
    engine = engine_of(settings, runner)
    summary = Summary(settings, engine.costs)
    for contract in contracts:
        with summary.table(contract.identifier) as record:
            record(etl_table(settings, contract, source, again, engine))
    return summary


def etl_table(
    settings: Settings, contract: Contract, source: str | None, again: Again, engine: Engine
) -> TableResult:
    """One table's run."""
    return replanned(contract, lambda: attempt(settings, contract, source, again, engine))


def replanned(contract: Contract, attempt: Callable[[], T]) -> T:
    """An attempt, made anew where another run's commit concerned the same files."""
    for _ in range(REPLANS):
        try:
            return attempt()
        except OvertakenError as overtaken:
            get_run_logger().warning("planning again: %s", overtaken)
    raise WatchkeeperError(
        f"{contract.identifier}: {REPLANS} runs in a row were overtaken by others; run again later"
    )


def attempt(
    settings: Settings, contract: Contract, source: str | None, again: Again, engine: Engine
) -> TableResult:
    """Land, Spark, verdict, commit, report. Staging is left clean however it ends."""
    started, log = time.perf_counter(), get_run_logger()
    plan = step(
        "land", contract, lambda show: make_plan(settings, contract, source, again, show, engine.run_id)
    )
    if plan.nothing_to_do:
        snapshot = plan.base.current_snapshot() if plan.base else None
        return TableResult("unchanged", snapshot_id=snapshot.snapshot_id if snapshot else None)
    try:
        staged = step("spark", contract, lambda show: steps.run_spark(settings, plan, engine, show, log.info))
        verdict = step("verdict", contract, lambda _: steps.reach_verdict(settings, plan, staged))
        result = step("commit", contract, lambda _: steps.commit(settings, plan, staged, engine.run_id))
    finally:
        steps.discard(plan)
    result.seconds = round(time.perf_counter() - started, 3)
    step("report", contract, lambda _: publish(settings, contract, plan, verdict, result))
    return result


def step(name: str, contract: Contract, work: Callable[[OnProgress], T]) -> T:
    """One step of a table's run."""
    labels = {"dataset": contract.dataset, "table": contract.table}
    return run_step(contract.identifier, name, work, ETL_STEP_SECONDS, **labels)
