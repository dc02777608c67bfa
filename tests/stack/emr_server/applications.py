"""EMR Serverless applications: what jobs are submitted to; they start by themselves and stop when idle."""

import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.stack.emr_server.clock import Clock
from tests.stack.emr_server.errors import ApiError

CREATING_SECONDS = 5
STARTING_SECONDS = 40
STOPPING_SECONDS = 10
SUMMARY = ("name", "arn", "releaseLabel", "type", "state", "createdAt", "updatedAt", "architecture")
TYPES = {"spark": "Spark", "hive": "Hive"}


@dataclass
class Application:
    """An application; its state follows from when it was last told to change."""

    id: str
    arn: str
    request: dict[str, Any]
    clock: Clock
    busy: Any = None
    """Says whether a job of it is under way."""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.asked = copy.deepcopy(self.request)
        self._ways: list[tuple[str, float]] = [("CREATING", CREATING_SECONDS)]
        self._end, self._since = "CREATED", self.clock.now()
        self.idle_since = self.clock.now()

    @property
    def state(self) -> str:
        """As it is now."""
        passed = self.clock.now() - self._since
        for state, seconds in self._ways:
            if passed < seconds:
                return state
            passed -= seconds
        return self._stopped_by_itself() or self._end

    def _stopped_by_itself(self) -> str | None:
        stop = {"enabled": True, "idleTimeoutMinutes": 15} | self.asked.get("autoStopConfiguration", {})
        if self._end != "STARTED" or not stop["enabled"] or (self.busy and self.busy()):
            return None
        if self.clock.now() - self.idle_since < stop["idleTimeoutMinutes"] * 60:
            return None
        self._go([], "STOPPED")
        return "STOPPED"

    def _go(self, ways: list[tuple[str, float]], end: str) -> None:
        self._ways, self._end, self._since = ways, end, self.clock.now()
        self.updated_at = datetime.now(UTC)

    def start(self) -> None:
        """Be STARTED soon."""
        if self.state in ("CREATED", "STOPPED", "CREATING", "STOPPING"):
            left: list[tuple[str, float]] = (
                [("CREATING", CREATING_SECONDS)] if self.state == "CREATING" else []
            )
            self._go([*left, ("STARTING", STARTING_SECONDS)], "STARTED")
            self.idle_since = self.clock.now() + STARTING_SECONDS

    def stop(self) -> None:
        """Be STOPPED soon."""
        if self.busy and self.busy():
            raise ApiError("ValidationException", f"Application {self.id} has job runs that are not done")
        if self.state == "STARTED":
            self._go([("STOPPING", STOPPING_SECONDS)], "STOPPED")

    def delete(self) -> None:
        """Be gone."""
        self.refuse_unless("CREATED", "STOPPED")
        self._go([], "TERMINATED")

    def update(self, asked: dict[str, Any]) -> None:
        """Take other settings."""
        self.refuse_unless("CREATED", "STOPPED")
        self.asked |= asked
        self.updated_at = datetime.now(UTC)

    def refuse_unless(self, *states: str) -> None:
        """Refuse what the present state does not allow."""
        if self.state not in states:
            raise ApiError(
                "ValidationException",
                f"Application {self.id} is in state {self.state}; it must be in {' or '.join(states)}",
            )

    def accept_job(self) -> None:
        """Start for a job, if the application does that by itself."""
        self.refuse_unless("CREATING", "CREATED", "STARTING", "STARTED", "STOPPING", "STOPPED")
        if not ({"enabled": True} | self.asked.get("autoStartConfiguration", {}))["enabled"]:
            self.refuse_unless("STARTED")
        self.start()

    def describe(self) -> dict[str, Any]:
        """As GetApplication tells it."""
        told = {key: value for key, value in self.asked.items() if key != "clientToken"}
        return {
            "autoStartConfiguration": {"enabled": True},
            "autoStopConfiguration": {"enabled": True, "idleTimeoutMinutes": 15},
            "architecture": "X86_64",
            "tags": {},
            **told,
            "applicationId": self.id,
            "arn": self.arn,
            "type": TYPES[self.asked["type"].lower()],
            "state": self.state,
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
        }

    def summary(self) -> dict[str, Any]:
        """As ListApplications tells it."""
        whole = self.describe()
        return {"id": self.id, **{key: whole[key] for key in SUMMARY if key in whole}}
