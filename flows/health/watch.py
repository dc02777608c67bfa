"""`task watch`: everything that watches this home, without Docker, until told to end."""

import argparse
import signal
import socket
import sys
import threading

from flows.config import Settings, load_settings
from flows.errors import WatchkeeperError, run_command
from flows.health.kept import Kept
from flows.health.parts import PARTS, Part, ours, targets, third_party, watched
from flows.server import start_server
from observability.prometheus import files
from observability.slack import ending

LOOK_SECONDS = 1.0
"""Between two looks at the parts."""
WORK_LOOKS = 10
"""Looks between two at what there is to watch: a first deployment, a first champion, a restarted server."""


class Watch:
    """The parts that run, and the files that tell Prometheus where.

    Args:
        settings: of the home.
        pace: of rules and intervals; see `observability.prometheus.files.write`.
    """

    def __init__(self, settings: Settings, pace: float) -> None:
        self._settings = settings
        self._pace = pace
        self._folder = settings.run / "watch"
        self._logs = settings.logs / "watch"
        self._kept: dict[str, Kept] = {}
        self._targets: dict[str, str] = {}
        self._said = ""

    def begin(self) -> None:
        """Write the configuration, and start what watches.

        Raises:
            WatchkeeperError: a program is missing, or a port is taken; nothing has been started then.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        parts = [*third_party(self._settings, self._folder), *ours(self._settings)]
        for part in parts:
            refuse_taken_port(part)
        self._write(parts)
        for part in parts:
            self._start(part)
        self._name_processes()

    def look(self) -> None:
        """Begin again what has ended."""
        said = [words for kept in self._kept.values() if (words := kept.look())]
        for words in said:
            print(words, file=sys.stderr, flush=True)
        if said:
            self._name_processes()

    def look_for_work(self) -> None:
        """Start what there is to watch by now, and tell Prometheus."""
        try:
            for part in watched(self._settings):
                if part.name not in self._kept:
                    self._start(part)
        except (WatchkeeperError, OSError) as error:  # a damaged registry is for alerts, not for our end
            self._say_once(f"what there is to watch cannot be read: {error}")
        try:
            self._write([kept.part for kept in self._kept.values()])
        except OSError as error:  # nor is a full disk; tried again at the next look
            self._say_once(f"{self._folder} cannot be written: {error.strerror}")

    def end(self) -> None:
        """End all, the last first; nobody else may end them meanwhile."""
        (self._folder / PARTS).unlink(missing_ok=True)
        for kept in reversed(self._kept.values()):
            kept.end()

    def _say_once(self, words: str) -> None:
        if words != self._said:
            print(words, file=sys.stderr, flush=True)
        self._said = words

    def _start(self, part: Part) -> None:
        where = f"http://{part.address}" if part.port else ""
        print(f"{part.name:<13} {where}", file=sys.stderr, flush=True)
        self._kept[part.name] = Kept(part, self._logs / f"{part.name}.log")

    def _name_processes(self) -> None:
        found = (kept.process for kept in self._kept.values())
        try:
            ending.write(self._folder / PARTS, [process for process in found if process])
        except OSError as error:  # a full disk is for alerts, not for our end
            print(f"{self._folder / PARTS}: {error.strerror}", file=sys.stderr, flush=True)

    def _write(self, parts: list[Part]) -> None:
        found = targets(self._settings, parts)
        if found == self._targets:
            return
        token = self._settings.serve_token
        secrets = {"serve": token} if token else {}
        files.write(self._folder, self._settings, found, secrets, self._pace)
        self._targets = found


def refuse_taken_port(part: Part) -> None:
    """Stop before a part would fail again and again.

    Raises:
        WatchkeeperError: another process listens there.
    """
    if part.port is None:
        return
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", part.port))
        except OSError as error:
            raise WatchkeeperError(
                f"{part.name}: {part.address}: {error.strerror}; end what listens there, or set"
                f" WATCHKEEPER_{part.setting.upper()} to another"
            ) from None


def main() -> int:
    """Keep the watch until told to end."""
    parser = argparse.ArgumentParser(prog="python -m flows.health.watch", description=__doc__)
    parser.add_argument(
        "--pace", type=float, default=1.0, help="divide every `for`, window and interval by this, for a trial"
    )
    pace = parser.parse_args().pace
    if pace < 1:
        raise WatchkeeperError(f"--pace {pace:g}: at least 1, which is what ships")
    settings, over = load_settings(), threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: over.set())
    watch = Watch(settings, pace)
    try:
        watch.begin()
        if settings.prefect_api_url is None:
            start_server(settings)
        if settings.slack_webhook is None:
            print("WATCHKEEPER_SLACK_WEBHOOK is not set: the relay keeps what it would send", file=sys.stderr)
        looks = 0
        while not over.wait(LOOK_SECONDS):
            watch.look()
            if looks % WORK_LOOKS == 0:
                watch.look_for_work()
            looks += 1
    finally:
        watch.end()
    return 0


if __name__ == "__main__":
    run_command(main)
