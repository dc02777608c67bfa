"""The score flow: champion, land, Spark, verdict, commit, report.

Run by `task score` and the deployments of `prefect.yaml`. Promises that the table of scores is as it was
or one snapshot further, and that the same pictures with the same champion twice are one commit.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from prefect import flow, get_run_logger, runtime

from flows.config import load_settings
from flows.console import OnProgress
from flows.etl import steps as etl
from flows.etl.engine import engine_of
from flows.etl.flow import replanned
from flows.etl.runners.config import RunnerName
from flows.etl.runners.life import Engine
from flows.etl.scores import contract_of
from flows.etl.source_files import open_source
from flows.score import steps
from flows.score.champion import find_champion
from flows.score.plan import Scoring, refuse_out_of_reach
from flows.score.report import ScoreSummary, publish
from flows.score.steps import ScoreResult
from flows.step import run_step
from flows.watched import watched
from observability.metrics import SCORE_STEP_SECONDS
from services.bento.registry import model_meant
from services.bento.store import open_store

T = TypeVar("T")


def run_name() -> str:
    """How Prefect calls the run."""
    return f"score-{runtime.flow_run.parameters.get('model') or 'last-promoted'}"


@watched
@flow(name="score", flow_run_name=run_name, persist_result=False)
def score(
    source: str | None = None,
    model: str | None = None,
    replay: bool = False,
    runner: RunnerName | None = None,
) -> ScoreSummary:
    """Have the champion label every picture at the source that it has not labelled yet.

    Args:
        source: folder, glob or `s3://` prefix; `landing/score` of the home unless said.
        model: the model's name; that which was promoted last unless said.
        replay: try the quarantined pictures again too.

    Raises:
        WatchkeeperError: no champion that reads pictures, no picture, or too many that cannot be read; the
            table is as it was.
    """
    settings = load_settings()
    model = model_meant(open_store(settings.registry), model)
    contract, engine = contract_of(model), engine_of(settings, runner)
    summary = ScoreSummary(settings, model, engine.costs)
    with summary.table(contract.identifier) as record:
        champion = scoring_step("champion", model, lambda _: find_champion(settings, model))
        pictures = open_source(source or str(settings.landing / "score"))
        refuse_out_of_reach(settings, pictures, engine.runner.name)
        scoring = Scoring(settings, contract, champion, pictures, replay)
        record(replanned(contract, lambda: attempt(scoring, engine)))
    return summary


def attempt(scoring: Scoring, engine: Engine) -> ScoreResult:
    """Land, Spark, verdict, commit, report. Staging is left clean however it ends."""
    started, log, model = time.perf_counter(), get_run_logger(), scoring.champion.model
    plan = scoring_step("land", model, lambda _: scoring.plan(engine.run_id))
    if plan.nothing_to_do:
        return steps.unchanged(scoring, plan)
    try:
        plan, staged, labels = scoring_step(
            "spark", model, lambda show: steps.run_spark(scoring, plan, engine, show, log.info)
        )
        verdict = scoring_step("verdict", model, lambda _: etl.reach_verdict(scoring.settings, plan, staged))
        committed = scoring_step(
            "commit", model, lambda _: etl.commit(scoring.settings, plan, staged, engine.run_id)
        )
    finally:
        etl.discard(plan)
    committed.seconds = round(time.perf_counter() - started, 3)
    result = steps.told(scoring, plan, committed, labels)
    scoring_step("report", model, lambda _: publish(scoring.contract.identifier, verdict, result))
    return result


def scoring_step(name: str, model: str, work: Callable[[OnProgress], T]) -> T:
    """One step of a model's scoring."""
    return run_step(f"scores of {model}", name, work, SCORE_STEP_SECONDS, model=model)
