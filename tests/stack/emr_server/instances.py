"""The machines that a cluster claims to have: what was asked for, from the moment it is ready to its end."""

from collections.abc import Iterator
from typing import Any

from tests.stack.emr_server.clusters import Cluster

Asked = dict[str, Any]


def fleets_of(cluster: Cluster) -> list[Asked]:
    """Its instance fleets."""
    return [
        {
            "Id": f"if-{number}{cluster.id[2:]}",
            "Name": fleet.get("Name", ""),
            "InstanceFleetType": fleet["InstanceFleetType"],
            "Status": {"State": state_of(cluster), "StateChangeReason": {}, "Timeline": {}},
            "TargetOnDemandCapacity": fleet.get("TargetOnDemandCapacity", 0),
            "TargetSpotCapacity": fleet.get("TargetSpotCapacity", 0),
            "ProvisionedOnDemandCapacity": fleet.get("TargetOnDemandCapacity", 0) if is_up(cluster) else 0,
            "ProvisionedSpotCapacity": fleet.get("TargetSpotCapacity", 0) if is_up(cluster) else 0,
        }
        for number, fleet in enumerate(cluster.instances.get("InstanceFleets", []))
    ]


def groups_of(cluster: Cluster) -> list[Asked]:
    """Its instance groups."""
    return [
        {
            "Id": f"ig-{number}{cluster.id[2:]}",
            "Name": group.get("Name", ""),
            "Market": group.get("Market", "ON_DEMAND"),
            "InstanceGroupType": group["InstanceRole"],
            "InstanceType": group["InstanceType"],
            "RequestedInstanceCount": group["InstanceCount"],
            "RunningInstanceCount": group["InstanceCount"] if is_up(cluster) else 0,
            "Status": {"State": state_of(cluster), "StateChangeReason": {}, "Timeline": {}},
        }
        for number, group in enumerate(cluster.instances.get("InstanceGroups", []))
    ]


def instances_of(cluster: Cluster) -> list[Asked]:
    """Every machine; none before the cluster is ready."""
    if cluster.ready_at is None:
        return []
    times = {"CreationDateTime": cluster.created_at, "ReadyDateTime": cluster.ready_at}
    if cluster.ended_at:
        times["EndDateTime"] = cluster.ended_at
    state = "TERMINATED" if cluster.done else "RUNNING"
    return [
        {
            "Id": f"ci-{number:03}{cluster.id[2:]}",
            "Ec2InstanceId": f"i-{number:017x}",
            "InstanceType": kind,
            "Market": market,
            "Status": {"State": state, "StateChangeReason": {}, "Timeline": times},
            **where,
        }
        for number, (kind, market, where) in enumerate(machines(cluster))
    ]


def machines(cluster: Cluster) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Type, market and place of each machine."""
    for number, fleet in enumerate(cluster.instances.get("InstanceFleets", [])):
        kind = (fleet.get("InstanceTypeConfigs") or [{}])[0].get("InstanceType", "m5.xlarge")
        where = {"InstanceFleetId": f"if-{number}{cluster.id[2:]}"}
        yield from [(kind, "ON_DEMAND", where)] * fleet.get("TargetOnDemandCapacity", 0)
        yield from [(kind, "SPOT", where)] * fleet.get("TargetSpotCapacity", 0)
    for number, group in enumerate(cluster.instances.get("InstanceGroups", [])):
        where = {"InstanceGroupId": f"ig-{number}{cluster.id[2:]}"}
        yield from [(group["InstanceType"], group.get("Market", "ON_DEMAND"), where)] * group["InstanceCount"]


def is_up(cluster: Cluster) -> bool:
    """Whether its machines are there."""
    return cluster.ready_at is not None and not cluster.done


def state_of(cluster: Cluster) -> str:
    """A fleet's or group's state."""
    return "TERMINATED" if cluster.done else "RUNNING" if is_up(cluster) else "PROVISIONING"
