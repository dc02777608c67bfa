"""Senders that take their time: many connections, each a byte at a time, all kinds at once."""

import contextlib
import selectors
import socket
import threading
import time
from dataclasses import dataclass, field

from tests.faults.serving.pictures import picture
from tests.faults.serving.wire import HOST, head, parse

CONNECTIONS = 24
"""Of each kind."""
EVERY = 0.2
"""Seconds between two bytes of a connection."""
ENDED_WITHIN = 25.0
"""Seconds. The service gives a head ten and a body ten, on a machine that does other things besides."""
LONG = "Content-Length: 5000"
JPEG = "Content-Type: image/jpeg"
CHUNKED = "Transfer-Encoding: chunked"
ANSWERED = head("GET /livez HTTP/1.1")


@dataclass(frozen=True)
class Slow:
    """What is sent at once, then byte by byte, again and again; and the outcomes that are right."""

    at_once: bytes
    then: bytes
    right: frozenset[str]


def slow(right: str, at_once: bytes, then: bytes) -> Slow:
    """`right` parts outcomes by blanks."""
    return Slow(at_once, then, frozenset(right.split()))


FORM = head("POST /predict HTTP/1.1", "Content-Type: multipart/form-data; boundary=x", LONG)
KINDS = {
    "nothing at all": slow("408 closed", b"", b""),
    "a head": slow("408 closed", b"", b"GET /model HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * 1000),
    "headers": slow("408 closed", b"GET /model HTTP/1.1\r\n", b"A: b\r\n" * 1000),
    "line ends": slow("408 closed", b"", b"\r\n" * 1000),
    "a second head": slow("200 408 closed", ANSWERED, b"GET /model HTTP/1.1\r\n" + b"A: b\r\n" * 1000),
    "line ends after an answer": slow("200 408 closed", ANSWERED, b"\r\n" * 1000),
    "no body": slow("body_timeout", head("POST /predict HTTP/1.1", JPEG, LONG), b""),
    "a body": slow("body_timeout", head("POST /predict HTTP/1.1", JPEG, LONG), picture("JPEG")),
    "a body asked for": slow(
        "body_timeout", head("POST /predict HTTP/1.1", JPEG, LONG, "Expect: 100-continue"), b"a" * 999
    ),
    "chunks": slow("body_timeout", head("POST /predict HTTP/1.1", JPEG, CHUNKED), b"1\r\na\r\n" * 999),
    "a chunk's name": slow("body_timeout", head("POST /predict HTTP/1.1", JPEG, CHUNKED) + b"1;", b"a" * 999),
    "a form": slow(
        "body_timeout", FORM, b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + b"a" * 999
    ),
    "feedback": slow("body_timeout", head("POST /feedback HTTP/1.1", LONG), b" " * 999),
    "a body to nowhere": slow("not_found", head("POST /x HTTP/1.1", LONG), b"a" * 999),
}


@dataclass
class Sender:
    """One connection."""

    kind: str
    connection: socket.socket
    left: bytes
    received: bytearray = field(default_factory=bytearray)
    ended: float | None = None

    def outcomes(self) -> list[str]:
        """What came before the end."""
        return [reply.outcome for reply in parse(bytes(self.received), closed=True)] or ["closed"]


class SlowSenders(threading.Thread):
    """Sends as all kinds at once, until the service has ended every connection."""

    def __init__(self, port: int) -> None:
        super().__init__(name="slow senders", daemon=True)
        self.senders: list[Sender] = []
        self.seconds: dict[str, float] = {}
        self._port, self._choose = port, selectors.DefaultSelector()

    def run(self) -> None:
        """Open, then send a byte of each in each round."""
        for kind, what in KINDS.items():
            for _ in range(CONNECTIONS):
                connection = socket.create_connection(("127.0.0.1", self._port), timeout=10)
                connection.sendall(what.at_once)
                connection.setblocking(False)
                sender = Sender(kind, connection, what.then)
                self._choose.register(connection, selectors.EVENT_READ, sender)
                self.senders.append(sender)
        started = time.monotonic()
        while (now := time.monotonic()) < started + ENDED_WITHIN + 5 and self._choose.get_map():
            self._read_until(now + EVERY)
            for sender in self.senders:
                if sender.ended is None and sender.left:
                    with contextlib.suppress(OSError):
                        sender.connection.send(sender.left[:1])
                    sender.left = sender.left[1:]
        for sender in self.senders:
            sender.connection.close()
            taken = sender.ended - started if sender.ended else float("inf")
            self.seconds[sender.kind] = max(taken, self.seconds.get(sender.kind, 0.0))

    def _read_until(self, deadline: float) -> None:
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in self._choose.select(left):
                sender: Sender = key.data
                try:
                    data = sender.connection.recv(65536)
                except OSError:
                    data = b""
                sender.received += data
                if not data:
                    sender.ended = time.monotonic()
                    self._choose.unregister(sender.connection)
            if not self._choose.get_map():
                time.sleep(max(0.0, left))
