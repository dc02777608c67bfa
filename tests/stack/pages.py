"""A home in which what the runbooks ask about has happened.

Names are those of the pages (`garments`, `hm.articles`, `etl-hm`), so that their commands run as they are
written.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import yaml

from flows.config import CHECKOUT
from flows.drift import verdicts
from flows.retrain.runs import Run, record
from flows.server import running_server
from services.bento.store import LocalStore
from tests.factories import SHIPPED, free_port, write_csv
from tests.serving import picture
from tests.slack import fake_slack
from tests.stack.causes import ITEMS, add, deployment, run_of
from tests.stack.watching import Stack
from tests.traffic import drawn
from tests.versions import IMAGE, sign, write_version

PATIENCE = 300.0
"""Seconds that a part may take to begin, on a machine that does much else."""


@contextmanager
def home_of_the_pages(folder: Path) -> Iterator[Stack]:
    """A watch on it."""
    with ExitStack() as ended:
        made = Stack(folder, ended.enter_context(fake_slack()))
        models(made)
        contracts(made)
        ended.enter_context(made.watched())
        trouble(made)
        made.until(lambda: made.holds('up{job="prefect"} == 1'), "the Prefect server", PATIENCE)
        made.run("flows.server", "deploy")
        rows(made)
        runs(made)
        made.until(lambda: made.holds('up{job="serve"} == 1'), "the service", PATIENCE)
        requests(made)
        made.run("flows.health")
        for seen in SEEN:
            made.until(lambda seen=seen: made.holds(seen), seen, PATIENCE)  # type: ignore[misc]
        yield made


SEEN = (
    "up == 0",
    "watchkeeper_flow_late_runs > 0",
    "watchkeeper_flow_scheduled_runs > 0",
    "watchkeeper_worker_heartbeat_timestamp_seconds",
    'watchkeeper_flow_last_run_state{flow="etl",outcome="failed"} == 1',
    'watchkeeper_table_commit_rows{dataset="hm",table="transactions"}',
    "rate(watchkeeper_serve_inference_seconds_count[5m]) > 0",
    "rate(watchkeeper_serve_rejected_total[5m]) > 0",
    "increase(watchkeeper_serve_log_rows_total[15m]) > 0",
    'watchkeeper_landing_files{dataset="serving"} > 0',
    "watchkeeper_table_orphan_files > 0",
    "watchkeeper_probe_success",
    "increase(prometheus_rule_evaluation_failures_total[5m]) > 0",
)
"""What Prometheus has heard of before a command is run."""


def models(stack: Stack) -> None:
    """Two champions one after the other, then three challengers that were refused, and a training."""
    known = add(stack, "garments", "spring")
    known.promote("spring", None)
    fields = {**IMAGE, "model": "garments", "version": "summer", "metrics": {"validation_macro_f1": 0.8}}
    summer = write_version(stack.folder / "summer", fields)
    reference = drawn(400, 1, datetime.now(UTC), ("garments", "summer"))
    pq.write_table(reference, summer / "reference.parquet")
    sign(summer, fields)
    known.promote(known.add(summer), "spring")
    for _ in range(3):
        known.append("rejected", "spring", reason="macro-F1 is lower")
    when = datetime.now(UTC).isoformat()
    one = Run("0001", "training", when, "", 1, 0, {"epochs": 1}, "rejected", 60.0, "spring")
    record(LocalStore(stack.settings.registry), "garments", one)


def contracts(stack: Stack) -> None:
    """Two small tables of `hm`, and the prediction log as it ships."""
    for table in ("articles", "transactions"):
        path = stack.contracts / "hm" / f"{table}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(ITEMS | {"source": {"pattern": f"{table}*.csv", "format": "csv"}}))
    shutil.copytree(SHIPPED / "serving", stack.contracts / "serving")


def rows(stack: Stack) -> None:
    """A commit of both tables with one bad row, then a run that fails: in its file nothing is good."""
    arrive(stack, "articles-1", [1, 2, 3, -1])
    arrive(stack, "transactions-1", [1, 2, 3])
    stack.run("flows.etl", "--dataset", "hm")
    arrive(stack, "transactions-2", [-1, -2])
    orphan = stack.settings.home / "lake" / "hm" / "articles" / "data" / "orphan.parquet"
    orphan.write_bytes(b"half")
    long_ago(orphan, 7 * 24)
    command = [sys.executable, "-m", "flows.etl", "--dataset", "hm"]
    done = subprocess.run(command, cwd=CHECKOUT, env=stack.environment, capture_output=True, timeout=400)
    assert done.returncode, "a file without a good row was committed"


def arrive(stack: Stack, name: str, prices: list[int]) -> None:
    """A file in the landing zone; a price below zero is bad."""
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    told = [[number, price, when] for number, price in enumerate(prices)]
    write_csv(stack.settings.landing / "hm" / f"{name}.csv", told, ["id", "price", "at"])


def runs(stack: Stack) -> None:
    """One that nobody takes, one of `etl-hm` that goes on and has said something, one that is planned."""
    nightly = {"schedule": {"cron": "0 3 * * *", "timezone": "UTC"}, "active": True}
    deployment(stack, "nightly", schedules=[nightly])
    _, waiting = deployment(stack, "waiting")
    run_of(stack, waiting, "SCHEDULED")
    going = run_of(stack, stack.prefect("GET", "/deployments/name/etl/etl-hm")["id"], "RUNNING")
    said = {"name": "etl", "level": 20, "message": "Spark has begun", "flow_run_id": going}
    lines = [said | {"timestamp": datetime.now(UTC).isoformat()}]
    httpx.post(
        f"{running_server(stack.settings)}/logs/", json=lines, timeout=60, trust_env=False
    ).raise_for_status()


def trouble(stack: Stack) -> None:
    """Drift that is confirmed, a live score that fell and cannot be matched with one, a host that is gone."""
    column = {"score": 0.5, "threshold": 0.2, "drifted": True}
    live = {"labels": 500, "macro_f1": 0.4, "low": 0.35, "high": 0.45, "estimated": None, "trusted": False}
    said = {
        "of_now": True,
        "outcome": "confirmed",
        "reason": "model.garments: label has drifted",
        "when": datetime.now(UTC).isoformat(),
        "columns": {"label": column},
        "performance": live,
        "report": "report.html",
    }
    verdicts.write(verdicts.new_folder(stack.settings, "model.garments"), said)
    (stack.textfiles / "twin.prom").write_text('watchkeeper_champion_score_ratio{model="garments"} 0.8\n')
    gone = [{"targets": [f"127.0.0.1:{free_port()}"]}]
    (stack.settings.run / "watch" / "targets" / "node-gone.yml").write_text(yaml.safe_dump(gone))


def requests(stack: Stack) -> None:
    """Pictures that are answered, some that are none, and a log that has been waiting since this morning."""
    send(stack)
    for series in ("watchkeeper_serve_inference_seconds_count", "watchkeeper_serve_rejected_total"):
        stack.until(lambda series=series: stack.holds(series), series, PATIENCE)  # type: ignore[misc]
    send(stack)  # a counter has a rate from its second value on
    landing = stack.settings.landing / "serving"
    stack.until(lambda: any(landing.rglob("*.parquet")), "the prediction log")
    long_ago(next(landing.rglob("*.parquet")), 8)


def send(stack: Stack) -> None:
    """Some of each."""
    for light in range(100, 140):
        stack.service.predict(picture(light))
        stack.service.predict(b"no picture")


def long_ago(path: Path, hours: float) -> None:
    """A file was written then."""
    then = time.time() - hours * 3600
    os.utime(path, (then, then))
