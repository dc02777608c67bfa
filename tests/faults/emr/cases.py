"""The 50 faults: two runners, six edges, before and after, a worker killed or a call failed; two outages."""

from dataclasses import dataclass

RUNNERS = ("emr_serverless", "emr")
EDGES = ("create", "submit", "first poll", "success", "commit", "cancel")
OUTAGE = "Prefect's server away"
OPERATIONS = {
    ("emr_serverless", "create"): "CreateApplication",
    ("emr_serverless", "submit"): "StartJobRun",
    ("emr_serverless", "first poll"): "GetJobRun",
    ("emr_serverless", "success"): "GetJobRun",
    ("emr_serverless", "cancel"): "CancelJobRun",
    ("emr", "create"): "RunJobFlow",
    ("emr", "submit"): "AddJobFlowSteps",
    ("emr", "first poll"): "DescribeStep",
    ("emr", "success"): "DescribeStep",
    ("emr", "cancel"): "TerminateJobFlows",
}
"""The call that an edge is at; a commit is none of EMR's."""


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes:
        when: before the edge's effect, or after it.
        fault: `kill`, SIGKILL for the process that runs the flow; `fail`, the call is refused, or its answer
            lost; or `OUTAGE`.
    """

    runner: str
    edge: str
    when: str
    fault: str

    def __str__(self) -> str:
        return f"{self.runner}: {self.fault} {self.when} {self.edge}"

    @property
    def operation(self) -> str | None:
        """The call at the edge."""
        return OPERATIONS.get((self.runner, self.edge))

    @property
    def shared_cluster(self) -> bool:
        """A step on a cluster that runs; only there is submitting another call than creating."""
        return (self.runner, self.edge) == ("emr", "submit")


CASES = [
    Case(runner, edge, when, fault)
    for runner in RUNNERS
    for edge in EDGES
    for when in ("before", "after")
    for fault in ("kill", "fail")
] + [Case(runner, "first poll", "after", OUTAGE) for runner in RUNNERS]

SAMPLE = [
    Case("emr_serverless", "create", "after", "kill"),
    Case("emr_serverless", "submit", "after", "kill"),
    Case("emr_serverless", "submit", "after", "fail"),
    Case("emr_serverless", "success", "before", "kill"),
    Case("emr_serverless", "commit", "after", "kill"),
    Case("emr_serverless", "cancel", "before", "kill"),
    Case("emr", "create", "after", "fail"),
    Case("emr", "submit", "after", "kill"),
    Case("emr", "cancel", "after", "kill"),
    Case("emr_serverless", "first poll", "after", OUTAGE),
]
"""One of each edge and each fault, for every submission."""
