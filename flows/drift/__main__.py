"""`task drift`: say whether a table, or a model's traffic, has changed."""

import argparse
import json
from typing import TYPE_CHECKING

from rich.table import Table

from flows.config import load_settings
from flows.console import out
from flows.drift.comparison import Question, check
from flows.errors import WatchkeeperError, in_words, run_command
from flows.session import session

if TYPE_CHECKING:
    from flows.drift.flow import Result

COLOURS = {"none": "green", "suspected": "yellow", "confirmed": "red", "not_enough_data": "yellow"}


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    args = argparse.ArgumentParser(prog="task drift --", description=__doc__)
    args.add_argument("--dataset", help="of the table")
    args.add_argument("--table")
    args.add_argument("--model", help="its traffic, beside what it was trained on")
    args.add_argument("--reference", help="2011-08, 2011-08-15, 2011-06..2011-08, 28d or snapshot:ID")
    args.add_argument("--current", help="the same; the newest periods unless said")
    args.add_argument("--season", choices=("weekday", "month"), help="compare with the same ones only")
    args.add_argument("--format", choices=("table", "json"), default="table")
    return args


def main() -> int:
    """Run the flow and print its verdict."""
    given = parser().parse_args()
    asked = {name: value for name, value in vars(given).items() if name != "format"}
    try:
        settings = load_settings()
        # What is wrong with the arguments is said before Prefect takes its seconds to start.
        check(settings, Question.of(**asked))
        with session(settings):
            from flows.drift.flow import drift

            result = drift(**asked)
    except (WatchkeeperError, OSError) as error:
        if given.format == "json":
            print(json.dumps({"outcome": "error", "reason": in_words(error)}))
            return 2
        raise
    if given.format == "json":
        print(json.dumps(result.as_json(), indent=1))
    else:
        print_result(result)
    return 0


def print_result(result: "Result") -> None:
    """The verdict for people: what drifted first."""
    verdict = result.verdict
    said = f"[bold {COLOURS[verdict.outcome]}]{verdict.outcome.replace('_', ' ')}[/]"
    out.print(
        f"{result.subject}: {said}, {verdict.reason.removeprefix(f'{result.subject}: ')}", soft_wrap=True
    )
    for name, said in result.windows.items():
        out.print(f"  {name}: {said}, {verdict.rows[name]:,} rows")
    if verdict.columns:
        view = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for name in ("column", "score", "threshold", "", "test"):
            view.add_column(name, justify="right" if name in ("score", "threshold") else "left")
        ranked = sorted(verdict.columns.items(), key=lambda item: -item[1].score / item[1].threshold)
        for name, column in ranked:
            mark = "[red]drifted[/]" if column.drifted else ""
            view.add_row(name, f"{column.score:.4f}", f"{column.threshold:.4f}", mark, column.test)
        out.print(view)
    for period in verdict.periods:
        out.print(
            f"  {period.start[:16]}  {period.rows:>7,} rows  {', '.join(period.drifted) or 'as before'}"
        )
    known = result.performance
    if known and known.macro_f1 is not None:
        out.print(
            f"macro-F1 {known.macro_f1:.3f} ({known.low:.3f} to {known.high:.3f}) on {known.labels:,} labels"
        )
    if known and known.estimated is not None:
        trust = "" if known.trusted else ", not to be trusted: its confidence is not calibrated"
        out.print(f"macro-F1 by its confidence {known.estimated:.3f}{trust}")
    if result.report:
        out.print(f"report: {result.report}", soft_wrap=True)


if __name__ == "__main__":
    run_command(main)
