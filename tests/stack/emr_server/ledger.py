"""What was ever started, and whether it still runs: what a test asserts "never two, none left" with."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.stack.emr_server.process import JobProcess


@dataclass
class Entry:
    """A job that the service took.

    Attributes:
        id: of the job run or step.
        parent: of its application or cluster.
        token: its client token, or its step's name.
        tags: its own; for a step its cluster's.
        asked: the request.
        ended: whether the service has brought it to its end.
        processes: one an attempt, the newest last.
        beside: jobs that were live when the service took it.
    """

    id: str
    parent: str
    token: str
    tags: Callable[[], Mapping[str, str]]
    asked: dict[str, Any]
    ended: Callable[[], bool]
    taken_at: float = field(default_factory=time.monotonic)
    processes: list[JobProcess] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether any process of it is there."""
        return any(process.alive for process in self.processes)

    @property
    def live(self) -> bool:
        """Whether it still costs: a process is there, or one may still come."""
        return self.alive or not self.ended()


class Ledger:
    """The entries, in the order in which the jobs were taken."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._lock = threading.Lock()

    def enter(self, entry: Entry) -> Entry:
        with self._lock:
            entry.beside = [other.id for other in self.live()]
            self.entries.append(entry)
        return entry

    def live(self) -> list[Entry]:
        """Jobs that still run or will."""
        return [entry for entry in self.entries if entry.live]

    def tagged(self, **tags: str) -> list[Entry]:
        """Jobs that carry all of these tags."""
        return [entry for entry in self.entries if tags.items() <= dict(entry.tags()).items()]

    def at_once(self, entries: list[Entry]) -> int:
        """The largest number of these whose processes ran at one time."""
        spans = [process.span for entry in entries for process in entry.processes]
        return max((sum(a <= start < b for a, b in spans) for start, _ in spans), default=0)
