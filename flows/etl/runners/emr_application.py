"""The EMR Serverless application that jobs run on: found by id or name, or created."""

import time
from datetime import UTC, datetime
from typing import Any

from flows.etl.runners.aws import Aws, told
from flows.etl.runners.base import SparkJobError, UnansweredError, digest

ALIVE = ["CREATING", "CREATED", "STARTING", "STARTED", "STOPPING", "STOPPED"]
IDLE = ["CREATED", "STOPPED", "TERMINATED"]
CREATE_SECONDS = 300.0
REMOVE_SECONDS = 60.0
REMOVED = 10
"""Applications of one day that were removed, before a new one is given up."""
MEANT = {
    "image": "emr_serverless_image",
    "release": "emr_release",
    "capacity": "emr_serverless_vcpus",
    "name": "emr_serverless_application",
}


def find_application(aws: Aws, client: Any) -> str | None:  # noqa: ANN401  # boto3 has no types
    """Id of the application that the settings name by its id or name; the oldest where several have it."""
    wanted = aws.settings.emr_serverless_application
    with told("looking for the EMR Serverless application"):
        pages = client.get_paginator("list_applications").paginate(states=ALIVE)
        alive = [each for page in pages for each in page["applications"]]
    if any(each["id"] == wanted for each in alive):
        return wanted
    named = [each for each in alive if each.get("name") == wanted]
    return min(named, key=lambda each: each["createdAt"])["id"] if named else None


def create_application(aws: Aws, client: Any) -> str:  # noqa: ANN401
    """Create the application, which starts with its first job and stops when it is idle; returns its id.

    Raises:
        SparkJobError: it cannot be created; what began to be is removed.
    """
    settings = aws.settings
    asked = {
        "name": settings.emr_serverless_application,
        "type": "SPARK",
        "releaseLabel": settings.emr_release,
        "tags": aws.own_tags,
        "autoStartConfiguration": {"enabled": True},
        "autoStopConfiguration": {
            "enabled": True,
            "idleTimeoutMinutes": settings.emr_serverless_idle_minutes,
        },
        "maximumCapacity": {
            "cpu": f"{settings.emr_serverless_vcpus} vCPU",
            # EMR's largest share of memory to a vCPU; what costs money is what jobs ask for.
            "memory": f"{8 * settings.emr_serverless_vcpus} GB",
            "disk": f"{200 * settings.emr_serverless_vcpus} GB",
        },
    }
    if settings.emr_serverless_image:
        asked["imageConfiguration"] = {"imageUri": settings.emr_serverless_image}
    # Two workers that come at once get the same one. A token of today may mean one that was removed since.
    created, today = "", f"{datetime.now(UTC):%Y-%m-%d}"
    for _ in range(REMOVED):
        token = digest(repr(sorted(asked.items())), today, created)
        with told("creating the EMR Serverless application", **MEANT):
            created = str(client.create_application(**asked, clientToken=token)["applicationId"])
        try:
            if is_ready(client, created):
                return created
        except BaseException:
            remove_application(client, created)
            raise
    raise SparkJobError(
        f"the EMR Serverless application was not created: {REMOVED} of today ended at once, such as {created}"
    )


def is_ready(client: Any, application: str) -> bool:  # noqa: ANN401
    """Wait until a new application can take jobs; False where it had ended when it was asked for.

    Raises:
        SparkJobError: it never can.
    """
    until, begun = time.monotonic() + CREATE_SECONDS, False
    while time.monotonic() < until:
        with told("asking for the EMR Serverless application"):
            held = client.get_application(applicationId=application)["application"]
        if held["state"] == "TERMINATED":
            if not begun:
                return False
            raise SparkJobError(
                f"the EMR Serverless application was not created: {held.get('stateDetails', '')}"
            )
        if held["state"] != "CREATING":
            return True
        begun = True
        time.sleep(2)
    raise UnansweredError(
        f"the EMR Serverless application {application} is not ready after {CREATE_SECONDS:.0f} s"
    )


def state_of(client: Any, application: str) -> str:  # noqa: ANN401
    """An application's state."""
    return str(client.get_application(applicationId=application)["application"]["state"])


def remove_application(client: Any, application: str) -> None:  # noqa: ANN401
    """Remove an application on which nothing ran; one that stays costs nothing while it is idle."""
    try:
        with told("removing the EMR Serverless application"):
            client.stop_application(applicationId=application)
            until = time.monotonic() + REMOVE_SECONDS
            while state_of(client, application) not in IDLE and time.monotonic() < until:
                time.sleep(2)
            client.delete_application(applicationId=application)
    except SparkJobError:
        pass
