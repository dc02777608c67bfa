"""`task demo`, the main job: one pass through every flow on the embedded default, told as it happens.

Generates a small data set of the H&M shape (a fresh clone needs no data), starts a Prefect server for its
duration, brings the data into the lake and says what came of it and what to try next. A second run finds
everything as the first left it.
"""

from typing import TYPE_CHECKING

from rich.panel import Panel

from flows.config import Settings, load_settings
from flows.console import out, reporter
from flows.demo_data import generate
from flows.errors import run_command
from flows.session import session

if TYPE_CHECKING:
    from flows.etl.report import Summary

NEXT = """\
[bold]task sql -- "SELECT product_group_name, count(*) AS sold
             FROM hm.transactions JOIN hm.articles USING (article_id)
             GROUP BY 1 ORDER BY 2 DESC"[/]
    ask the lake
[bold]task quarantine -- --dataset hm --table transactions[/]
    see the rows that broke a rule, and why
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
    tell(settings, summary)
    return 0


def act_etl(source: str) -> "Summary":
    """The first act: from files to a lake that can be asked."""
    from flows.etl.flow import etl

    return etl("hm", source)


def tell(settings: Settings, summary: "Summary") -> None:
    """What happened, where everything is, and what to try next."""
    from flows.etl.report import print_summary

    print_summary(summary.tables)
    out.print(f"\nThe lake is in [bold]{settings.lake}[/], the summary in {settings.home / 'summary.json'}.")
    if all(result.outcome == "unchanged" for result in summary.tables.values()):
        out.print("Nothing is new since the last run, so nothing was committed and Spark never started.")
    out.print(Panel(NEXT, title="What to try next", title_align="left", border_style="green", expand=False))


if __name__ == "__main__":
    run_command(main)
