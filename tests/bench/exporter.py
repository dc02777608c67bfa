"""`task bench:exporter`: how long a scrape takes at 100 tables, 200 flows and 10,000 runs.

The exporter is a process of its own, as `task exporter` starts it, beside a real Prefect server. An answer
of a source is good for five seconds and scrapes are six apart, so that each asks every source; what ships
reads contracts and landing zones at every fourth scrape only.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from flows.config import CHECKOUT, Settings
from flows.errors import run_command
from flows.server import server
from observability.metrics import COLLECTOR_SECONDS, COLLECTOR_UP, SUCCESS_TIME, TABLE_ROWS
from tests.bench.watched_home import COMMITS, fill
from tests.factories import environment_of, free_port, settings_of
from tests.stack.programs import page

TABLES, FLOWS, RUNS = 100, 200, 10_000
FRESH, PAUSE = 5, 6.0
GOAL_SECONDS = 1.0


@contextmanager
def exporter(settings: Settings) -> Iterator[str]:
    """The exporter on this home; the address of its metrics, from when it answers."""
    said = {
        "contracts": settings.contracts,
        "exporter_port": settings.exporter_port,
        "listing_seconds": FRESH,
    }
    environment = environment_of(settings, **{f"WATCHKEEPER_{n.upper()}": str(v) for n, v in said.items()})
    command = [sys.executable, "-m", "flows.health.exporter"]
    process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        yield process.stderr.readline().strip()
    finally:
        process.terminate()
        process.communicate(timeout=30)


def scrape(url: str) -> tuple[float, dict[str, dict[str, float]], str]:
    """Seconds of a scrape; of each collector whether it answered and its own seconds; its text."""
    started = time.perf_counter()
    text = page(url)
    took = time.perf_counter() - started
    said: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        if family.name in (COLLECTOR_UP.name, COLLECTOR_SECONDS.name):
            said[family.name] = {sample.labels["collector"]: sample.value for sample in family.samples}
    return took, said, text


def measure(url: str, scrapes: int) -> None:
    """Print the first scrapes, then the collectors, then the figure."""
    for _ in range(10):
        took, said, text = scrape(url)
        silent = [name for name, up in said[COLLECTOR_UP.name].items() if not up]
        print(f"first: {took:.2f} s; without an answer: {', '.join(silent) or 'none'}", flush=True)
        if not silent:
            break
        time.sleep(PAUSE)
    whole, each = [], defaultdict(list)
    for _ in range(scrapes):
        time.sleep(PAUSE)
        took, said, text = scrape(url)
        assert all(said[COLLECTOR_UP.name].values()), said
        whole.append(took)
        for name, seconds in said[COLLECTOR_SECONDS.name].items():
            each[name].append(seconds)
    assert text.count(f"\n{TABLE_ROWS.name}{{") == TABLES
    assert text.count(f"\n{SUCCESS_TIME.name}{{") == FLOWS
    print("| collector | median, s | p95, s |\n|---|---:|---:|")
    for name, all_seconds in {**each, "a scrape": whole}.items():
        print(f"| {name} | {statistics.median(all_seconds):.3f} | {np.percentile(all_seconds, 95):.3f} |")
    share = float(np.percentile(whole, 95))
    met = "met" if share <= GOAL_SECONDS else "MISSED"
    print(f"p95 of a scrape: {share:.2f} s; goal {GOAL_SECONDS} s: {met}")


def main() -> int:
    """Fill a home, and scrape it."""
    args = argparse.ArgumentParser(prog="task bench:exporter --", description=__doc__)
    args.add_argument("--scrapes", type=int, default=40)
    args.add_argument("--quick", action="store_true", help="five scrapes")
    given = args.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings = settings_of(home, contracts=home / "contracts", exporter_port=free_port())
        fill(settings, TABLES, FLOWS, RUNS)
        print(
            f"{TABLES} tables of {COMMITS} snapshots, {FLOWS} flows and deployments, {RUNS} runs", flush=True
        )
        with server(settings), exporter(settings) as url:
            measure(url, 5 if given.quick else given.scrapes)
    return 0


if __name__ == "__main__":
    run_command(main)
