"""What a retraining leaves: a line an epoch, a record, Prefect artifacts, metrics, the closing words."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from prefect.events import emit_event
from rich.console import Console
from rich.table import Table

from flows.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from flows.console import OnProgress, out
from flows.retrain.config import TrainingConfig
from flows.retrain.dataset import Dataset
from flows.retrain.promote import Judged
from flows.retrain.runs import Run, record, recorded
from flows.retrain.search import OnTrial
from flows.retrain.train import Epoch, OnEpoch, Progress
from flows.step import flow_run_id
from observability import emit
from observability.metrics import RETRAIN_ARTICLES, RETRAIN_RUNS, RETRAIN_SCORE_RATIO, RETRAIN_TRIALS
from services.bento.manifest import Manifest
from services.bento.registry import Registry
from services.bento.store import Store

SHOWN_RUNS = 20


@dataclass(frozen=True)
class Outcome:
    """What one retraining came to; `scores` are the gate's numbers on the holdout."""

    model: str
    version: str
    verdict: str
    reasons: tuple[str, ...]
    scores: dict[str, float]
    champion: str | None
    """Who answers now."""
    against: str | None
    """The champion that it met."""
    bento: str | None
    articles: dict[str, int]
    seconds: float

    @classmethod
    def of(
        cls,
        model: str,
        manifest: Manifest,
        judged: Judged,
        bento: str | None,
        articles: dict[str, int],
        seconds: float,
    ) -> "Outcome":
        """Put together what the steps gave."""
        verdict = judged.verdict
        return cls(
            model=model,
            version=manifest.version,
            verdict=verdict.outcome,
            reasons=tuple(verdict.reasons),
            scores=verdict.numbers,
            champion=judged.entry.champion,
            against=judged.champion,
            bento=bento,
            articles=articles,
            seconds=seconds,
        )

    def figures(self) -> dict[str, str]:
        """For the message of a success."""
        f1 = {name: f"{value:.4f}" for name, value in self.scores.items() if name.startswith("f1_")}
        return {"verdict": f"{self.verdict} of {self.version}", "champion": self.champion or "none", **f1}


def live_line(show: OnProgress) -> OnEpoch:
    """A line an epoch on standard error, and the step's bar."""
    console = Console(stderr=True, highlight=False)

    def on_epoch(epoch: Epoch, of: int) -> None:
        show(epoch.number + 1, of)
        if console.is_terminal or epoch.number % 5 == 4 or epoch.number + 1 == of:
            print(
                f"  epoch {epoch.number + 1:>3}/{of}  loss {epoch.loss:.3f}  validation: "
                f"loss {epoch.validation_loss:.3f}, accuracy {epoch.validation_accuracy:.3f}  "
                f"{epoch.seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )

    return on_epoch


def trial_record(store: Store, model: str, study: str, data: Dataset, seed: int) -> OnTrial:
    """Keeps each trial beside the trainings."""

    def on_trial(number: int, config: TrainingConfig, outcome: str, epochs: list[Epoch]) -> None:
        run = Run(
            id=f"{study}-{number:04}",
            kind="trial",
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            flow_run=flow_run_id(),
            snapshot_id=data.snapshot.snapshot_id,
            seed=seed,
            config=config.model_dump(),
            outcome=outcome,
            seconds=sum(epoch.seconds for epoch in epochs),
            scores=best_scores(epochs),
            epochs=[asdict(epoch) for epoch in epochs],
        )
        record(store, model, run)
        emit.count(RETRAIN_TRIALS, 1, model=model, outcome=outcome)

    return on_trial


def best_scores(epochs: Sequence[Epoch]) -> dict[str, float]:
    """Of the epoch of the least validation loss."""
    if not epochs:
        return {}
    best = min(epochs, key=lambda epoch: epoch.validation_loss)
    return {"validation_cross_entropy": best.validation_loss, "validation_accuracy": best.validation_accuracy}


def publish(store: Store, registry: Registry, outcome: Outcome, manifest: Manifest, folder: Path) -> None:
    """The record, the artifacts, the metrics, and the event of a new champion."""
    epochs = Progress.read(folder).epochs
    run = Run(
        id=outcome.version,
        kind="training",
        when=manifest.created.isoformat(timespec="seconds"),
        flow_run=flow_run_id(),
        snapshot_id=manifest.snapshot.snapshot_id,
        seed=manifest.training["seed"],
        config=manifest.training["config"],
        outcome=outcome.verdict,
        seconds=outcome.seconds,
        version=outcome.version,
        scores={**manifest.metrics, **outcome.scores},
        reasons=list(outcome.reasons),
        epochs=[asdict(epoch) for epoch in epochs],
    )
    record(store, outcome.model, run)
    publish_artifacts(store, registry, outcome)
    emit_outcome(outcome)
    tell_of_promotion(outcome)


def tell_of_promotion(outcome: Outcome) -> None:
    """An event of a new champion, for Prefect's automations."""
    if outcome.verdict == "promote":
        emit_event(
            event="watchkeeper.model.promoted",
            resource={"prefect.resource.id": f"watchkeeper.model.{outcome.model}"},
            payload={"model": outcome.model, "version": outcome.version, "before": outcome.against},
        )


def publish_artifacts(store: Store, registry: Registry, outcome: Outcome) -> None:
    """Prefect artifacts: the model card, the verdict, the files, and the newest runs."""
    key = outcome.model.replace("_", "-").replace(".", "-")
    version = registry.fetch(outcome.version)
    create_markdown_artifact(
        key=f"card-{key}", markdown=(version / "card.md").read_text(), description="Model card"
    )
    rows: list[dict[str, object]] = [{"fact": "verdict", "value": outcome.verdict}]
    rows += [{"fact": "reason", "value": reason} for reason in outcome.reasons]
    rows += [{"fact": name, "value": round(value, 5)} for name, value in outcome.scores.items()]
    create_table_artifact(key=f"verdict-{key}", table=rows, description=f"The gate on {outcome.version}")
    create_link_artifact(
        key=f"version-{key}", link=version.as_uri(), description=f"Files of {outcome.version}"
    )
    runs = [
        {
            "run": run.id,
            "kind": run.kind,
            "outcome": run.outcome,
            **{k: round(v, 4) for k, v in run.scores.items()},
        }
        for run in recorded(store, outcome.model)[-SHOWN_RUNS:]
    ]
    create_table_artifact(key=f"runs-{key}", table=runs, description=f"The newest runs of {outcome.model}")


def emit_outcome(outcome: Outcome) -> None:
    """Verdict, scores and sizes, by StatsD."""
    emit.count(RETRAIN_RUNS, 1, model=outcome.model, outcome=outcome.verdict)
    for side in ("train", "validation", "holdout", "left_out", "unreadable"):
        emit.gauge(RETRAIN_ARTICLES, outcome.articles.get(side, 0), model=outcome.model, side=side)
    for role in ("challenger", "champion"):
        if (score := outcome.scores.get(f"f1_{role}")) is not None:
            emit.gauge(RETRAIN_SCORE_RATIO, score, model=outcome.model, role=role)


def print_outcome(outcome: Outcome) -> None:
    """The closing words of `task retrain`."""
    colours = {"promote": "green", "reject": "red", "inconclusive": "yellow", "error": "red"}
    articles = ", ".join(f"{n:,} {side.replace('_', ' ')}" for side, n in sorted(outcome.articles.items()))
    view = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    view.add_row("verdict", f"[bold {colours[outcome.verdict]}]{outcome.verdict}[/]")
    for reason in outcome.reasons:
        view.add_row("", reason)
    if "accuracy_challenger" in outcome.scores:
        scores = outcome.scores
        view.add_row(
            "holdout",
            f"macro-F1 {scores['f1_challenger']:.3f}, accuracy {scores['accuracy_challenger']:.3f} "
            f"on {scores['n']:.0f} articles",
        )
    view.add_row("version", f"{outcome.model} {outcome.version}")
    view.add_row("champion", outcome.champion or "none")
    view.add_row("articles", articles)
    if outcome.bento:
        view.add_row("bento", outcome.bento)
    view.add_row("seconds", f"{outcome.seconds:.0f}")
    out.print(view)
