"""What a run came to, told to the relay: fire and forget, silent where no relay runs, as `emit.py` is."""

import urllib.request
from functools import cache

from observability.background import PATIENCE_SECONDS, Background
from observability.config import ObservabilitySettings
from observability.slack.items import Event


def tell(event: Event) -> None:
    """Have the relay told, if the settings want this event; nobody waits."""
    teller().put(event)


@cache
def teller() -> Background[Event]:
    """The process's."""
    return Background("events", post)


def post(event: Event) -> None:
    """Tell it now.

    Raises:
        OSError: the relay does not take it.
        ValueError: the settings cannot be read.
        HTTPException: what answers there is no relay.
    """
    settings = ObservabilitySettings()
    if not wanted(settings, event):
        return
    request = urllib.request.Request(
        f"http://{settings.relay_host}:{settings.relay_port}/events",
        event.model_dump_json().encode(),
        {"content-type": "application/json"},
    )
    # Without a proxy: the relay is on the loopback, HTTP_PROXY may be set.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(request, timeout=PATIENCE_SECONDS).close()


def wanted(settings: ObservabilitySettings, event: Event) -> bool:
    """A task speaks only where it is named: else each failure would be told twice, by its flow too."""
    said = settings.slack_events
    others = said.get("*", []) if event.kind == "flow" else []
    return event.event in said.get(event.name, others)
