"""Ending a process that hangs, so that who keeps it begins it again: seldom, and never another's.

`task watch` writes which process each of its parts is; the dead-man's watcher reads that of a silent one.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

MOST = 3
WITHIN_SECONDS = 3600.0
"""What hangs three times within an hour is not mended by a fourth beginning; a person is."""
STARTING_SECONDS = 600.0
"""That a process has for its first answer: Prometheus reads hours of its log before it."""
TERM_SECONDS = 5.0
"""Before a process that was asked to end is killed; one that hangs seldom hears."""


@dataclass(frozen=True)
class Process:
    """What a part is just now.

    Attributes:
        name: the part's.
        pid: of its process.
        began: when that began, in the system's words: with the pid it is no other process's.
        since: the same in seconds since 1970.
        url: a page that answers at once where the process does not hang.
    """

    name: str
    pid: int
    began: str
    since: float
    url: str


def write(path: Path, processes: Sequence[Process]) -> None:
    """Say which process each part is, whole or not at all."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps([asdict(process) for process in processes]))
    new.replace(path)


def read(path: Path) -> dict[str, Process]:
    """The processes by their parts' names; none where nobody keeps them, or where it cannot be read."""
    try:
        return {said["name"]: Process(**said) for said in json.loads(path.read_text())}
    except (OSError, ValueError, TypeError, LookupError):
        return {}


def began_at(pid: int) -> str | None:
    """When a process began, in the system's words; None of one that has ended."""
    try:
        said = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # the name may hold anything
        return None if said[0] in "ZX" else said[19]  # proc(5): state, and starttime in ticks
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except ProcessLookupError:
        return None
    asked = ["ps", "-o", "lstart=", "-p", str(pid)]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or None


def end_process(process: Process) -> bool:
    """End it, if it is still the same one; whether it was there and has ended."""
    if began_at(process.pid) != process.began:
        return False
    for request in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(process.pid, request)
        deadline = time.monotonic() + TERM_SECONDS
        while time.monotonic() < deadline:
            if began_at(process.pid) != process.began:
                return True
            time.sleep(0.02)
    return False


class Ender:
    """Ends parts that hang, each a few times an hour.

    Args:
        parts: the file that says which processes they are.
        state: file that holds when each was ended, as a restart of ours must not begin the count anew.
        clock: seconds since 1970.
        end: ends a process.
    """

    def __init__(
        self,
        parts: Path,
        state: Path,
        clock: Callable[[], float] = time.time,
        end: Callable[[Process], bool] = end_process,
    ) -> None:
        self._parts, self._state, self._clock, self._end = parts, state, clock, end
        self._ended: dict[str, list[float]] = json.loads(state.read_text()) if state.exists() else {}

    def process(self, name: str) -> Process | None:
        """The part's of now, where somebody keeps it."""
        return read(self._parts).get(name)

    def end(self, name: str, answered: float) -> str:
        """End a part that has been silent since `answered`; what was done, in words, or nothing."""
        process, now = self.process(name), self._clock()
        if process is None or (answered < process.since and now - process.since < STARTING_SECONDS):
            return ""
        recent = [when for when in self._ended.get(name, []) if now - when < WITHIN_SECONDS]
        if len(recent) >= MOST:
            return f"It was ended {MOST} times within an hour, and is not again: see its log in logs/watch."
        if not self._end(process):
            return ""
        self._ended[name] = [*recent, now]
        new = self._state.with_suffix(".new")
        new.write_text(json.dumps(self._ended))
        new.replace(self._state)
        return f"It hung and was ended, {len(recent) + 1} of {MOST} times an hour; the watch begins it again."
