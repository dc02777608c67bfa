"""The process of a home's Prefect server; flows/server_spawn.py starts it, as `python -m` this module.

It serves on the socket that it was handed, and ends when the process that started it has ended
(however: SIGKILL too), unless `run/server.json` says by then that it may stay. Before it ends it
records what it was sent.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from flows.config import Settings
from flows.server_record import one_at_a_time, read_record, remove_record, take_place

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# How soon a server notices that the process it ran for is gone.
POLL_SECONDS = 0.25
# What open connections (a browser on the UI's event stream) get to finish in.
SHUTDOWN_SECONDS = 3
# What it gets to record what it was sent.
SETTLE_SECONDS = 10


def main() -> None:
    """Serve until told to stop, or until nobody needs it."""
    parser = argparse.ArgumentParser(prog="python -m flows.server_process", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the WATCHKEEPER_HOME it is of")
    parser.add_argument("--socket", type=int, required=True, help="descriptor of a bound socket")
    parser.add_argument("--parent", type=int, required=True, help="pid of what started it")
    arguments = parser.parse_args()
    settings = Settings(home=arguments.home)
    threading.Thread(target=_end_with, args=(arguments.parent, settings), daemon=True).start()
    with take_place(settings):
        _serve(socket.socket(fileno=arguments.socket))


def _end_with(parent: int, settings: Settings) -> None:
    # A poll and not a pipe: a pipe's other end would live on in whatever the parent forked.
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    with one_at_a_time(settings):  # `start` may be about to take us over.
        record = read_record(settings)
        if record and record.pid == os.getpid():
            if record.owner is None:
                return
            remove_record(settings)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(2 * (SHUTDOWN_SECONDS + SETTLE_SECONDS))
    os._exit(1)


def _serve(bound: socket.socket) -> None:
    # Imported late, so that a parent's death during these two seconds is seen.
    import uvicorn
    from prefect.server.api.server import create_app

    app = _settling(create_app(final=True))
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=SHUTDOWN_SECONDS)
    server = uvicorn.Server(config)
    server.run(sockets=[bound])
    if not server.started:
        sys.exit(3)


def _settling(app: "ASGIApp") -> "ASGIApp":
    """Wrap Prefect's app so that, told to end, it first records what it has been sent.

    Task runs reach its database through a queue in memory, and ending drops that queue.
    """

    async def settling(scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def receive_when_settled() -> "Message":
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await _queues_are_empty()
            return message

        await app(scope, receive_when_settled if scope["type"] == "lifespan" else receive, send)

    return settling


async def _queues_are_empty() -> None:
    from prefect.server.utilities.messaging.memory import METRICS

    deadline = time.monotonic() + SETTLE_SECONDS
    while any(topic["published"] > topic["consumed"] for topic in METRICS.values()):
        if time.monotonic() > deadline:
            return
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    main()
