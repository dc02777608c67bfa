"""`python -m observability.slack.deadman --state FOLDER`: says when Prometheus or the relay is silent.

It stands outside both: it asks Prometheus for the newest sample of the rule that is always true, and the
relay for its health, and posts to the receiver itself, once for each silence and once when it is over. It
tries until it gets through, and knows after a restart what it has said. A part of `task watch` that hangs it
ends after half a silence (`ending.py`), so that the watch begins it again, and says so.
"""

import argparse
import json
import logging
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from observability.config import ObservabilitySettings, checked
from observability.errors import run_command
from observability.slack.delivery import Delivery
from observability.slack.ending import Ender
from observability.slack.items import Alert
from observability.slack.outbox import Outbox
from observability.slack.senders import sender_of
from observability.slack.watched import Watched, kept, watched

LOG = logging.getLogger("watchkeeper.slack")
LOOK_SECONDS = 10.0
"""Between two looks; less where the bound is short."""
SLEPT_SECONDS = 60.0
"""Without a look at all: the machine slept, and so did what is watched."""


class Watcher:
    """Looks, and tells.

    Args:
        parts: what is watched.
        outbox: of its own, whose delivery tries until a message is through.
        state: file that holds the silences that have been told.
        bound: seconds of silence that are no news.
        clock: seconds since 1970.
        ender: ends what hangs, after half the bound, and again after another half; None where nobody would
            begin it again.
    """

    def __init__(
        self,
        parts: Sequence[Watched],
        outbox: Outbox,
        state: Path,
        bound: float,
        clock: Callable[[], float] = time.time,
        ender: Ender | None = None,
    ) -> None:
        self._parts, self._outbox, self._state = parts, outbox, state
        self._bound, self._clock, self._ender = bound, clock, ender
        self._told: dict[str, float] = json.loads(state.read_text()) if state.exists() else {}
        # While this watcher did not run nobody knows: a silence counts from now.
        self._good = {part.name: clock() for part in parts}
        self._looked = clock()
        self._done: dict[str, tuple[float, str]] = {}

    def look(self) -> None:
        """Ask all, and tell what is new."""
        if self._clock() - self._looked > max(SLEPT_SECONDS, self._bound):
            self._good = dict.fromkeys(self._good, self._clock())
            self._done.clear()
        for part in self._parts:
            self._look_at(part)
        self._looked = self._clock()

    def _look_at(self, part: Watched) -> None:
        seen, now = part.seen(), self._clock()
        good = self._good[part.name] = max(self._good[part.name], min(seen or 0.0, now))
        since = self._told.get(part.name)
        if seen is not None and now - seen <= self._bound / 2:
            self._done.pop(part.name, None)
        if did := self._end(part, good):
            self._tell(part, "firing", good if since is None else since, did)
            self._told[part.name] = good if since is None else since
        elif now - good > self._bound and since is None and not part.quiet:
            self._tell(part, "firing", good)
            self._told[part.name] = good
        elif seen is not None and now - seen <= self._bound and since is not None:
            self._tell(part, "resolved", since)
            del self._told[part.name]
        else:
            return
        self._keep()

    def _end(self, part: Watched, good: float) -> str:
        """End a part that is silent for so long, or still; what is new of that, in words."""
        now = self._clock()
        last, said = self._done.get(part.name, (good, ""))
        if self._ender is None or not part.part or now - last <= self._bound / 2:
            return ""
        did = self._ender.end(part.part, good)
        if did:
            self._done[part.name] = now, did
        return did if did != said else ""

    def _tell(self, part: Watched, status: str, since: float, did: str = "") -> None:
        description = f"{part.description} {did}".strip()
        said = {"summary": part.summary, "description": description, "runbook_url": part.runbook}
        alert = {
            "status": status,
            "labels": {"alertname": part.name, "severity": "page", "owner": "platform"},
            "annotations": said,
            "fingerprint": f"{part.name} {did}".strip(),  # what is done next is told too
            "startsAt": datetime.fromtimestamp(since, UTC),
            "endsAt": datetime.fromtimestamp(self._clock(), UTC),
        }
        self._outbox.append([Alert.model_validate(alert)])

    def _keep(self) -> None:
        new = self._state.with_suffix(".new")
        new.write_text(json.dumps(self._told))
        new.replace(self._state)


def run(settings: ObservabilitySettings, folder: Path, parts: Path | None = None) -> int:
    """Look until told to end; the state lies in the folder.

    Args:
        settings: of the ports and the receiver.
        folder: of the state.
        parts: what `task watch` writes of its processes; without it nothing is ended.
    """
    over = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: over.set())
    with closing(Outbox(folder)) as outbox:
        delivery = Delivery(outbox, sender_of(settings))
        ender = Ender(parts, folder / "ended.json") if parts else None
        looked_at = watched(settings) + (kept(ender, settings.runbook_url) if ender else [])
        state = folder / "told.json"
        watcher = Watcher(looked_at, outbox, state, settings.deadman_seconds, ender=ender)
        delivery.start()
        print(
            f"watches Prometheus and the relay; {settings.deadman_seconds:g} s are a silence", file=sys.stderr
        )
        while not over.wait(min(LOOK_SECONDS, settings.deadman_seconds / 4)):
            try:
                watcher.look()
            except (OSError, sqlite3.Error) as error:  # a full disk, above all
                LOG.error("the look failed: %s; trying on", error)
            delivery.wake()
        delivery.close()
    return 0


def main() -> int:
    """The watcher by itself."""
    args = argparse.ArgumentParser(prog="python -m observability.slack.deadman", description=__doc__)
    args.add_argument("--state", type=Path, required=True, help="folder of what it has said")
    return run(checked(ObservabilitySettings), args.parse_args().state)


if __name__ == "__main__":
    run_command(main)
