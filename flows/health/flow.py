"""The health flow: asks every dependency, keeps what it found for the exporter, and fails for none of it.

Run by `task health` and its deployment. A dependency that fails is told by the alerts that read what is kept,
once and not at each run; a run that fails is one that could not ask or keep.
"""

import time

from prefect import flow, get_run_logger

from flows.artifacts import create_table_artifact
from flows.config import load_settings
from flows.health.probes import PROBES
from flows.health.probing import Result, ask_all, write
from flows.watched import watched


@watched
@flow(name="health", persist_result=False)
def health() -> list[Result]:
    """Ask all, side by side, each with a deadline of its own."""
    settings = load_settings()
    results = ask_all(settings, PROBES)
    write(settings, results, time.time())
    for result in results:
        if result.outcome == "failing":
            get_run_logger().warning("%s: %s", result.probe, result.said)
    rows = [
        {"probe": each.probe, "outcome": each.outcome, "seconds": each.seconds, "said": each.said}
        for each in results
    ]
    failing = sum(result.outcome == "failing" for result in results)
    create_table_artifact(key="health", table=rows, description=f"{failing} of {len(results)} fail")
    return results
