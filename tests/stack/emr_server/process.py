"""A job's processes: a session of their own, which ends when it is told to, or when this process is gone."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launcher.py")


class JobProcess:
    """A started command; its output goes to `stdout` and `stderr` in its folder."""

    def __init__(self, command: list[str], folder: Path, environment: Mapping[str, str], logs: Path) -> None:
        logs.mkdir(parents=True)
        self.stdout, self.stderr = logs / "stdout", logs / "stderr"
        self.started_at, self._ended_at = time.monotonic(), 0.0
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(LAUNCHER), *command],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def code(self) -> int | None:
        """How it ended; None while it has not."""
        code = self._process.poll()
        if code is not None and not self._ended_at:
            self._ended_at = time.monotonic()
        return code

    @property
    def pids(self) -> list[int]:
        """Every process of its session, its workers included."""
        return [pid for pid in every_pid() if in_session(pid, self._process.pid)]

    @property
    def alive(self) -> bool:
        """Whether any of them is there."""
        return self.code is None or bool(self.pids)

    @property
    def span(self) -> tuple[float, float]:
        """From when to when it ran, on the monotonic clock; to infinity where it still does."""
        return self.started_at, float("inf") if self.code is None else self._ended_at

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return min(self.span[1], time.monotonic()) - self.started_at

    def kill(self) -> None:
        """End all of it at once, and wait until it is gone."""
        while self.alive:
            for pid in self.pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self._process.poll()
            time.sleep(0.01)


def lose_node(process: JobProcess) -> None:
    """Kill a job as soon as it has written to its log, by a thread that nothing holds up."""

    def watch() -> None:
        while process.code is None and not process.stderr.stat().st_size:
            time.sleep(0.01)
        process.kill()

    threading.Thread(target=watch, daemon=True).start()


def in_session(pid: int, session: int) -> bool:
    """Whether a process that is no zombie belongs to a session."""
    try:
        state, _, _, session_of = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return False
    return int(session_of) == session and state != "Z"


def every_pid() -> list[int]:
    """Ids of all processes."""
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
