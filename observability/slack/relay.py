"""`python -m observability.slack.relay --state FOLDER`: alerts and flow events in, messages out.

It answers 200 only when what it was told is on disk, and delivers from there. It also shows `/healthz`,
`/metrics`, and the runbooks that messages link.
"""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from observability.config import ObservabilitySettings, checked
from observability.errors import WatchkeeperError, run_command
from observability.metrics import RELAY_MESSAGES, RELAY_OLDEST, RELAY_RECEIVER, RELAY_WAITING
from observability.slack.delivery import Delivery
from observability.slack.items import Alert, Event, Item
from observability.slack.outbox import Outbox
from observability.slack.senders import sender_of
from observability.slack.spool import Intake, Spool

LOG = logging.getLogger("watchkeeper.slack")
RUNBOOKS = Path(__file__).parents[1] / "runbooks"
BODY_BYTES = 8 << 20
"""Some thousands of alerts: Alertmanager does not repeat what was refused."""
BODY_SECONDS = 10.0
CLOSING_SECONDS = 3


class Group(BaseModel):
    """A webhook's body, of Alertmanager (version 4) or Grafana: the alerts of one group."""

    alerts: list[Alert]


class RefusedError(Exception):
    """A request that is not taken, with a sentence for its sender."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Relay:
    """What answers.

    Args:
        delivery: of the outbox that is filled here.
        notifier: the setting, for the metric.
    """

    def __init__(self, delivery: Delivery, notifier: str) -> None:
        self._delivery, self._notifier = delivery, notifier
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def app(self) -> Starlette:
        """The ASGI app."""
        return Starlette(
            routes=[
                Route("/alerts", self.alerts, methods=["POST"]),
                Route("/events", self.events, methods=["POST"]),
                Route("/healthz", self.healthz),
                Route("/metrics", self.metrics),
                Route("/runbooks/{name}", self.runbook),
            ],
            exception_handlers={RefusedError: refused},
        )

    async def alerts(self, request: Request) -> Response:
        """`POST /alerts`: a group of alerts."""
        return await self._keep(request, lambda body: Group.model_validate_json(body).alerts)

    async def events(self, request: Request) -> Response:
        """`POST /events`: what a run came to."""
        return await self._keep(request, lambda body: [Event.model_validate_json(body)])

    async def healthz(self, _: Request) -> Response:
        """`GET /healthz`: whether messages are being delivered, or at least tried."""
        alive = self._delivery.alive
        return JSONResponse({"status": "ok" if alive else "the delivery has ended"}, 200 if alive else 503)

    async def metrics(self, _: Request) -> Response:
        """`GET /metrics`, for Prometheus."""
        text = await run_in_threadpool(generate_latest, self._registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    async def runbook(self, request: Request) -> Response:
        """`GET /runbooks/NAME.md`: a runbook's text."""
        pages = {path.name: path for path in RUNBOOKS.glob("*.md")}
        page = pages.get(request.path_params["name"])
        if page is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "there is no such runbook")
        return PlainTextResponse(page.read_text(encoding="utf-8"))

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """For prometheus_client."""
        counter = CounterMetricFamily(RELAY_MESSAGES.name, RELAY_MESSAGES.help, labels=["outcome"])
        for outcome in RELAY_MESSAGES.labels["outcome"] or ():
            counter.add_metric([outcome], self._delivery.outcomes[outcome])
        yield counter
        number, oldest = self._delivery.outbox.waiting()
        yield GaugeMetricFamily(RELAY_WAITING.name, RELAY_WAITING.help, number)
        if oldest is not None:
            yield GaugeMetricFamily(RELAY_OLDEST.name, RELAY_OLDEST.help, oldest)
        receiver = GaugeMetricFamily(RELAY_RECEIVER.name, RELAY_RECEIVER.help, labels=["notifier"])
        receiver.add_metric([self._notifier], float(self._delivery.sender is not None))
        yield receiver

    async def _keep(self, request: Request, parse: Callable[[bytes], Sequence[Item]]) -> Response:
        body = await body_of(request)
        try:
            items = parse(body)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the body"
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"{where}: {first['msg']}"[:300]) from None
        try:
            new = await run_in_threadpool(self._delivery.outbox.append, items)
        except sqlite3.Error as error:
            LOG.error("the outbox cannot be written: %s", error)
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "it cannot be kept; try again") from None
        self._delivery.wake()
        return JSONResponse({"new": new, "known": len(items) - new})


async def refused(_: Request, error: Exception) -> Response:
    """The answer to what is not taken."""
    assert isinstance(error, RefusedError)
    # The body may not have been read: the connection ends with the answer.
    return JSONResponse({"error": str(error)}, error.status, {"connection": "close"})


async def body_of(request: Request) -> bytes:
    """The whole body.

    Raises:
        RefusedError: too large or too slow, or not said to be JSON, which no other site's page can say.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES:
                    said = f"a body has at most {BODY_BYTES >> 20} MiB"
                    raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, said)
    except (TimeoutError, ClientDisconnect):
        raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive whole") from None
    return bytes(body)


def serve(settings: ObservabilitySettings, delivery: Delivery, spool: Spool) -> None:
    """Answer and deliver, until told to end; take in what lies in the spool.

    Raises:
        WatchkeeperError: the port is taken.
    """
    for name in (signal.SIGINT, signal.SIGTERM):  # uvicorn ends, and then raises the signal again
        signal.signal(name, lambda *_: None)
    host, port = settings.listen_host, settings.relay_port
    try:
        bound = socket.create_server((host, port))
    except OSError as error:
        reason = os.strerror(error.errno or 0)  # without the address, which `create_server` puts in
        raise WatchkeeperError(
            f"{host} port {port}: {reason}; set WATCHKEEPER_RELAY_PORT to another"
        ) from None
    app = Relay(delivery, settings.notifier).app()
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=CLOSING_SECONDS,
    )
    intake = Intake(spool, delivery.outbox, delivery.wake)
    delivery.start()
    intake.start()
    print(f"http://{host}:{port}", file=sys.stderr, flush=True)
    try:
        uvicorn.Server(config).run(sockets=[bound])
    finally:
        intake.close()
        delivery.close()


def run(settings: ObservabilitySettings, folder: Path, events: Path) -> int:
    """The relay of these settings, its outbox in the folder, flow events that it missed in another."""
    with closing(Outbox(folder)) as outbox:
        serve(settings, Delivery(outbox, sender_of(settings)), Spool(events))
    return 0


def main() -> int:
    """The relay by itself, as where no flow is."""
    args = argparse.ArgumentParser(prog="python -m observability.slack.relay", description=__doc__)
    args.add_argument("--state", type=Path, required=True, help="folder of the outbox")
    args.add_argument("--events", type=Path, help="folder of flow events that it missed; `events` beside it")
    said = args.parse_args()
    return run(checked(ObservabilitySettings), said.state, said.events or said.state.with_name("events"))


if __name__ == "__main__":
    run_command(main)
