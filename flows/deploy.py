"""Deploys what `prefect.yaml` declares: called by `python -m flows.server deploy`.

It promises the same state however often it runs: the work pool is there, as its owner has set it,
the variables and the block that runs read are as the settings say, and every deployment is as the
file says. A schedule that was switched on in the UI is off again.
"""

import os
import subprocess
import sys

from flows.config import CHECKOUT, Settings
from flows.errors import WatchkeeperError
from flows.prefect_env import apply_prefect_environment
from flows.prefect_file import BRANCH, REPOSITORY, read, token_block
from flows.work_pool import ensure_work_pool


def deploy(settings: Settings) -> None:
    """Make what runs need, the pool first, then create or update each deployment.

    The server is the shared one or this home's own, which must run.

    Raises:
        WatchkeeperError: Prefect refuses, in its own words.
    """
    apply_prefect_environment(settings)
    _ensure_what_runs_need(settings)
    _deploy_all()
    for deployment in read()["deployments"]:
        print(f"deployed {deployment['name']}")
    code = settings.repository or "the worker's own code"
    print(f"work pool {settings.work_pool} ({settings.work_pool_type}), {code}; run them with: task worker")


def _ensure_what_runs_need(settings: Settings) -> None:
    import httpx
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        if ensure_work_pool(settings):
            print(f"created work pool {settings.work_pool}")
        _set_variables(settings)
        _keep_token(settings)
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        # Its text is left out, since the URL in it may hold a password.
        raise WatchkeeperError(f"the Prefect server cannot be used: {type(error).__name__}") from None


def _set_variables(settings: Settings) -> None:
    from prefect.variables import Variable

    for name, value in ((REPOSITORY, settings.repository), (BRANCH, settings.branch)):
        before = Variable.get(name)
        if value is None and before is not None:
            Variable.unset(name)
        elif value is not None and before != value:
            Variable.set(name, value, overwrite=True)
            print(f"set variable {name} to {value}")


def _keep_token(settings: Settings) -> None:
    from prefect.blocks.system import Secret

    block = token_block(settings)
    if block is None:
        return
    if settings.repository_token:
        Secret(value=settings.repository_token).save(block, overwrite=True)
        return
    try:
        Secret.load(block)
    except ValueError:
        raise WatchkeeperError(
            f"WATCHKEEPER_REPOSITORY_BLOCK names the Secret block {block}, which the Prefect server does not"
            " have; make it there, or set WATCHKEEPER_REPOSITORY_TOKEN"
        ) from None


def _deploy_all() -> None:
    command = [sys.executable, "-m", "flows.prefect_cli", "--no-prompt", "deploy", "--all"]
    wide = os.environ | {"COLUMNS": "200"}  # Prefect wraps its messages, and cuts paths with them.
    done = subprocess.run(command, cwd=CHECKOUT, env=wide, capture_output=True, text=True)
    if done.returncode != 0:
        # Its last words, out of their frame: which deployment, and why not.
        said = [line.strip(" ╭─╮│╰╯") for line in (done.stderr + done.stdout).splitlines()]
        raise WatchkeeperError("`prefect deploy` failed: " + ": ".join(list(filter(None, said))[-2:]))
