"""The operations of EMR on EC2; the name of each is the service's, in this language's spelling."""

import secrets
import string
from typing import Any

from tests.stack.emr_server.clock import Clock
from tests.stack.emr_server.clusters import Cluster
from tests.stack.emr_server.errors import ApiError
from tests.stack.emr_server.faults import Faults
from tests.stack.emr_server.instances import fleets_of, groups_of, instances_of
from tests.stack.emr_server.ledger import Entry, Ledger
from tests.stack.emr_server.logs import Logs
from tests.stack.emr_server.spark import SparkHost
from tests.stack.emr_server.steps import Step, submission_of

ACCOUNT = "123456789012"
PAGE = 50
MOST_STEPS = 256
Asked = dict[str, Any]


class Ec2:
    """Clusters and their steps."""

    def __init__(self, host: SparkHost, clock: Clock, faults: Faults, ledger: Ledger) -> None:
        self.host, self.clock, self.faults, self.ledger = host, clock, faults, ledger
        self.clusters: dict[str, Cluster] = {}

    def close(self) -> None:
        for cluster in self.clusters.values():
            cluster.close()

    def live(self) -> list[Cluster]:
        """Clusters that still cost."""
        return [cluster for cluster in self.clusters.values() if not cluster.done]

    def run_job_flow(self, asked: Asked) -> Asked:
        made = new_id("j-")
        arn = f"arn:aws:elasticmapreduce:{self.host.s3.region}:{ACCOUNT}:cluster/{made}"
        cluster = Cluster(made, arn, asked, self.clock, as_dict(asked.get("Tags", [])))
        steps = [self._step(cluster, step) for step in asked.get("Steps", [])]
        self.clusters[made] = cluster
        cluster.steps += steps
        cluster.thread.start()
        return {"JobFlowId": made, "ClusterArn": arn}

    def describe_cluster(self, asked: Asked) -> Asked:
        return {"Cluster": self.cluster(asked["ClusterId"]).describe()}

    def list_clusters(self, asked: Asked) -> Asked:
        found = [
            cluster
            for cluster in self.clusters.values()
            if cluster.state in asked.get("ClusterStates", [cluster.state])
            and cluster.created_at >= asked.get("CreatedAfter", cluster.created_at)
            and cluster.created_at <= asked.get("CreatedBefore", cluster.created_at)
        ]
        return page("Clusters", [cluster.summary() for cluster in found[::-1]], asked)

    def add_job_flow_steps(self, asked: Asked) -> Asked:
        cluster = self.cluster(asked["JobFlowId"])
        if cluster.done or cluster.told_to_end.is_set():
            raise ApiError(
                "ValidationException",
                f"{cluster.id}: a job flow that is shutting down or finished may not be modified.",
            )
        steps = [self._step(cluster, step) for step in asked["Steps"]]
        if sum(not step.done for step in cluster.steps) + len(steps) > MOST_STEPS:
            raise ApiError("ValidationException", f"Maximum number of active steps is {MOST_STEPS}")
        cluster.steps += steps
        return {"StepIds": [step.id for step in steps]}

    def _step(self, cluster: Cluster, asked: Asked) -> Step:
        submission = submission_of(asked, spark_defaults(cluster.asked.get("Configurations", [])))
        made = new_id("s-")
        entry = self.ledger.enter(
            Entry(made, cluster.id, asked["Name"], lambda: cluster.tags, asked, lambda: step.done)
        )
        logs = Logs(self.host.s3, cluster.asked.get("LogUri", ""))
        faults = self.faults.job()
        step = Step(made, cluster.id, asked, submission, self.host, self.clock, logs, faults, entry)
        return step

    def describe_step(self, asked: Asked) -> Asked:
        return {"Step": self.step(self.cluster(asked["ClusterId"]), asked["StepId"]).describe()}

    def list_steps(self, asked: Asked) -> Asked:
        cluster = self.cluster(asked["ClusterId"])
        told = [step.describe() for step in cluster.steps[::-1]]
        states, ids = asked.get("StepStates"), asked.get("StepIds")
        found = [
            step
            for step in told
            if (not states or step["Status"]["State"] in states) and (not ids or step["Id"] in ids)
        ]
        return page("Steps", found, asked)

    def cancel_steps(self, asked: Asked) -> Asked:
        cluster = self.cluster(asked["ClusterId"])
        return {"CancelStepsInfoList": [cancelled(self.step(cluster, named)) for named in asked["StepIds"]]}

    def terminate_job_flows(self, asked: Asked) -> Asked:
        clusters = [self.cluster(named) for named in asked["JobFlowIds"]]
        for cluster in clusters:
            if cluster.instances.get("TerminationProtected"):
                raise ApiError("ValidationException", f"{cluster.id} is protected from termination")
            cluster.terminate()
        return {}

    def set_termination_protection(self, asked: Asked) -> Asked:
        for named in asked["JobFlowIds"]:
            self.cluster(named).instances["TerminationProtected"] = asked["TerminationProtected"]
        return {}

    def add_tags(self, asked: Asked) -> Asked:
        self.cluster(asked["ResourceId"]).tags.update(as_dict(asked["Tags"]))
        return {}

    def remove_tags(self, asked: Asked) -> Asked:
        for key in asked["TagKeys"]:
            self.cluster(asked["ResourceId"]).tags.pop(key, None)
        return {}

    def put_auto_termination_policy(self, asked: Asked) -> Asked:
        self.cluster(asked["ClusterId"]).auto_termination = asked.get("AutoTerminationPolicy")
        return {}

    def get_auto_termination_policy(self, asked: Asked) -> Asked:
        policy = self.cluster(asked["ClusterId"]).auto_termination
        return {"AutoTerminationPolicy": policy} if policy else {}

    def list_instances(self, asked: Asked) -> Asked:
        return page("Instances", instances_of(self.cluster(asked["ClusterId"])), asked)

    def list_instance_fleets(self, asked: Asked) -> Asked:
        return page("InstanceFleets", fleets_of(self.cluster(asked["ClusterId"])), asked)

    def list_instance_groups(self, asked: Asked) -> Asked:
        return page("InstanceGroups", groups_of(self.cluster(asked["ClusterId"])), asked)

    def cluster(self, named: str) -> Cluster:
        """The one of this id."""
        if named not in self.clusters:
            raise ApiError("InvalidRequestException", f"Cluster id '{named}' is not valid.")
        return self.clusters[named]

    def step(self, cluster: Cluster, named: str) -> Step:
        """A cluster's step of this id."""
        for step in cluster.steps:
            if step.id == named:
                return step
        raise ApiError("InvalidRequestException", f"Step id '{named}' is not valid.")


def cancelled(step: Step) -> Asked:
    """Cancel a step, and say whether that can be."""
    if step.done:
        return {"StepId": step.id, "Status": "FAILED", "Reason": f"The step is {step.state}."}
    step.cancel()
    return {"StepId": step.id, "Status": "SUBMITTED"}


def as_dict(tags: list[Asked]) -> dict[str, str]:
    """Tags as a mapping."""
    return {tag["Key"]: tag.get("Value", "") for tag in tags}


def new_id(prefix: str) -> str:
    """An id as the service makes them."""
    return prefix + "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(13))


def spark_defaults(configurations: list[Asked]) -> dict[str, str]:
    """Spark's settings in a list of the service's classifications."""
    found: dict[str, str] = {}
    for item in configurations:
        if item.get("Classification") == "spark-defaults":
            found |= item.get("Properties", {})
    return found


def page(name: str, found: list[Asked], asked: Asked) -> Asked:
    """A page of what was found, and where the next one begins."""
    first = int(asked.get("Marker", "0"))
    answer: Asked = {name: found[first : first + PAGE]}
    return answer | ({"Marker": str(first + PAGE)} if len(found) > first + PAGE else {})
