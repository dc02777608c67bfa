"""Our ETL without Prefect, as a process: `python -m tests.bench.our_etl HOME SOURCE`."""

import json
import sys
import time
from pathlib import Path

started = time.perf_counter()

from flows.config import CHECKOUT, Settings  # noqa: E402
from flows.etl import steps  # noqa: E402
from flows.etl.contract_file import load_contract  # noqa: E402
from flows.etl.plan import Again, make_plan  # noqa: E402
from flows.etl.runners.life import Engine  # noqa: E402
from flows.etl.runners.local import LocalRunner  # noqa: E402


def main(home: str, source: str) -> None:
    """The flow's steps in the flow's order; prints the seconds of each as JSON."""
    marks = {"imports": time.perf_counter() - started}

    def mark(name: str, since: float) -> float:
        marks[name] = time.perf_counter() - since
        return time.perf_counter()

    settings = Settings(home=Path(home))
    contract = load_contract(CHECKOUT / "flows" / "etl" / "contracts" / "online_retail" / "transactions.yaml")
    moment = time.perf_counter()
    plan = make_plan(settings, contract, source, Again())
    moment = mark("land", moment)
    staged = steps.run_spark(settings, plan, Engine(LocalRunner(settings)))
    moment = mark("spark", moment)
    steps.reach_verdict(settings, plan, staged)
    result = steps.commit(settings, plan, staged, "bench")
    mark("commit", moment)
    steps.discard(plan)
    print(json.dumps({"steps": marks, "files": result.files, "rows": result.rows_in}))


if __name__ == "__main__":
    main(*sys.argv[1:])
