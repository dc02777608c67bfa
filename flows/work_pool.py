"""The deployments' work pool: made by `task deploy` where it is missing, else left as its owner set it."""

import json
from typing import Any

from flows.config import CHECKOUT, Settings
from flows.errors import WatchkeeperError

POD = CHECKOUT / "deployments" / "kubernetes" / "base-job-template.json"
"""What a run's pod is made of."""


def ensure_work_pool(settings: Settings) -> bool:
    """Make the pool unless it is there; say whether it was made.

    Raises:
        WatchkeeperError: a pool of that name is of another type.
    """
    # By the client: `prefect work-pool create` looks up the known types on the internet first.
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    name, kind = settings.work_pool, settings.work_pool_type
    wanted = WorkPoolCreate(name=name, type=kind, base_job_template=base_job_template(settings))
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(wanted)
            return True
        except ObjectAlreadyExists:
            found = client.read_work_pool(name)
    if found.type != kind:
        raise WatchkeeperError(
            f"work pool {name} is of type {found.type}, WATCHKEEPER_WORK_POOL_TYPE says {kind}; "
            "set WATCHKEEPER_WORK_POOL to another name, or delete the pool"
        )
    return False


def base_job_template(settings: Settings) -> dict[str, Any]:
    """What the pool makes a run of."""
    if settings.work_pool_type == "kubernetes":
        template: dict[str, Any] = json.loads(POD.read_text())
        return template
    from prefect.workers.process import ProcessWorker

    return ProcessWorker.get_default_base_job_template()
