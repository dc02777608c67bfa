"""The EMR cluster that jobs run on: one that runs, or one that is created for a job and ends with it."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from flows.etl.runners.aws import Aws, told
from flows.etl.runners.base import SparkJobError
from flows.etl.runners.config import RunnerSettings

ALIVE = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]
IDLE_SECONDS = 900
"""After which a cluster of ours ends, should its step ever be over without it."""
SPOT_MINUTES = 10
"""For which Spot is waited for before the workers are taken on demand."""
MEANT = {
    "instance profile": "emr_instance_profile",
    "instanceprofile": "emr_instance_profile",
    "service role": "emr_service_role",
    "servicerole": "emr_service_role",
    "subnet": "emr_subnets",
    "instance type": "emr_worker_types",
    "release": "emr_release",
    "log": "emr_store",
    "cluster": "emr_cluster",
}


def running_cluster(aws: Aws, client: Any) -> str:  # noqa: ANN401  # boto3 has no types
    """Id of the cluster that the settings name by its id or name.

    Raises:
        SparkJobError: none of them runs.
    """
    wanted = aws.settings.emr_cluster
    named = [each["Id"] for each in clusters(client, ALIVE) if wanted in (each["Id"], each["Name"])]
    if not named:
        raise SparkJobError(f"no EMR cluster {wanted} runs; see WATCHKEEPER_EMR_CLUSTER")
    return str(named[0])


def clusters(
    client: Any,  # noqa: ANN401
    states: list[str] | None = None,
    since: datetime | None = None,
) -> Iterator[dict[str, Any]]:
    """Clusters, the newest first."""
    which = {"ClusterStates": states or [], "CreatedAfter": since}
    with told("listing EMR's clusters"):
        for page in client.get_paginator("list_clusters").paginate(**{k: v for k, v in which.items() if v}):
            yield from page["Clusters"]


def transient(settings: RunnerSettings, store: str, tags: dict[str, str]) -> dict[str, Any]:
    """A cluster that ends with its last step, but for its name and steps."""
    return {
        "LogUri": f"{store}/logs/",
        "ReleaseLabel": settings.emr_release,
        "Applications": [{"Name": "Spark"}],
        "ServiceRole": settings.emr_service_role,
        "JobFlowRole": settings.emr_instance_profile,
        "VisibleToAllUsers": True,
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        "Instances": {
            "KeepJobFlowAliveWhenNoSteps": False,
            "TerminationProtected": False,
            "InstanceFleets": fleets(settings),
            **({"Ec2SubnetIds": settings.emr_subnets} if settings.emr_subnets else {}),
        },
        "ManagedScalingPolicy": {"ComputeLimits": limits(settings)},
        "AutoTerminationPolicy": {"IdleTimeout": IDLE_SECONDS},
    }


def fleets(settings: RunnerSettings) -> list[dict[str, Any]]:
    """A main machine and a first worker that stay; more workers as managed scaling asks for them."""
    workers = [{"InstanceType": name, "WeightedCapacity": 1} for name in settings.emr_worker_types]
    spot = {
        "SpotSpecification": {
            "TimeoutDurationMinutes": SPOT_MINUTES,
            "TimeoutAction": "SWITCH_TO_ON_DEMAND",
            "AllocationStrategy": "price-capacity-optimized",
        }
    }
    main = {"InstanceType": settings.emr_main_type, "WeightedCapacity": 1}
    return [
        {"InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1, "InstanceTypeConfigs": [main]},
        {"InstanceFleetType": "CORE", "TargetOnDemandCapacity": 1, "InstanceTypeConfigs": workers},
        {
            "InstanceFleetType": "TASK",
            "TargetOnDemandCapacity": 0,
            "TargetSpotCapacity": 0,
            "InstanceTypeConfigs": workers,
            "LaunchSpecifications": spot,
        },
    ]


def limits(settings: RunnerSettings) -> dict[str, Any]:
    """Of managed scaling, in workers."""
    return {
        "UnitType": "InstanceFleetUnits",
        "MinimumCapacityUnits": 1,
        "MaximumCapacityUnits": settings.emr_workers,
        "MaximumCoreCapacityUnits": 1,
        "MaximumOnDemandCapacityUnits": 1 if settings.emr_spot else settings.emr_workers,
    }
