"""What a run leaves for people: `summary.json`, Prefect artifacts, metrics and the closing table."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from prefect.events import emit_event
from rich.table import Table

from flows.artifacts import create_link_artifact, create_table_artifact
from flows.config import Settings
from flows.console import mebibytes, out
from flows.etl.contract import Contract
from flows.etl.engine import total
from flows.etl.plan import Plan
from flows.etl.quality import Verdict, by_count
from flows.etl.runners.base import Cost
from flows.etl.steps import TableResult
from observability import emit
from observability.metrics import ETL_FILES, ETL_ROWS, ETL_RUNS, ETL_WRITTEN


class Summary:
    """The results of one flow run, written to `summary.json` of the home when it ends, however it ends."""

    def __init__(self, settings: Settings, costs: list[Cost]) -> None:
        self.path, self.costs = settings.home / "summary.json", costs
        self.tables: dict[str, TableResult] = {}
        self._started = time.perf_counter()

    @contextmanager
    def table(self, identifier: str) -> Iterator[Callable[[TableResult], None]]:
        """Record one table's result; what raises is recorded as failed, and goes on."""
        self.tables[identifier] = TableResult("failed")
        started = time.perf_counter()

        def record(result: TableResult) -> None:
            self.tables[identifier] = result

        try:
            yield record
        finally:
            result = self.tables[identifier]
            result.seconds = round(time.perf_counter() - started, 3)
            self.emit(identifier, result)
            self.write()

    def emit(self, identifier: str, result: TableResult) -> None:
        """Send the result's metrics."""
        emit_metrics(identifier, result)

    def figures(self) -> dict[str, str]:
        """For the message of a success: what became of each table, and what that cost."""
        tables = {
            name: f"{r.outcome}, {r.rows_committed:,} of {r.rows_in:,} rows, {r.rows_quarantined:,} bad"
            for name, r in self.tables.items()
        }
        return tables | total(self.costs)

    @property
    def seconds(self) -> float:
        """Since the run started."""
        return round(time.perf_counter() - self._started, 3)

    def write(self) -> None:
        """Replace `summary.json` at once."""
        tables = {name: asdict(result) for name, result in self.tables.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"seconds": self.seconds, "tables": tables}, indent=2) + "\n")
        temporary.replace(self.path)


def emit_metrics(identifier: str, result: TableResult) -> None:
    """Send the run's counts by StatsD."""
    dataset, table = identifier.split(".")
    labels = {"dataset": dataset, "table": table}
    emit.count(ETL_RUNS, 1, **labels, outcome=result.outcome)
    emit.count(ETL_ROWS, result.rows_committed, **labels, outcome="committed")
    emit.count(ETL_ROWS, result.rows_quarantined, **labels, outcome="quarantined")
    emit.count(ETL_ROWS, result.rows_duplicate, **labels, outcome="duplicate")
    emit.count(ETL_FILES, result.source_files, **labels, outcome="committed")
    emit.count(ETL_FILES, result.files_quarantined, **labels, outcome="quarantined")
    emit.count(ETL_WRITTEN, result.bytes, **labels)


def publish(
    settings: Settings, contract: Contract, plan: Plan, verdict: Verdict, result: TableResult
) -> None:
    """Prefect artifacts of a table's run: its counts and verdict, and the way to its quarantine."""
    key = contract.identifier.replace(".", "-").replace("_", "-")
    rows: list[dict[str, object]] = [
        {"fact": name.replace("_", " "), "value": value}
        for name, value in asdict(result).items()
        if name != "quarantined_by_rule"
    ]
    rows += [{"fact": f"quarantined: {rule}", "value": n} for rule, n in by_count(result.quarantined_by_rule)]
    rows += [
        {"fact": f"file quarantined: {a.path}", "value": a.finding.reason} for a in plan.landing.rejected
    ]
    rows += [{"fact": "verdict", "value": "; ".join([verdict.outcome, *verdict.reasons])}]
    create_table_artifact(key=f"etl-{key}", table=rows, description=f"ETL of {contract.identifier}")
    emit_event(
        event="watchkeeper.lake.committed",
        resource={"prefect.resource.id": f"watchkeeper.lake.{contract.identifier}"},
        payload={
            "table": contract.identifier,
            "snapshot_id": result.snapshot_id,
            "rows": result.rows_committed,
        },
    )
    if result.rows_quarantined:
        path = settings.quarantine / contract.dataset / contract.table / f"{plan.run}.parquet"
        create_link_artifact(
            key=f"quarantine-{key}",
            link=path.as_uri(),
            description=f"Rows that broke a rule; read them with `{quarantine_command(contract.identifier)}`",
        )


def quarantine_command(identifier: str) -> str:
    """The command that shows a table's quarantine."""
    dataset, table = identifier.split(".")
    return f"task quarantine -- --dataset {dataset} --table {table}"


def print_summary(tables: dict[str, TableResult]) -> None:
    """The closing table, and below it each rule that rows broke."""
    view = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    view.add_column("table", no_wrap=True)
    for name in ("rows in", "committed", "bad", "copies", "files", "size", "seconds"):
        view.add_column(name, justify="right", no_wrap=True)
    for name, r in tables.items():
        counts = [
            f"{n:,}" for n in (r.rows_in, r.rows_committed, r.rows_quarantined, r.rows_duplicate, r.files)
        ]
        style = {"failed": "red", "unchanged": "dim"}.get(r.outcome)
        view.add_row(name, *counts, mebibytes(r.bytes), f"{r.seconds:.1f}", style=style)
    out.print(view)
    for name, r in tables.items():
        if r.outcome != "committed":
            out.print(f"{name}: {r.outcome}")
        if r.rows_quarantined or r.files_quarantined:
            out.print(f"\nquarantined of {name} (see [bold]{quarantine_command(name)}[/])", soft_wrap=True)
            for rule, count in by_count(r.quarantined_by_rule):
                out.print(f"  {count:>7,}  {rule}")
            if r.files_quarantined:
                out.print(f"  {r.files_quarantined:>7,}  files that cannot be read whole")
