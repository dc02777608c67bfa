"""`task demo`, the main job: one pass through every flow on the embedded default, told as it happens.

Generates a small data set of the H&M shape (a fresh clone needs no data), starts a Prefect server for its
duration, brings the data into the lake, trains a classifier on its pictures, has it answer over HTTP, watches
the traffic change, and says what came of it and what to try next. A second run finds everything as the first
left it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.table import Table

from flows.config import Settings, load_settings
from flows.console import out, reporter
from flows.demo_data import generate
from flows.demo_drift import act_drift
from flows.demo_drift import show as show_drift
from flows.demo_serve import Asked, ask, one_of_each_group, service
from flows.errors import run_command
from flows.session import session

TRAINING = {"height": 64, "width": 48, "filters": 16, "epochs": 20}
"""Drawn pictures are easy: a small network sees enough in a minute."""

if TYPE_CHECKING:
    from flows.etl.report import Summary
    from flows.retrain.report import Outcome

NEXT = """\
[bold]task sql -- "SELECT product_group_name, count(*) AS sold
             FROM hm.transactions JOIN hm.articles USING (article_id)
             GROUP BY 1 ORDER BY 2 DESC"[/]
    ask the lake
[bold]task quarantine -- --dataset hm --table transactions[/]
    see the rows that broke a rule, and why
[bold]task model:history[/], [bold]task model:show[/]
    which model answers, since when and why
[bold]task serve[/]
    the champion over HTTP; http://127.0.0.1:3000 shows how
[bold]task etl -- --dataset serving[/], [bold]task drift -- --model hm[/]
    the prediction log into the lake, and whether the traffic has changed
[bold]task drift:ui[/]
    every drift report so far
[bold]task ui[/]
    see the runs with their logs and artifacts in Prefect's own page
[bold]task etl -- --dataset hm --source FOLDER[/]
    bring more files; the same ones twice are one commit"""


def main() -> int:
    """Run every act."""
    settings = load_settings()
    source = settings.landing / "hm"
    with reporter.shown(), reporter.step("demo data · 2,000 articles, 200,000 sales") as on_progress:
        generate(source, on_progress=on_progress)
    with session(settings):
        summary = act_etl(str(source))
        outcome = act_retrain(settings, summary)
        asked = act_serve(settings, source)
        changed = act_drift(settings, source) if asked else {}
        summary.write()  # the prediction log's run wrote its own
    tell(settings, summary, outcome, asked)
    show_drift(changed)
    out.print(Panel(NEXT, title="What to try next", title_align="left", border_style="green", expand=False))
    return 0


def act_etl(source: str) -> "Summary":
    """The first act: from files to a lake that can be asked."""
    from flows.etl.flow import etl

    return etl("hm", source)


def act_retrain(settings: Settings, summary: "Summary") -> "Outcome | None":
    """The second act: from the lake to a champion. None where one came from this very snapshot."""
    from flows.retrain.flow import retrain
    from services.bento.registry import Registry
    from services.bento.store import open_store

    champion = Registry(open_store(settings.registry), "hm").champion()
    if champion and champion.snapshot_id == summary.tables["hm.articles"].snapshot_id:
        return None
    return retrain("hm", config=TRAINING)


def act_serve(settings: Settings, source: Path) -> list[Asked]:
    """The third act: the champion answers, a picture of each product group; nothing where there is none."""
    from services.bento.registry import Registry
    from services.bento.store import open_store

    if Registry(open_store(settings.registry), "hm").champion() is None:
        return []
    with (
        reporter.shown(),
        reporter.step("serve · a picture of each group"),
        service(settings, "hm") as client,
    ):
        return ask(client, one_of_each_group(source))


def show_answers(asked: list[Asked]) -> None:
    """What the service said."""
    table = Table(title="The champion answers over HTTP", title_justify="left")
    for name in ("article", "shows", "answer", "probability"):
        table.add_column(name, justify="right" if name == "probability" else "left")
    for one in asked:
        colour = "green" if one.label == one.truth else "red"
        table.add_row(one.article_id, one.truth, f"[{colour}]{one.label}[/]", f"{one.probability:.2f}")
    out.print(table)


def tell(settings: Settings, summary: "Summary", outcome: "Outcome | None", asked: list[Asked]) -> None:
    """What happened, where everything is, and what to try next."""
    from flows.etl.report import print_summary

    if outcome:
        from flows.retrain.report import print_outcome

        print_outcome(outcome)
        out.print()
    if asked:
        show_answers(asked)
        out.print()
    print_summary(summary.tables)
    out.print(f"\nThe lake is in [bold]{settings.lake}[/], the summary in {settings.home / 'summary.json'}.")
    if all(result.outcome == "unchanged" for result in summary.tables.values()):
        out.print("Nothing is new since the last run, so nothing was committed and Spark never started.")


if __name__ == "__main__":
    run_command(main)
