"""Flow events on disk, a file each, until the relay has them: by who tells the next one, or by its own look.

A process that ends at once, a relay that is down, a SIGKILL: the file stays. Two that hand over the same file
at once tell the relay twice, whose outbox knows it by its key.
"""

import itertools
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from observability.slack.items import Event
from observability.slack.outbox import Outbox

LOG = logging.getLogger("watchkeeper.slack")
MOST = 1000
"""Events; of more the newest are kept."""
LOOK_SECONDS = 5.0
"""Between two looks of the relay."""
NUMBERS = itertools.count()


class Spool:
    """The events of one folder.

    Args:
        folder: made where it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, event: Event) -> None:
        """Write one down, behind the others.

        Raises:
            OSError: it is not on disk.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for oldest in self.waiting()[: 1 - MOST]:
            oldest.unlink(missing_ok=True)
        name = f"{time.time_ns():020}-{os.getpid()}-{next(NUMBERS):06}.json"
        new = self._folder / f".{name}"
        new.write_text(event.model_dump_json(), encoding="utf-8")
        new.replace(self._folder / name)

    def waiting(self) -> list[Path]:
        """Files of what has not been handed over, oldest first."""
        return sorted(path for path in self._folder.glob("*.json") if path.name[0] != ".")

    def hand_over(self, take: Callable[[bytes], None]) -> None:
        """Give all that waits, in its order, to what keeps it; what it raises ends this."""
        for path in self.waiting():
            try:
                body = path.read_bytes()
            except FileNotFoundError:  # another one has handed it over
                continue
            take(body)
            path.unlink(missing_ok=True)


class Intake:
    """Takes what lies in a spool into an outbox, again and again, in a thread of its own.

    Args:
        wake: called when something new waits there.
        seconds: between two looks.
    """

    def __init__(
        self, spool: Spool, outbox: Outbox, wake: Callable[[], None], seconds: float = LOOK_SECONDS
    ) -> None:
        self._spool, self._outbox, self._wake, self._seconds = spool, outbox, wake, seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        """Look now, and again and again."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _take(self, body: bytes) -> None:
        try:
            event = Event.model_validate_json(body)
        except ValidationError as error:  # a disk that was full, or another version's
            LOG.error("an event that lay on disk cannot be read: %d errors", error.error_count())
            return
        if self._outbox.append([event]):
            self._wake()

    def _run(self) -> None:
        while True:
            try:
                self._spool.hand_over(self._take)
            except Exception as error:  # a full disk, above all; what lies there is kept
                LOG.error("events on disk cannot be taken in: %s; trying on", type(error).__name__)
            if self._over.wait(self._seconds):
                return
