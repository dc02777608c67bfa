"""Do what a worker does with one flow run: `python -m tests.faults.emr.worker FLOW_RUN_ID [COMMIT_FAULT]`.

The second argument makes the commit go wrong: `before kill`, `after kill`, `before fail` or `after fail`. The
product knows nothing of this: `Lake.commit` is replaced in this process.
"""

import os
import signal
import sys
from typing import Any
from uuid import UUID

from flows.config import load_settings
from flows.errors import WatchkeeperError, run_command
from flows.session import session


def spoil_commit(how: str) -> None:
    """Let the commit go wrong."""
    from flows.etl.lake import Lake

    when, fault = how.split()
    commit: Any = Lake.commit

    def spoiled(*arguments: Any, **options: Any) -> None:
        if when == "after":
            commit(*arguments, **options)
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise WatchkeeperError("the catalog was told to fail")

    setattr(Lake, "commit", spoiled)  # noqa: B010  # mypy refuses the assignment


def main() -> int:
    """Run the flow run, under its own id however often it is tried."""
    with session(load_settings()):
        from prefect.client.orchestration import get_client
        from prefect.flow_engine import run_flow
        from prefect.states import Pending

        from flows.etl.flow import etl

        if sys.argv[2:]:
            spoil_commit(sys.argv[2])
        with get_client(sync_client=True) as client:
            run = UUID(sys.argv[1])
            client.set_flow_run_state(run, Pending(), force=True)  # as a worker that has taken it
            flow_run = client.read_flow_run(run)
        run_flow(etl, flow_run=flow_run, parameters=flow_run.parameters)
    return 0


if __name__ == "__main__":
    run_command(main)
