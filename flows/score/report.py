"""What a scoring run leaves for people: `summary.json`, a Prefect artifact, metrics and the closing table."""

from rich.table import Table

from flows.artifacts import create_table_artifact
from flows.config import Settings
from flows.console import out
from flows.etl.quality import Verdict, by_count
from flows.etl.report import Summary, quarantine_command
from flows.etl.runners.base import Cost
from flows.etl.steps import TableResult
from flows.score.steps import ScoreResult
from observability import emit
from observability.metrics import SCORE_IMAGES, SCORE_RUNS


class ScoreSummary(Summary):
    """One model's scoring."""

    def __init__(self, settings: Settings, model: str, costs: list[Cost]) -> None:
        super().__init__(settings, costs)
        self.model = model

    def emit(self, identifier: str, result: TableResult) -> None:
        """Send the run's counts by StatsD."""
        emit.count(SCORE_RUNS, 1, model=self.model, outcome=result.outcome)
        emit.count(SCORE_IMAGES, result.rows_committed, model=self.model, outcome="scored")
        emit.count(SCORE_IMAGES, result.rows_quarantined, model=self.model, outcome="quarantined")


def publish(identifier: str, verdict: Verdict, result: ScoreResult) -> None:
    """The Prefect artifact of a run: counts, labels and verdict."""
    facts = (
        "model_version",
        "images",
        "images_unchanged",
        "images_left",
        "rows_committed",
        "rows_quarantined",
    )
    rows: list[dict[str, object]] = [
        {"fact": name.replace("_", " "), "value": getattr(result, name)}
        for name in (*facts, "images_per_second", "seconds", "snapshot_id")
    ]
    rows += [{"fact": f"label {label}", "value": count} for label, count in result.labels.items()]
    rows += [{"fact": f"quarantined: {rule}", "value": n} for rule, n in by_count(result.quarantined_by_rule)]
    rows += [{"fact": "verdict", "value": "; ".join([verdict.outcome, *verdict.reasons])}]
    key = identifier.replace(".", "-").replace("_", "-")
    create_table_artifact(key=key, table=rows, description=f"Scores of {identifier}")


def print_summary(tables: dict[str, TableResult]) -> None:
    """The closing table, each label's pictures, and what was not scored."""
    for identifier, result in tables.items():
        if isinstance(result, ScoreResult):
            print_result(identifier, result)


def print_result(identifier: str, result: ScoreResult) -> None:
    """One table of scores."""
    view = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    view.add_column("table", no_wrap=True)
    for name in ("images", "scored", "quarantined", "as before", "images/s", "seconds"):
        view.add_column(name, justify="right", no_wrap=True)
    counts = (result.images, result.rows_committed, result.rows_quarantined, result.images_unchanged)
    speed = f"{result.images_per_second:,.0f}" if result.images_per_second else "-"
    view.add_row(identifier, *(f"{count:,}" for count in counts), speed, f"{result.seconds:.1f}")
    out.print(view)
    out.print(f"{result.outcome}, by version {result.model_version}", soft_wrap=True)
    for label, count in result.labels.items():
        out.print(f"  {count:>7,}  {label}", markup=False)
    if result.rows_quarantined:
        out.print(f"quarantined (see [bold]{quarantine_command(identifier)}[/])", soft_wrap=True)
        for rule, count in by_count(result.quarantined_by_rule):
            out.print(f"  {count:>7,}  {rule}")
    if result.images_left:
        out.print(
            f"{result.images_left:,} scores of earlier versions stay: their pictures are not at this source"
        )
