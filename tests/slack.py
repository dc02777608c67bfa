"""What tests of messages share: alerts, a clock that is moved, and webhooks that answer as they are told."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from observability.slack.message import Message, Part
from observability.slack.senders import Answer

PATH = "/services/T0SECRET/B0SECRET/not-for-anyones-eyes"
EVENT = {
    "kind": "flow",
    "name": "etl",
    "run": "etl-hm",
    "id": "0198",
    "event": "failure",
    "when": "2026-11-22T02:10:00Z",
    "reason": "no disk",
}
"""A flow event as `watched.py` sends it."""
SECRETS = ("T0SECRET", "B0SECRET", "not-for-anyones-eyes")
"""Of `PATH`: no log may have them."""
LATER, OK = Answer("later", "500"), Answer("delivered")


class Receiver:
    """Answers as it is told, one after the other; then takes everything."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.got: list[str] = []
        self.parts: list[list[Part]] = []

    def send(self, message: Message) -> Answer:
        answer = self.answers.pop(0) if self.answers else OK
        if answer.outcome == "delivered":
            self.got.append(message.headline)
            self.parts.append(message.parts)
        return answer


class Clock:
    """One that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Reply:
    """What a request gets."""

    status: int = 200
    body: str = "ok"
    headers: dict[str, str] = field(default_factory=dict)
    instead: Literal["hang", "reset"] | None = None


class FakeSlack:
    """The server.

    Attributes:
        path: of the webhook; elsewhere nothing is taken.
        reply: asked for each request.
        poison: words that get a 500 instead.
        paths: of all requests.
        taken: bodies that were answered with 200, in order.
        taken_at: when each was, on the monotonic clock.
    """

    def __init__(self, reply: Callable[[], Reply], path: str) -> None:
        self.reply, self.path = reply, path
        self.poison: str | None = None
        self.paths: list[str] = []
        self.taken: list[dict[str, Any]] = []
        self.taken_at: list[float] = []
        self.over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.answer(self, body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}{path}"

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self.paths.append(request.path)
        poisoned = self.poison is not None and self.poison in body.decode()
        reply = Reply(500) if poisoned else self.reply()
        if body == b"{}" and reply.status == 200 and not reply.instead:  # an empty message is never posted
            reply = Reply(400, "no_text")
        if reply.instead == "hang":
            self.over.wait(30)
        if reply.instead:
            linger = struct.pack("ii", 1, 0)
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            request.connection.close()
            return
        if reply.status == 200 and request.path.startswith(self.path):
            self.taken_at.append(time.monotonic())
            self.taken.append(json.loads(body))
        request.send_response(reply.status)
        for name, value in {"content-length": str(len(reply.body)), **reply.headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(reply.body.encode())

    def texts(self) -> list[str]:
        """Headlines of what was taken."""
        return [message["text"] for message in self.taken]


@contextmanager
def fake_slack(reply: Callable[[], Reply] = Reply, path: str = PATH) -> Iterator[FakeSlack]:
    slack = FakeSlack(reply, path)
    thread = threading.Thread(target=slack.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield slack
    finally:
        slack.over.set()
        slack.server.shutdown()
        slack.server.server_close()
        thread.join()


def alert(number: int, status: str = "firing", **labels: str) -> dict[str, Any]:
    """An alert as Alertmanager sends it."""
    return {
        "status": status,
        "labels": {"alertname": "TableStale", "severity": "ticket", "owner": "data", "table": f"t{number}"}
        | labels,
        "annotations": {
            "summary": f"number {number}",
            "description": "The newest row is old.",
            "runbook_url": "http://127.0.0.1:9876/runbooks/TableStale.md",
            "dashboard_url": "http://127.0.0.1:3001/d/watchkeeper-pipelines",
        },
        "startsAt": "2026-11-22T02:10:00.123456789Z",
        "endsAt": "2026-11-22T02:40:30Z" if status == "resolved" else "0001-01-01T00:00:00Z",
        "generatorURL": "http://127.0.0.1:9090/graph",
        "fingerprint": f"{number:016x}",
    }


def group(*alerts: dict[str, Any]) -> dict[str, Any]:
    """A webhook's body as Alertmanager sends it."""
    return {
        "version": "4",
        "groupKey": '{}:{alertname="TableStale"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "relay",
        "groupLabels": {"alertname": "TableStale"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://127.0.0.1:9093",
        "alerts": list(alerts),
    }
