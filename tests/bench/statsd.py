"""`task bench:statsd`: what a StatsD that cannot be reached costs a run.

A run is a process that works, tells of its steps as an ETL run does, and ends: from its first step until it
has nothing left to tell. Its work is waiting, so that other processes of the machine hardly count. Beside one
that tells nothing, StatsD listens, is not there, has a name that nobody knows, or never answers. A run of
11.5 s, the default, ends amid the second try of a connection, which costs most.
"""

import argparse
import atexit
import os
import socket
import subprocess
import sys
import time

from flows.config import CHECKOUT
from flows.errors import run_command
from observability import emit
from observability.metrics import ETL_ROWS, ETL_STEP_SECONDS
from tests.factories import free_port

STEPS = 50
TABLE = {"dataset": "hm", "table": "articles"}
GOAL_RATIO = 0.01
NOWHERE = "10.255.255.1"
"""An address to which packets go and from which none come, on most machines."""


def work(seconds: float, telling: bool) -> None:
    """A run's steps; prints how long they and the process's end take."""
    started = time.perf_counter()
    # Registered before what `emit` registers, so called after it.
    atexit.register(lambda: print(time.perf_counter() - started))
    for _ in range(STEPS):
        if telling:
            with emit.timed(ETL_STEP_SECONDS, **TABLE, step="land"):
                time.sleep(seconds / STEPS)
            emit.count(ETL_ROWS, 1, **TABLE, outcome="committed")
        else:
            time.sleep(seconds / STEPS)


def run(seconds: float, environment: dict[str, str]) -> float:
    """Seconds of one run; it tells nothing where the environment names no StatsD."""
    command = [sys.executable, "-m", "tests.bench.statsd", "--seconds", f"{seconds}", "--work"]
    told = [*command, "telling"] if environment else [*command, "silent"]
    full = os.environ | environment
    done = subprocess.run(told, cwd=CHECKOUT, env=full, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def settings(host: str, port: int, protocol: str) -> dict[str, str]:
    """The environment of a run that tells StatsD there."""
    said = {"host": host, "port": str(port), "protocol": protocol}
    return {f"WATCHKEEPER_STATSD_{name.upper()}": value for name, value in said.items()}


def main() -> int:
    """Measure the runs in turn."""
    args = argparse.ArgumentParser(prog="task bench:statsd --", description=__doc__)
    args.add_argument("--seconds", type=float, default=11.5, help="that a run works")
    args.add_argument("--rounds", type=int, default=5)
    args.add_argument("--quick", action="store_true", help="one round")
    args.add_argument("--work", choices=("telling", "silent"), help=argparse.SUPPRESS)
    given = args.parse_args()
    if given.work:
        work(given.seconds, given.work == "telling")
        return 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        contenders = {
            "nothing told": {},
            "UDP, listening": settings("127.0.0.1", port, "udp"),
            "UDP, nobody there": settings("127.0.0.1", free_port(), "udp"),
            "UDP, no such name": settings("statsd.invalid", port, "udp"),
            "TCP, nobody there": settings("127.0.0.1", free_port(), "tcp"),
            "TCP, no answer": settings(NOWHERE, port, "tcp"),
        }
        took: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(1 if given.quick else given.rounds):
            for name, environment in contenders.items():
                took[name].append(run(given.seconds, environment))
    report(took)
    return 0


def report(took: dict[str, list[float]]) -> None:
    """Print the table, of the quickest runs: what else the machine does only adds."""
    base = min(took["nothing told"])
    print("| StatsD | a run, s | more | |\n|---|---:|---:|---|")
    for name, seconds in took.items():
        more = min(seconds) / base - 1
        print(f"| {name} | {min(seconds):.3f} | {more:.2%} | {'met' if more <= GOAL_RATIO else 'MISSED'} |")


if __name__ == "__main__":
    run_command(main)
