"""A process that is begun again whenever it ends, later each time."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from flows.health.parts import Part
from observability.slack.ending import Process, began_at

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 30.0
"""Before a part is begun again: doubled from the first to the longest."""
STEADY_SECONDS = 60.0
"""After which a part that ends is not one that fails at its start."""
END_SECONDS = 30.0
"""That a part gets to end before it is killed."""
PR_SET_PDEATHSIG = 1


class Kept:
    """One part's process.

    Args:
        part: what is run.
        log: file that its output is added to.
    """

    def __init__(self, part: Part, log: Path) -> None:
        self.part = part
        self.log = log
        self._wait = FIRST_SECONDS
        self._again = 0.0
        self._begin()

    def _begin(self) -> None:
        self._began, self._since = time.monotonic(), time.time()
        with self.log.open("ab") as stream:
            self._process = subprocess.Popen(
                self.part.command,
                env=os.environ | self.part.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,  # Ctrl-C is for the watch, which ends its parts in order
                preexec_fn=dies_with_us if sys.platform == "linux" else None,
            )

    def look(self) -> str | None:
        """Begin it again where it has ended and waited; what a person should read, or nothing."""
        now = time.monotonic()
        if self._again:
            if now < self._again:
                return None
            try:
                self._begin()
            except (OSError, subprocess.SubprocessError) as error:  # the others go on
                return self._later(now, f"cannot begin: {error}")
            self._again = 0.0
            return f"{self.part.name} begins again"
        code = self._process.poll()
        if code is None:
            return None
        steady = now - self._began > STEADY_SECONDS
        return f"{self._later(now, f'ended with {code}', steady=steady)}; see {self.log}"

    def _later(self, now: float, why: str, *, steady: bool = False) -> str:
        self._wait = FIRST_SECONDS if steady else min(2 * self._wait, LONGEST_SECONDS)
        self._again = now + self._wait
        return f"{self.part.name} {why}; again in {self._wait:.0f} s"

    @property
    def process(self) -> Process | None:
        """What it is now, where it may be ended when it hangs."""
        began = began_at(self._process.pid)
        if began is None or not self.part.may_end or self.part.port is None:
            return None
        url = f"http://{self.part.address}{self.part.ready}"
        return Process(self.part.name, self._process.pid, began, self._since, url)

    def end(self) -> None:
        """Ask it to end, then insist."""
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def dies_with_us() -> None:
    """Before a part's first instruction: the kernel ends it when the watch is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
