"""An EMR cluster on EC2: it starts, works off its steps, waits or ends, in the service's states."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.stack.emr_server.clock import Clock
from tests.stack.emr_server.steps import Step

PHASES = (("STARTING", 120.0), ("BOOTSTRAPPING", 60.0))
TERMINATING_SECONDS = 30
ENDED = ("TERMINATED", "TERMINATED_WITH_ERRORS")
COPIED = (
    "LogUri",
    "ReleaseLabel",
    "Applications",
    "ServiceRole",
    "AutoScalingRole",
    "ScaleDownBehavior",
    "EbsRootVolumeSize",
    "SecurityConfiguration",
    "Configurations",
)


@dataclass
class Cluster:
    """One cluster. A thread carries it from state to state; calls only look and set events."""

    id: str
    arn: str
    asked: dict[str, Any]
    clock: Clock
    tags: dict[str, str]
    steps: list[Step] = field(default_factory=list)
    state: str = "STARTING"
    reason: dict[str, str] = field(default_factory=dict)
    auto_termination: dict[str, int] | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ready_at: datetime | None = None
    ended_at: datetime | None = None

    def __post_init__(self) -> None:
        self.auto_termination = self.asked.get("AutoTerminationPolicy")
        self.instances = self.asked["Instances"]
        self.told_to_end = threading.Event()
        self.thread = threading.Thread(target=self._live, name=f"cluster-{self.id}", daemon=True)

    @property
    def done(self) -> bool:
        return self.state in ENDED

    @property
    def keeps_alive(self) -> bool:
        """Whether it stays when its steps are done."""
        return bool(self.instances.get("KeepJobFlowAliveWhenNoSteps", False))

    def terminate(self, code: str = "USER_REQUEST", message: str = "Terminated by user request") -> None:
        """End it with all that it runs."""
        if not self.told_to_end.is_set() and not self.done:
            self.reason = {"Code": code, "Message": message}
            self.told_to_end.set()
            self.state = "TERMINATING"
        for step in self.steps:
            if not step.done:
                step.cancel()

    def close(self) -> None:
        """End it without a word, since the server ends."""
        for step in self.steps:
            step.over.set()
        self.terminate()
        self.thread.join(30)

    def _live(self) -> None:
        try:
            self._work()
        except Exception as error:  # the cluster of a broken server ends: it must not wait for ever
            self.terminate("INTERNAL_ERROR", f"the test server failed: {error!r}")
        self.state = "TERMINATING"
        self.clock.wait(TERMINATING_SECONDS)
        self.ended_at = datetime.now(UTC)
        good = self.reason["Code"] in ("USER_REQUEST", "ALL_STEPS_COMPLETED")
        self.state = "TERMINATED" if good else "TERMINATED_WITH_ERRORS"

    def _work(self) -> None:
        for state, seconds in PHASES:
            self._become(state)
            if self.clock.wait(seconds, self.told_to_end):
                return
        self.ready_at = datetime.now(UTC)
        idle_since = self.clock.now()
        while not self.told_to_end.is_set():
            step = next((step for step in self.steps if not step.done), None)
            if step:
                self._become("RUNNING")
                step.run()
                self._after(step)
                idle_since = self.clock.now()
            elif not self.keeps_alive:
                self.terminate("ALL_STEPS_COMPLETED", "Steps completed")
            elif self.auto_termination and self._idle(idle_since):
                self.terminate("USER_REQUEST", "Terminated by auto-termination policy")
            else:
                self._become("WAITING")
                self.clock.wait(1, self.told_to_end)

    def _idle(self, since: float) -> bool:
        return self.clock.now() - since > (self.auto_termination or {}).get("IdleTimeout", 3600)

    def _become(self, state: str) -> None:
        if not self.told_to_end.is_set():
            self.state = state

    def _after(self, step: Step) -> None:
        """What a step's failure means for the rest."""
        action = step.asked.get("ActionOnFailure", "CONTINUE")
        if step.state != "FAILED" or action == "CONTINUE":
            return
        if action in ("TERMINATE_CLUSTER", "TERMINATE_JOB_FLOW"):
            self.terminate("STEP_FAILURE", "Shut down as step failed")
        for other in self.steps:
            if other.state == "PENDING":
                other.cancel()

    def describe(self) -> dict[str, Any]:
        """As DescribeCluster tells it."""
        fleets = "InstanceFleets" in self.instances
        return {
            **self.summary(),
            **{name: self.asked[name] for name in COPIED if name in self.asked},
            "InstanceCollectionType": "INSTANCE_FLEET" if fleets else "INSTANCE_GROUP",
            "AutoTerminate": not self.keeps_alive,
            "TerminationProtected": self.instances.get("TerminationProtected", False),
            "VisibleToAllUsers": True,
            "StepConcurrencyLevel": self.asked.get("StepConcurrencyLevel", 1),
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
            "MasterPublicDnsName": "ip-10-0-0-1.internal",
            "Ec2InstanceAttributes": {"IamInstanceProfile": self.asked.get("JobFlowRole", "")},
        }

    def summary(self) -> dict[str, Any]:
        """As ListClusters tells it."""
        times = {"ReadyDateTime": self.ready_at, "EndDateTime": self.ended_at}
        timeline = {"CreationDateTime": self.created_at} | {name: t for name, t in times.items() if t}
        return {
            "Id": self.id,
            "Name": self.asked["Name"],
            "ClusterArn": self.arn,
            "NormalizedInstanceHours": 0,
            "Status": {"State": self.state, "StateChangeReason": self.reason, "Timeline": timeline},
        }
