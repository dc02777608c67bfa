"""uvicorn's HTTP protocol with two bounds that it lacks: on a request's head in bytes, and in seconds.

BentoML makes uvicorn's configuration and server itself and names no protocol, so that uvicorn takes the one
of its module `auto`: `install` puts ours there, and our server, before the worker starts.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.bento.accept import FairServer

MOST_BYTES = 64 << 10
"""Of a request's head: its line and its headers."""
SECONDS = 10.0
"""For a head to arrive."""
ANSWER = b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose request has no end of its head."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # uvicorn's own
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = True
        self._timer: asyncio.TimerHandle | None = None
        self.gives_up_one: Callable[[], bool] = lambda: False  # the server says more

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(SECONDS, self._end, b"408 Request Timeout")

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head that is not complete."""
        in_head = self._in_head
        super().data_received(data)
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            # Line ends between requests begin no head, but uvicorn has put its own timer away.
            self._timer = self.loop.call_later(SECONDS, self._end, b"408 Request Timeout")
        if in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_BYTES:
                self._end(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """A head begins; its first bytes are here."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        if self._timer is None:
            self._timer = self.loop.call_later(SECONDS, self._end, b"408 Request Timeout")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; after the head it is a trailer, of which nobody needs one."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()
        if self.cycle and self.gives_up_one():
            self.cycle.keep_alive = False  # its answer says so

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for."""
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _end(self, status: bytes) -> None:
        self._timer = None
        if not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:
                self.transport.write(ANSWER % status)
            self.transport.close()


def install() -> None:
    """Have BentoML's worker take this protocol, and the server that shares connections evenly."""
    auto.AutoHTTPProtocol = BoundedProtocol
    uvicorn.Server = FairServer  # type: ignore[misc]
