"""What a run came to, told to the relay: nobody waits, nothing fails, what cannot be told lies on disk."""

import urllib.request
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError

from observability.background import PATIENCE_SECONDS, Background
from observability.config import ObservabilitySettings
from observability.slack.items import Event
from observability.slack.spool import Spool

NEVER = {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}
"""Answers of a relay that will not take this event at any time."""


class Teller:
    """Tells one relay of what the settings want, from one folder of events.

    Args:
        settings: of the relay and of what is wanted.
        folder: where events lie until the relay has them.
    """

    def __init__(self, settings: ObservabilitySettings, folder: Path) -> None:
        self._settings, self._spool = settings, Spool(folder)
        # Without a proxy: the relay is on the loopback, HTTP_PROXY may be set.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._background: Background[list[Event]] = Background("events", self._hand_over)

    def tell(self, event: Event) -> None:
        """Have the relay told, if the settings want this event."""
        if not wanted(self._settings, event):
            return
        unkept = []
        try:
            self._spool.keep(event)
        except OSError:  # a full disk, above all: it may be told still
            unkept.append(event)
        self._background.put(unkept)

    def close(self) -> None:
        """Tell what waits, with patience."""
        self._background.close()

    def _hand_over(self, unkept: list[Event]) -> None:
        self._spool.hand_over(self._post)
        for event in unkept:
            self._post(event.model_dump_json().encode())

    def _post(self, body: bytes) -> None:
        request = urllib.request.Request(
            f"http://{self._settings.relay_host}:{self._settings.relay_port}/events",
            body,
            {"content-type": "application/json"},
        )
        try:
            self._opener.open(request, timeout=PATIENCE_SECONDS).close()
        except HTTPError as error:
            error.close()
            if error.code not in NEVER:
                raise


def wanted(settings: ObservabilitySettings, event: Event) -> bool:
    """A task speaks only where it is named: else each failure would be told twice, by its flow too."""
    said = settings.slack_events
    others = said.get("*", []) if event.kind == "flow" else []
    return event.event in said.get(event.name, others)
