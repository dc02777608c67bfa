"""`prefect.yaml` as these settings want it: which work pool, and where a run's code comes from.

Prefect can put values into that file but not choose between steps, so it is given a copy: `run/prefect.yaml`
of the home, written anew by `task deploy` and by each `deploy` of `flows.prefect_cli`. The copy holds no
secret: it names the blocks and variables that `flows.deploy` keeps on the server.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from flows.config import CHECKOUT, Settings

FILE = CHECKOUT / "prefect.yaml"
REPOSITORY, BRANCH = "watchkeeper_repository", "watchkeeper_branch"
"""Prefect variables, which a run reads when it begins."""
CLONE = "prefect.deployments.steps.git_clone"


def read() -> dict[str, Any]:
    """The file as it is in the checkout."""
    document: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return document


def write_copy(settings: Settings) -> Path:
    """Write the copy for these settings."""
    settings.run.mkdir(parents=True, exist_ok=True)
    path = settings.run / "prefect.yaml"
    path.write_text(yaml.safe_dump(rendered(read(), settings), sort_keys=False, allow_unicode=True))
    return path


def rendered(document: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The file's content with the work pool and the pull steps of these settings."""
    done = deepcopy(document)
    done["pull"] = pull_steps(done["definitions"]["pull"], settings)
    for deployment in done["deployments"]:
        pool = deployment["work_pool"]
        variables = {k: v for k, v in pool.get("job_variables", {}).items() if k != "working_dir"}
        deployment["work_pool"] = {
            **pool,
            "name": settings.work_pool,
            "job_variables": variables | job_variables(settings),
        }
    return done


def pull_steps(known: dict[str, list[dict[str, Any]]], settings: Settings) -> list[dict[str, Any]]:
    """The steps that bring a run its code: of a clone, of the image, or of the worker's checkout."""
    if settings.repository is None:
        return known["image" if settings.work_pool_type == "kubernetes" else "checkout"]
    steps = deepcopy(known["git"])
    clone = next(step[CLONE] for step in steps if CLONE in step)
    if settings.branch is None:
        del clone["branch"]
    block = token_block(settings)
    if block is None:
        del clone["access_token"]
    else:
        clone["access_token"] = f"{{{{ prefect.blocks.secret.{block} }}}}"
    return steps


def job_variables(settings: Settings) -> dict[str, str]:
    """What the work pool's template is told of each run.

    A clone gets the temporary folder that a process worker makes without a `working_dir`: the code of the
    worker's own folder would come first otherwise, and a run whose code another run pulls away under it would
    import half of each.
    """
    if settings.work_pool_type == "kubernetes":
        return {"image": settings.kubernetes_image, "namespace": settings.kubernetes_namespace}
    return {} if settings.repository else {"working_dir": "."}


def token_block(settings: Settings) -> str | None:
    """Name of the Secret block with the repository's token; None where it needs none."""
    if settings.repository is None:
        return None
    return settings.repository_block or ("watchkeeper-repository" if settings.repository_token else None)
