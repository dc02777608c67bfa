"""A uvicorn server whose workers share new connections evenly.

The workers wait for one socket, and whichever wakes first takes what has come: with 32 clients, 26 on one
worker and 6 on the other are common, and one core waits while the other's queue is full. Here each worker
says how many connections it has, in a small file that all of them map, and one that has more than the least
lets the others go first for a moment: the longer, the more it has, as the others may be at a batch. As
connections last, one that has many more all the same, such as after another's death, ends some with an
answer, ten a second at most; their clients come anew.
"""

import asyncio
import fcntl
import mmap
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn

MOMENT, LONGEST = 0.002, 0.05
"""Seconds for each connection too many, and for all; nobody else came in that time, so it is taken after."""
SMALL = 4
"""Connections more than another worker that nobody has to give up."""
EXHAUSTED = 1.0
"""Seconds until the next try where the process has no file descriptor left."""
SLOT = struct.Struct("II")  # process, connections
SLOTS = 512
NONE_PLEASE = 2**32 - 1
"""What a worker that takes no more connections says that it has."""


def lives(process: int) -> bool:
    """Whether a process runs: one that was killed is listed until its parent has seen it."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return not Path("/proc/self").exists()  # not on Linux: nobody is taken for dead
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


class Counts:
    """How many connections each worker has: a slot a process, that of a dead one is taken over."""

    def __init__(self, path: Path) -> None:
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(SLOT.size * SLOTS)
            self._map = mmap.mmap(file.fileno(), SLOT.size * SLOTS)
            self._mine = next(slot for slot in range(SLOTS) if not self._lives(slot))
            self.publish(0)
            fcntl.flock(file, fcntl.LOCK_UN)  # the map keeps the file open, and would keep the lock

    def publish(self, connections: int) -> None:
        """Say how many this worker has."""
        SLOT.pack_into(self._map, self._mine * SLOT.size, os.getpid(), connections)

    def least(self) -> int | None:
        """The fewest that another worker has; None where there is no other."""
        others = []
        for slot in range(SLOTS):
            process, connections = SLOT.unpack_from(self._map, slot * SLOT.size)
            if process == 0:
                break
            if slot != self._mine and self._lives(slot):
                others.append(connections)
        return min(others, default=None)

    def _lives(self, slot: int) -> bool:
        process, _ = SLOT.unpack_from(self._map, slot * SLOT.size)
        return process != 0 and lives(process)


class Listener:
    """Takes connections from the shared socket, one at a time; stands where asyncio's server would."""

    def __init__(
        self,
        sock: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        connections: Callable[[], int],
        counts: Counts,
    ) -> None:
        self._sock, self._protocol, self._connections, self._counts = sock, protocol, connections, counts
        self._loop = asyncio.get_running_loop()
        self._begun: set[asyncio.Task[Any]] = set()
        self._closed = False
        sock.setblocking(False)
        self._loop.add_reader(sock, self._come)

    def close(self) -> None:
        """Take no more."""
        self._counts.publish(NONE_PLEASE)
        self._closed = True
        self._loop.remove_reader(self._sock)

    async def wait_closed(self) -> None:
        """As asyncio's server has it."""

    def _come(self) -> None:
        least, mine = self._counts.least(), self._connections() + len(self._begun)
        if least is None or mine <= least:
            self._accept()
        else:
            self._pause(min(MOMENT * (mine - least), LONGEST))

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._sock)
        self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._sock, self._come)
            self._accept()

    def _accept(self) -> None:
        try:
            connection, _ = self._sock.accept()
        except (
            BlockingIOError,
            InterruptedError,
            ConnectionAbortedError,
        ):  # another worker has it, or it went
            return
        except OSError:
            self._pause(EXHAUSTED)
            return
        task = self._loop.create_task(self._take(connection))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        self._counts.publish(self._connections() + len(self._begun))

    async def _take(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        with suppress(OSError):  # its client has gone
            await self._loop.connect_accepted_socket(self._protocol, connection)


class FairServer(uvicorn.Server):
    """uvicorn's server, but for how it takes connections from a socket that is given to it."""

    _counts: Counts | None = None
    _one_too_many = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does; alone, with TLS or with a socket of its own exactly so."""
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")  # BentoML's: one a service
        if not sockets or not folder or self.config.ssl:
            await super().startup(sockets)
            return
        await super().startup([])
        self._counts = counts = Counts(Path(folder) / "connections")
        listeners = [Listener(sock, self._make, self._number, counts) for sock in sockets]
        self.servers = listeners  # type: ignore[assignment]

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; connections that have ended are seen here."""
        if self._counts:
            mine = self._number()
            self._counts.publish(mine)
            least = self._counts.least()
            self._one_too_many = least is not None and mine > least + SMALL
        return await super().on_tick(counter)

    def gives_up_one(self) -> bool:
        """Whether the connection that asks should end with its answer: one between two ticks at most."""
        asked, self._one_too_many = self._one_too_many, False
        return asked

    def _number(self) -> int:
        return len(self.server_state.connections)

    def _make(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        made.gives_up_one = self.gives_up_one  # type: ignore[attr-defined]
        return made
