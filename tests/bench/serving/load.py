"""The load generator: `python -m tests.bench.serving.load` reads a plan as JSON and writes what it saw.

It shares the processor with what it measures, so it is one loop around `select` over raw sockets: requests
are made before the clock starts, and of an answer only the status line, three headers and the model version
are read. Two kinds of load: so many clients that each send again when they have their answer (closed), or
requests at a fixed rate whatever the answers do (paced; a latency counts from the time a request was due).
"""

import heapq
import json
import random
import selectors
import socket
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path

BROKEN = 0  # the status of a request without an answer
REFUSED = (429, 503)
GRACE_SECONDS = 15.0
CONNECTING_SECONDS = 0.5
PAUSE_SECONDS = 0.005
MOST_CLIENTS = 512  # of a paced load; what is due beyond waits, and its latency counts
VERSION = b'"model_version"'


@dataclass(frozen=True)
class Plan:
    """One load.

    Attributes:
        port: on 127.0.0.1.
        pictures: files that are sent in turn, as raw bodies.
        seconds: how long requests are sent.
        clients: connections; a paced load opens more when all are waiting.
        rate: requests a second; 0 for a closed load.
        start: `time.time()` of the first request; 0 for at once.
        path: of the request.
    """

    port: int
    pictures: list[str]
    seconds: float
    clients: int = 32
    rate: float = 0.0
    start: float = 0.0
    path: str = "/predict"


@dataclass
class Seen:
    """A column for each fact of an answer, in the order of the answers; times are of `time.time()`."""

    sent: list[float] = field(default_factory=list)
    received: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    version: list[int] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    refusals_without_retry_after: int = 0
    late_seconds: float = 0.0
    begin: float = 0.0
    cpu_seconds: float = 0.0


class Client:
    """One connection and the request on it."""

    __slots__ = ("buffer", "sent", "socket", "unsent")

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.sent = 0.0  # 0: no request under way
        self.buffer = b""
        self.unsent = memoryview(b"")


class Load:
    """Runs a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.seen = plan, Seen()
        self.requests = [self._request(Path(name)) for name in plan.pictures]
        self.turn = 0
        # Of the two, only `select` waits for less than a millisecond; only `epoll` has no limit of files.
        self.selector = selectors.SelectSelector() if plan.rate else selectors.DefaultSelector()
        self.waiting: list[tuple[float, int, Client]] = []  # clients that were told when to come back
        self.idle: deque[Client] = deque()
        self.numbers: dict[bytes, int] = {}
        self.under_way = 0
        self.offset = time.time() - time.monotonic()
        self.random = random.Random(0)

    def _request(self, picture: Path) -> bytes:
        body = picture.read_bytes()
        head = (
            f"POST {self.plan.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.plan.port}\r\n"
            f"Content-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def run(self) -> Seen:
        """Send for the plan's seconds, then wait for the answers that are under way."""
        clients = [Client() for _ in range(self.plan.clients)]
        # A server need not keep a connection on which nothing comes, so they are opened late; and one by one,
        # as clients come that do not know of each other: the first worker to wake takes all that wait.
        pause = min(PAUSE_SECONDS, CONNECTING_SECONDS / len(clients))
        time.sleep(max(0.0, self.plan.start - CONNECTING_SECONDS - 0.1 - time.time()))
        for client in clients:
            self._connect(client)
            time.sleep(pause)
        self.random.shuffle(clients)
        time.sleep(max(0.0, self.plan.start - time.time()))
        began, burnt = time.monotonic(), time.process_time()
        end = began + self.plan.seconds
        self.seen.begin = began + self.offset
        if self.plan.rate:
            self.idle.extend(clients)
            self._pace(began, end)
        else:
            for client in clients:
                self._send(client, time.monotonic())
            self._close_the_loop(end)
        self.seen.cpu_seconds = time.process_time() - burnt
        self._wait_for_the_rest(time.monotonic() + GRACE_SECONDS)
        self.seen.versions = [name.decode() for name in self.numbers]
        return self.seen

    def _close_the_loop(self, end: float) -> None:
        while (now := time.monotonic()) < end:
            while self.waiting and self.waiting[0][0] <= now:
                self._send(heapq.heappop(self.waiting)[2], now)
            until = min(end, self.waiting[0][0]) if self.waiting else end
            for client in self._answered(until - now):
                self._send(client, time.monotonic())

    def _pace(self, began: float, end: float) -> None:
        count, due = 0, began
        while (now := time.monotonic()) < end:
            while due <= now and (self.idle or self.under_way < MOST_CLIENTS):
                client = self.idle.popleft() if self.idle else Client()
                self.seen.late_seconds = max(self.seen.late_seconds, now - due)
                self._send(client, due)
                count += 1
                due = began + count / self.plan.rate
            until = due if self.idle or self.under_way < MOST_CLIENTS else end
            self.idle.extend(self._answered(max(0.0, min(end, until) - time.monotonic())))

    def _wait_for_the_rest(self, until: float) -> None:
        while self.under_way and (left := until - time.monotonic()) > 0:
            list(self._answered(left))
        for _ in range(self.under_way):
            self._note(until, until, BROKEN, b"")

    def _connect(self, client: Client) -> bool:
        client.buffer, client.unsent = b"", memoryview(b"")
        try:
            client.socket = socket.create_connection(("127.0.0.1", self.plan.port), timeout=5)
        except OSError:
            client.socket = None
            return False
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.socket.setblocking(False)
        self.selector.register(client.socket, selectors.EVENT_READ, client)
        return True

    def _disconnect(self, client: Client) -> None:
        if client.socket:
            self.selector.unregister(client.socket)
            client.socket.close()
            client.socket = None

    def _send(self, client: Client, when: float) -> None:
        """Begin the next request; `when` is what its latency counts from."""
        client.sent = when
        self.under_way += 1
        if not client.socket and not self._connect(client):
            self._broken(client)
            return
        client.unsent = memoryview(self.requests[self.turn])
        self.turn = (self.turn + 1) % len(self.requests)
        self._send_more(client)

    def _send_more(self, client: Client) -> None:
        assert client.socket
        try:
            client.unsent = client.unsent[client.socket.send(client.unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            # The answer may be there all the same: what is read decides.
            client.unsent = memoryview(b"")
            return
        if client.unsent:
            self.selector.modify(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, client)

    def _answered(self, seconds: float) -> list[Client]:
        """Wait for events; the clients that may send again now."""
        free = []
        for key, events in self.selector.select(seconds):
            client: Client = key.data
            if events & selectors.EVENT_WRITE:
                self.selector.modify(key.fileobj, selectors.EVENT_READ, client)
                self._send_more(client)
            if events & selectors.EVENT_READ and self._receive(client):
                free.append(client)
        return free

    def _receive(self, client: Client) -> bool:
        """Read what is there; whether the client may send again now."""
        assert client.socket
        try:
            data = client.socket.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data or not client.sent:  # the server ends the connection, with or without a word
            self._disconnect(client)
            if client.sent:
                self._broken(client)
            return False
        client.buffer += data
        end = client.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = client.buffer[:end].lower()
        length = header(head, b"content-length")
        if length is None:
            raise SystemExit(f"an answer without a length: {head!r}")
        if len(client.buffer) < end + 4 + int(length):
            return False
        return self._finish(client, head, client.buffer[end + 4 :])

    def _finish(self, client: Client, head: bytes, body: bytes) -> bool:
        """Note a whole answer; whether the client may send again now."""
        now, status = time.monotonic(), int(head[9:12])
        self._note(client.sent, now, status, version_of(body))
        client.sent, client.buffer = 0.0, b""
        if client.unsent or header(head, b"connection") == b"close":
            self._disconnect(client)
        if status not in REFUSED:
            return True
        after = header(head, b"retry-after")
        self.seen.refusals_without_retry_after += after is None
        if self.plan.rate:  # who comes next is somebody else
            return True
        # Clients that were refused together do not come back together.
        self._rest(client, now + float(after or 1) * self.random.uniform(1, 1.25))
        return False

    def _broken(self, client: Client) -> None:
        now = time.monotonic()
        self._note(client.sent, now, BROKEN, b"")
        client.sent = 0.0
        if self.plan.rate:
            self.idle.append(client)
        else:
            self._rest(client, now + 0.1)

    def _rest(self, client: Client, until: float) -> None:
        heapq.heappush(self.waiting, (until, id(client), client))

    def _note(self, sent: float, received: float, status: int, version: bytes) -> None:
        self.under_way -= 1
        self.seen.sent.append(round(sent + self.offset, 6))
        self.seen.received.append(round(received + self.offset, 6))
        self.seen.status.append(status)
        self.seen.version.append(self.numbers.setdefault(version, len(self.numbers)))


def header(head: bytes, name: bytes) -> bytes | None:
    """A header's value in a head in lower case."""
    at = head.find(b"\r\n" + name + b":")
    if at < 0:
        return None
    at += len(name) + 3
    end = head.find(b"\r\n", at)
    return head[at : end if end >= 0 else len(head)].strip()


def version_of(body: bytes) -> bytes:
    """The model version in a JSON answer, or b""."""
    at = body.find(VERSION)
    if at < 0:
        return b""
    begin = body.find(b'"', at + len(VERSION)) + 1
    return body[begin : body.find(b'"', begin)]


if __name__ == "__main__":
    json.dump(asdict(Load(Plan(**json.load(sys.stdin))).run()), sys.stdout)
