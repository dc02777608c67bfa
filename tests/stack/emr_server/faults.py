"""What goes wrong when a test says so: at a call, or in the life of a job."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tests.stack.emr_server.errors import ApiError, LostAnswerError

Act = Callable[[], None]
MESSAGES = {
    "ThrottlingException": "Rate exceeded",
    "ExpiredTokenException": "The security token included in the request is expired",
    "AccessDeniedException": "User is not authorized to perform this operation",
    "ConflictException": "The request conflicts with another one",
    "ServiceQuotaExceededException": "Maximum number of concurrent vCPUs for this account was reached",
    "InternalServerException": "Internal error",
}


@dataclass
class CallFault:
    """What happens at the next `times` calls of an operation, before or after it has its effect."""

    operation: str
    act: Act
    after: bool
    times: int
    when: Callable[[], bool]


@dataclass(frozen=True)
class JobFaults:
    """What happens to one job."""

    slow_start_seconds: float = 0
    """Service seconds that it waits longer before it runs."""
    driver_fails: bool = False
    """The driver's program ends with a traceback."""
    nodes_lost: int = 0
    """So many of its attempts are killed with SIGKILL as soon as they write to their log."""
    flaps: bool = False
    """Once, after RUNNING was told, PENDING is."""


class Faults:
    """The control of one server: none of it is public API."""

    def __init__(self) -> None:
        self._calls: list[CallFault] = []
        self._jobs: deque[JobFaults] = deque()
        self._lock = threading.Lock()

    def refuse(self, operation: str, code: str, times: int = 1) -> None:
        """Answer the next calls with an error and do nothing."""

        def act() -> None:
            raise ApiError(code, MESSAGES.get(code, code))

        self.at(operation, act, times=times)

    def throttle(self, operation: str, times: int = 1) -> None:
        """Too many requests."""
        self.refuse(operation, "ThrottlingException", times)

    def lose_answer(self, operation: str, times: int = 1) -> None:
        """Do what the call asks, and close the connection without a word."""

        def act() -> None:
            raise LostAnswerError

        self.at(operation, act, after=True, times=times)

    def at(
        self,
        operation: str,
        act: Act,
        *,
        after: bool = False,
        times: int = 1,
        when: Callable[[], bool] = lambda: True,
    ) -> None:
        """Do something of the test's own just before or after a call has its effect, once `when` is true."""
        with self._lock:
            self._calls.append(CallFault(operation, act, after, times, when))

    def next_job(self, faults: JobFaults) -> None:
        """The next job that is started, which no other order concerns, has these."""
        self._jobs.append(faults)

    def job(self) -> JobFaults:
        """Those of the job that starts now."""
        with self._lock:
            return self._jobs.popleft() if self._jobs else JobFaults()

    def meet(self, operation: str, *, after: bool) -> None:
        """Let happen what is due at this point of a call."""
        with self._lock:
            due = next(
                (c for c in self._calls if (c.operation, c.after) == (operation, after) and c.when()), None
            )
            if due is None:
                return
            due.times -= 1
            if due.times == 0:
                self._calls.remove(due)
        due.act()

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self._calls.clear()
            self._jobs.clear()

    @property
    def open(self) -> list[str]:
        """Operations whose fault has not happened yet."""
        return [call.operation for call in self._calls]
