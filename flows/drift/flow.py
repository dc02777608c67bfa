"""The drift flow: profile, compare, report, publish.

Run by `task drift`, `task demo` and the deployments of `prefect.yaml`. Promises that every run leaves a
verdict file, also one that could not compare, and that a window without enough rows is never "no drift".
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from prefect import flow, get_run_logger
from prefect.events import emit_event

from flows.artifacts import create_link_artifact, create_table_artifact
from flows.config import Settings, load_settings
from flows.console import OnProgress
from flows.drift import verdicts
from flows.drift.comparison import Comparison, NoDataError, Question, check
from flows.drift.performance import Performance, performance
from flows.drift.summaries import Profiled, kinds_of
from flows.drift.windows import SEASONS, Season, Window
from flows.errors import WatchkeeperError
from flows.etl.engine import engine_of
from flows.etl.runners.config import RunnerName
from flows.etl.runners.life import Engine
from flows.step import flow_run_id, run_step
from flows.watched import watched
from observability import emit
from observability.drift.profiles import ProfileError
from observability.drift.verdict import Policy, Verdict, judge
from observability.metrics import DRIFT_RUNS, DRIFT_STEP_SECONDS

T = TypeVar("T")


@dataclass
class Result:
    """What a drift run found."""

    subject: str
    of_now: bool
    verdict: Verdict
    windows: dict[str, str] = field(default_factory=dict)
    performance: Performance | None = None
    report: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """As `--format json` prints it and the verdict file keeps it."""
        known = self.performance
        return {
            **self.verdict.as_json(),
            "subject": self.subject,
            "windows": self.windows,
            "performance": asdict(known) if known else None,
            "report": str(self.report) if self.report else None,
        }

    def figures(self) -> dict[str, str]:
        """For the message of a success."""
        return {self.subject: f"{self.verdict.outcome}; {self.verdict.reason}"}


@watched
@flow(name="drift", persist_result=False)
def drift(
    dataset: str | None = None,
    table: str | None = None,
    model: str | None = None,
    reference: str | None = None,
    current: str | None = None,
    season: Season | None = None,
    runner: RunnerName | None = None,
) -> Result:
    """Say whether a table, or a model's traffic, has changed.

    Args:
        dataset: of the table.
        table: its name.
        model: whose traffic is compared with its training, in the place of a table.
        reference: a window, such as `2011-08`, `28d` or `snapshot:ID`.
        current: a window.
        season: compare with the same weekdays, or the same months, of the reference.
        runner: where Spark runs; as the settings say unless said.

    Raises:
        WatchkeeperError: no such table or model; or it could not be compared, and a verdict file says so too.
    """
    settings, started = load_settings(), time.perf_counter()
    question = Question.of(dataset, table, model, reference, current, season)
    check(settings, question)  # what does not exist leaves no verdict
    result = Result(question.subject, question.of_now, Verdict("error", "", {}))
    folder = verdicts.new_folder(settings, question.subject)
    try:
        answer(settings, question, folder, result, engine_of(settings, runner))
    except NoDataError as nothing:
        result.verdict = Verdict("not_enough_data", str(nothing), {"reference": 0, "current": 0})
    except (WatchkeeperError, ProfileError) as error:
        result.verdict = Verdict("error", str(error), {})
        raise WatchkeeperError(str(error)) from None
    except BaseException as error:
        result.verdict = Verdict(
            "error", f"the run was ended by {type(error).__name__}; its log says why", {}
        )
        raise
    finally:
        publish(settings, folder, result, round(time.perf_counter() - started, 3))
    return result


def answer(settings: Settings, question: Question, folder: Path, result: Result, engine: Engine) -> None:
    """Every step but the last; what is known is in `result` when one fails."""
    comparison, log = Comparison(settings, question), get_run_logger()
    profiled = drift_step("profile", question, lambda show: comparison.profile(engine, show, log.info))
    before, now, reference, current = drift_step("compare", question, lambda _: comparison.windows(profiled))
    result.windows = {"reference": reference.said, "current": current.said}
    season = SEASONS[question.season] if question.season else None
    result.verdict = judge(before, now, comparison.watched, Policy(), season)
    result.performance = performance_of(comparison, profiled, current)
    if result.verdict.outcome == "error":
        raise WatchkeeperError(result.verdict.reason)

    def write(_: OnProgress) -> Path | None:
        from flows.drift import report  # Evidently takes its seconds to import

        samples = report.Samples(
            *(comparison.rows(window, profiled, report.ROWS) for window in (reference, current))
        )
        snapshot = report.evidently_report(samples, kinds_of(comparison.contract), result.verdict)
        if snapshot is None:
            return None
        report.keep(settings, question.subject, snapshot)
        return report.write(folder, snapshot)

    result.report = drift_step("report", question, write)


def performance_of(comparison: Comparison, profiled: Profiled, current: Window) -> Performance | None:
    """How right the model is in the window; None of a table, or of a regression."""
    champion = comparison.champion
    if champion is None or not champion.manifest.classes:
        return None
    files = np.unique(profiled.file[current.cells(profiled)].astype(str)).tolist()
    answers = comparison.scanner(current, files, ["request_id", "label", "probability"]).to_table()
    table = comparison.lake.table("serving.feedback")
    # What was told before the window began is of other answers.
    since = f"time >= '{datetime.fromtimestamp(current.start, UTC).isoformat()}'"
    return performance(answers, table.scan(row_filter=since).to_arrow() if table else None, champion)


def publish(settings: Settings, folder: Path, result: Result, seconds: float) -> None:
    """The verdict file, the artifacts, the metric and the event; nothing is said twice."""
    before = next(verdicts.news(settings, result.subject), None)
    told = {
        **result.as_json(),
        "when": datetime.now(UTC).isoformat(),
        "seconds": seconds,
        "flow_run": flow_run_id(),
        "of_now": result.of_now,
    }
    verdicts.write(folder, told)
    verdict = result.verdict
    emit.count(DRIFT_RUNS, 1, subject=result.subject, outcome=verdict.outcome)
    key = "drift-" + result.subject.replace(".", "-").replace("_", "-")
    rows = [
        {"column": name, "score": c.score, "threshold": c.threshold, "drifted": c.drifted, "test": c.test}
        for name, c in verdict.columns.items()
    ]
    create_table_artifact(key=key, table=rows, description=f"{verdict.outcome}: {verdict.reason}")
    if result.report:
        create_link_artifact(
            key=f"{key}-report", link=result.report.as_uri(), description="Evidently's report"
        )
    news = verdicts.news_of(before, verdict.outcome) if result.of_now else None
    if news:
        emit_event(
            event=f"watchkeeper.drift.{news}",
            resource={"prefect.resource.id": f"watchkeeper.drift.{result.subject}"},
            payload={"subject": result.subject, "reason": verdict.reason, "drifted": verdict.drifted},
        )


def drift_step(name: str, question: Question, work: Callable[[OnProgress], T]) -> T:
    """One step."""
    return run_step(f"drift of {question.subject}", name, work, DRIFT_STEP_SECONDS, subject=question.subject)
