"""`task quarantine`: the rows that broke a rule, and why; `--replay` runs them again."""

import argparse
import csv
import json
import sys

import pyarrow as pa
from rich.markup import escape

from flows.config import Settings, load_settings
from flows.console import out
from flows.errors import WatchkeeperError, run_command
from flows.etl import scores
from flows.etl.contract import Contract
from flows.etl.datasets import load_table
from flows.etl.lake import Lake
from flows.etl.quality import by_count
from flows.etl.quarantine import SCHEMA, count_by_rule, read_open
from flows.etl.sources import Sources
from flows.etl.staged import parquet_below
from flows.paths import read_rows
from flows.s3_path import AnyPath
from flows.session import session


def main() -> int:
    """Show the quarantine, or replay it."""
    args = argparse.ArgumentParser(prog="task quarantine --", description=__doc__)
    args.add_argument("--dataset", required=True)
    args.add_argument("--table", required=True)
    args.add_argument(
        "--run", help="the rows of one run, also of one that failed; all that are open unless said"
    )
    args.add_argument("--limit", type=int, default=20, help="rows to show (default 20); 0 shows all")
    args.add_argument("--format", choices=("table", "csv", "json"), default="table")
    args.add_argument("--replay", action="store_true", help="run the files of these rows again")
    given = args.parse_args()
    settings = load_settings()
    contract = contract_of(settings, given.dataset, given.table)
    if given.replay and contract.dataset == scores.DATASET:
        raise WatchkeeperError("pictures stay at their source: run `task score -- --source FOLDER --replay`")
    if given.replay:
        return replay(settings, contract)
    lake = Lake(settings)
    known = lake.sources(lake.table(contract.identifier))
    folder = settings.quarantine / contract.dataset / contract.table
    rows = read_run(folder, given.run) if given.run else read_open(folder, known)
    shown = rows.slice(0, given.limit or None)
    show(shown, rows, known, given.format)
    return 0


def contract_of(settings: Settings, dataset: str, table: str) -> Contract:
    """The table's contract.

    Raises:
        WatchkeeperError: there is none.
    """
    if dataset == scores.DATASET:
        return scores.contract_of_table(table)
    return load_table(settings.contracts, dataset, table)


def read_run(folder: AnyPath, run: str) -> pa.Table:
    """The rows that one run quarantined."""
    path = folder / f"{run}.parquet"
    if not path.is_file():
        runs = ", ".join(file.stem for file in parquet_below(folder)) or "none"
        raise WatchkeeperError(f"run {run!r} has no quarantined rows here; runs that have: {runs}")
    return read_rows(path)


def show(shown: pa.Table, rows: pa.Table, known: Sources, form: str) -> None:
    """Print the rows; for people also the counts and the files that could not be read."""
    if form == "json":
        print(json.dumps(shown.to_pylist()))
    elif form == "csv":
        writer = csv.DictWriter(sys.stdout, SCHEMA.names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(shown.to_pylist())
    else:
        for row in shown.to_pylist():
            line = f":{row['line']}" if row["line"] else ""
            place = escape(row["source_file"] + line)
            out.print(f"[bold]{place}[/]  [yellow]{row['rule']}[/]", soft_wrap=True)
            out.print(f"    {row['raw']}", markup=False, soft_wrap=True)
        counts = ", ".join(f"{rule} {count:,}" for rule, count in by_count(count_by_rule(rows)))
        out.print(f"{len(shown):,} of {len(rows):,} rows shown" + (f": {counts}" if counts else ""))
        for path, entry in known.rejected.items():
            said = escape(f"could not be read: {entry.reason}")
            out.print(f"file [bold]{escape(path)}[/] {said}", soft_wrap=True)


def replay(settings: Settings, contract: Contract) -> int:
    """Run the source files with quarantined rows again, under today's contract."""
    lake = Lake(settings)
    known = lake.sources(lake.table(contract.identifier))
    if not known.quarantined and not known.rejected:
        out.print(f"nothing of {contract.identifier} is in quarantine")
        return 0
    with session(settings):
        from flows.etl.flow import etl
        from flows.etl.report import print_summary

        summary = etl(contract.dataset, replay_table=contract.table)
    print_summary(summary.tables)
    return 0


if __name__ == "__main__":
    run_command(main)
