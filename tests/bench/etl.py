"""`task bench:etl`: the ETL against the barest Spark program, process against process, in one run.

Each round runs the barest program and ours in turn, at 1x and at 10x the rows of the real retail data, each
in a new process on a new home. Prints medians and ratios; `docs/benchmarks.md` records them. The figures of
10x come from files of ten times the lines, each copy of a line with an invoice number of its own.
"""

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flows.config import CHECKOUT, Settings
from flows.errors import WatchkeeperError, run_command
from flows.etl.lake import Lake
from flows.etl.runners.local import LocalRunner
from flows.etl.sql import Query
from flows.server import server

BARE = Path(__file__).parent / "bare_etl.py"
TABLE = "online_retail.transactions"
ONE_CUSTOMER = (
    f"SELECT count(*), sum(quantity * unit_price) FROM {TABLE} WHERE customer_id = 17850 "
    "AND invoice_date >= '2010-12-01' AND invoice_date < '2011-01-01'"
)
WHOLE_CELL = (
    f"SELECT count(*) FROM {TABLE} WHERE customer_id = 17850 "
    "AND invoice_date >= '2010-12-01' AND invoice_date < '2011-01-01'"
)
GOALS = {
    "ours / barest at 1x": 1.3,
    "ours / barest at 10x": 1.15,
    "ours, time a row, 10x / 1x": 1.10,
    "files / cells": 1.0,
    "bytes scanned / bytes of the bucket": 1.2,
    "nothing new - an empty flow, s": 2.0,
}


def multiply(source: Path, target: Path, times: int) -> Path:
    """Files of `times` the lines: copy n of a line has n appended to its invoice number."""
    target.mkdir()
    for path in sorted(source.glob("*.csv.gz")):
        header, *lines = gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True)
        copies = [line.replace(",", f"{n},", 1) for n in range(times) for line in lines]
        (target / path.name).write_bytes(gzip.compress("".join([header, *copies]).encode(), 6, mtime=0))
    return target


def timed(work: Callable[[], object]) -> float:
    """Wall seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def run_bare(scratch: Path, source: Path) -> None:
    """The barest program, with the Spark settings that ours has."""
    folder = fresh(scratch / "bare")
    environment = LocalRunner(Settings(home=folder)).environment(folder)
    command = [sys.executable, str(BARE), str(source), str(folder / "out")]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def run_ours(scratch: Path, source: Path) -> dict[str, float]:
    """Our ETL without Prefect; returns the seconds of its steps."""
    command = [sys.executable, "-m", "tests.bench.our_etl", str(fresh(scratch / "ours")), str(source)]
    done = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    steps: dict[str, float] = json.loads(done.stdout)["steps"]
    return steps


def run_flow(home: Path, url: str, *command: str) -> None:
    """A whole command, on a Prefect server that runs."""
    settings = {"WATCHKEEPER_HOME": str(home), "WATCHKEEPER_PREFECT_API_URL": url}
    full = [sys.executable, "-m", *command]
    subprocess.run(full, cwd=CHECKOUT, env=os.environ | settings, check=True, capture_output=True)


def flows_overhead(scratch: Path, source: Path, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds of the command on new files, of the command when nothing is new, and of an empty flow."""
    new, again, empty = [], [], []
    etl = ("flows.etl", "--dataset", "online_retail", "--source", str(source))
    with server(Settings(home=scratch / "prefect")) as url:
        for _ in range(rounds):
            home = fresh(scratch / "flow")
            new.append(timed(lambda: run_flow(home, url, *etl)))  # noqa: B023
            again.append(timed(lambda: run_flow(home, url, *etl)))  # noqa: B023
            empty.append(timed(lambda: run_flow(home, url, "tests.bench.empty_flow")))  # noqa: B023
    return new, again, empty


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def alternate(scratch: Path, source: Path, rounds: int) -> tuple[list[float], list[float], dict[str, float]]:
    """Seconds of the barest program and of ours, in turn; and the steps of our last round."""
    bare, ours, steps = [], [], {}
    for number in range(rounds):
        bare.append(timed(lambda: run_bare(scratch, source)))
        started = time.perf_counter()
        steps = run_ours(scratch, source)
        ours.append(time.perf_counter() - started)
        print(f"  round {number + 1}: barest {bare[-1]:6.1f} s, ours {ours[-1]:6.1f} s", flush=True)
    return bare, ours, steps


def layout(home: Path) -> dict[str, float]:
    """Files against cells, and the bytes of a one-month, one-customer query against its bucket's file."""
    lake = Lake(Settings(home=home))
    table = lake.table(TABLE)
    assert table is not None
    tasks = list(table.scan().plan_files())
    cells = {repr(task.file.partition) for task in tasks}
    query = Query(lake, ONE_CUSTOMER)
    scanned, bucket = query.scans[0].bytes, Query(lake, WHOLE_CELL).scans[0]
    print(f"  {len(tasks)} files in {len(cells)} cells; {ONE_CUSTOMER[:40]}... reads {query.scans[0]}")
    return {
        "files / cells": len(tasks) / len(cells),
        "bytes scanned / bytes of the bucket": scanned / bucket.bytes,
    }


def main() -> int:
    """Measure, and say which goals are met."""
    args = argparse.ArgumentParser(prog="task bench:etl --", description=__doc__)
    args.add_argument("--data", type=Path, default=CHECKOUT.parent / "shared" / "data" / "retail")
    args.add_argument("--rounds", type=int, default=5)
    args.add_argument("--quick", action="store_true", help="one round")
    given = args.parse_args()
    if not any(given.data.glob("*.csv.gz")):
        raise WatchkeeperError(f"no *.csv.gz in {given.data}; --data FOLDER names the retail files")
    rounds = 1 if given.quick else given.rounds
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given.data.resolve(), rounds)
    return 0


def measure(scratch: Path, source: Path, rounds: int) -> None:
    """One run of everything."""
    print(f"1x: {source.name}, {rounds} rounds")
    bare, ours, steps = alternate(scratch, source, rounds)
    figures = layout(scratch / "ours")
    flow, again, empty = flows_overhead(scratch, source, rounds)
    print(f"10x: ten times the lines, {rounds} rounds")
    bare10, ours10, steps10 = alternate(scratch, multiply(source, scratch / "tenfold", 10), rounds)
    median = statistics.median
    figures |= {
        "ours / barest at 1x": median(o / b for o, b in zip(ours, bare, strict=True)),
        "ours / barest at 10x": median(o / b for o, b in zip(ours10, bare10, strict=True)),
        "ours, time a row, 10x / 1x": median(ours10) / median(ours) / 10,
        "nothing new - an empty flow, s": median(a - e for a, e in zip(again, empty, strict=True)),
    }
    print(
        f"medians, s: barest {median(bare):.1f} and {median(bare10):.1f}, ours {median(ours):.1f} and "
        f"{median(ours10):.1f}; the flow adds {median(flow) - median(ours):.1f} at 1x; "
        f"nothing new {median(again):.1f}, an empty flow {median(empty):.1f}"
    )
    for label, marks in (("1x", steps), ("10x", steps10)):
        print(f"steps at {label}, s: " + ", ".join(f"{name} {value:.1f}" for name, value in marks.items()))
    for name, goal in GOALS.items():
        met = "met" if figures[name] <= goal else "MISSED"
        print(f"{name:<40} {figures[name]:6.2f}   goal at most {goal:<5} {met}")


if __name__ == "__main__":
    run_command(main)
