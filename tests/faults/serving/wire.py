"""HTTP as an enemy speaks it: any bytes over a socket, and whatever comes back."""

import json
import select
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

HOST = b"Host: 127.0.0.1\r\n"
PROBLEM = {"type", "title", "status", "code", "detail"}


@dataclass(frozen=True)
class Reply:
    """An answer as it came."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def outcome(self) -> str:
        """The problem's code, where it is one as the service promises; else the status."""
        if self.headers.get(b"content-type") != b"application/problem+json":
            return str(self.status)
        said = self.json()
        assert said.keys() == PROBLEM
        assert said["status"] == self.status
        assert 0 < len(said["detail"]) < 1000
        if self.status in (429, 503):
            assert int(self.headers[b"retry-after"]) > 0
        return str(said["code"])


def parse(data: bytes, *, closed: bool) -> list[Reply]:
    """The whole replies in what has come; HTTP/0.9 and rubbish are a reply of status 0."""
    replies: list[Reply] = []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end or not head.startswith(b"HTTP/1."):
            return replies + ([Reply(0, {}, data)] if closed else [])
        line, *lines = head.split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (item.partition(b":") for item in lines)}
        status = int(line.split()[1])
        size = int(headers.get(b"content-length", 0))
        if headers.get(b"transfer-encoding") == b"chunked":
            size = rest.find(b"0\r\n\r\n") + 5 if b"0\r\n\r\n" in rest else len(rest) + 1
        if len(rest) < size:
            return replies
        if status >= 200:
            replies.append(Reply(status, headers, rest[:size]))
        data = rest[size:]
    return replies


def converse(
    port: int, pieces: Iterable[bytes], *, answers: int = 1, half_close: bool = False, seconds: float = 20
) -> list[Reply]:
    """Send until all is sent or the server has had enough; its replies, none where it only closed.

    Raises:
        AssertionError: it neither answers nor closes.
    """
    deadline, waiting = time.monotonic() + seconds, iter(pieces)
    received, pending, sending = bytearray(), memoryview(b""), True
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.setblocking(False)
        while len(parse(bytes(received), closed=False)) < answers:
            while sending and not pending:
                piece = next(waiting, None)
                if piece is None:
                    sending = False
                    if half_close:
                        connection.shutdown(socket.SHUT_WR)
                else:
                    pending = memoryview(piece)
            left = max(0.0, deadline - time.monotonic())
            readable, writable, _ = select.select([connection], [connection] if sending else [], [], left)
            assert readable or writable, f"neither an answer nor a close in {seconds:g} s"
            try:
                if writable:
                    pending = pending[connection.send(pending) :]
            except OSError:  # it has had enough; its last words may still be here
                sending = False
            try:
                if readable:
                    data = connection.recv(1 << 16)
                    if not data:
                        break
                    received += data
            except OSError:
                break
    return parse(bytes(received), closed=True)


def head(line: str, *headers: str) -> bytes:
    """A request's head; `headers` are lines."""
    return line.encode() + b"\r\n" + HOST + b"".join(h.encode("latin-1") + b"\r\n" for h in headers) + b"\r\n"


def post(path: str, body: bytes, kind: str | None, *headers: str) -> bytes:
    """A well-formed POST."""
    more = [*headers, f"Content-Length: {len(body)}"]
    if kind is not None:
        more.append(f"Content-Type: {kind}")
    return head(f"POST {path} HTTP/1.1", *more) + body


def get(port: int, path: str) -> Reply:
    """A GET's reply."""
    (reply,) = converse(port, [head(f"GET {path} HTTP/1.1", "Connection: close")])
    return reply
