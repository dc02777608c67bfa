"""Deploys what `prefect.yaml` declares: called by `python -m flows.server deploy`.

It promises the same state however often it runs: the work pool is there, as its owner has set it,
and every deployment is as the file says. A schedule that was switched on in the UI is off again.
"""

import os
import subprocess
import sys

import yaml

from flows.config import CHECKOUT, Settings
from flows.errors import WatchkeeperError
from flows.prefect_env import apply_prefect_environment

WORK_POOL = "watchkeeper"


def deploy(settings: Settings) -> None:
    """Create the work pool if it is missing, and create or update each deployment.

    The server is the shared one or this home's own, which must run.

    Raises:
        WatchkeeperError: Prefect refuses, in its own words.
    """
    apply_prefect_environment(settings)
    _ensure_work_pool()
    _deploy_all()
    for deployment in yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]:
        print(f"deployed {deployment['name']}")
    print(f"run them with: python -m flows.prefect_cli worker start --pool {WORK_POOL}")


def _ensure_work_pool() -> None:
    # By the client: `prefect work-pool create` looks up the known types on the internet first.
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    pool = WorkPoolCreate(name=WORK_POOL, type="process", base_job_template=template)
    try:
        with get_client(sync_client=True) as client:
            client.create_work_pool(pool)
        print(f"created work pool {WORK_POOL}")
    except ObjectAlreadyExists:
        pass
    except httpx.HTTPError as error:
        # Its text is left out, since the URL in it may hold a password.
        raise WatchkeeperError(f"the Prefect server cannot be used: {type(error).__name__}") from None


def _deploy_all() -> None:
    command = [sys.executable, "-m", "flows.prefect_cli", "--no-prompt", "deploy", "--all"]
    wide = os.environ | {"COLUMNS": "200"}  # Prefect wraps its messages, and cuts paths with them.
    done = subprocess.run(command, cwd=CHECKOUT, env=wide, capture_output=True, text=True)
    if done.returncode != 0:
        # Its last words, out of their frame: which deployment, and why not.
        said = [line.strip(" ╭─╮│╰╯") for line in (done.stderr + done.stdout).splitlines()]
        raise WatchkeeperError("`prefect deploy` failed: " + ": ".join(list(filter(None, said))[-2:]))
