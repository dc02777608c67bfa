"""Where Grafana's alerts go: contact points, the policy tree, the words of the native message, mute timings.

The builders are used where they say what Grafana's API reads; for routes and mute timings they do not: it
reads a matcher as a list of three words, and a weekday by its name.
"""

from typing import Any

from grafana_foundation_sdk.builders import alerting
from pydantic import SecretStr

from observability.config import ObservabilitySettings
from observability.prometheus.files import (
    GROUPED,
    NATIVE_TEXT,
    NATIVE_TITLE,
    PAST_RELAY,
    PAST_RELAY_GROUPED,
    REFUSING,
)
from observability.slack.items import BLIND

RELAY = "watchkeeper-relay"
SLACK = "watchkeeper-slack"
WORDS = "watchkeeper"
"""The message template: its title and its text."""
WEEKENDS = "watchkeeper-weekends"


def contact_points(settings: ObservabilitySettings, slack: SecretStr | str | None) -> list[dict[str, Any]]:
    """The relay, and Slack itself for when the relay is down.

    Args:
        settings: of where the relay is.
        slack: the webhook, or what Grafana's files expand to it; without it there is no such contact point.
    """
    relay = f"http://{settings.relay_host}:{settings.relay_port}/alerts"
    points: list[tuple[str, Any, dict[str, Any]]] = [(RELAY, "webhook", {"url": relay, "httpMethod": "POST"})]
    if slack:
        said = {part: f'{{{{ template "{WORDS}.{part}" . }}}}' for part in ("title", "text")}
        points.append((SLACK, "slack", {"url": slack, **said}))
    return [
        alerting.ContactPoint()
        .uid(name)
        .name(name)
        .type(kind)
        .settings(said)
        .disable_resolve_message(False)
        .build()
        .to_json()
        for name, kind, said in points
    ]


def policies(native: bool) -> dict[str, Any]:
    """The tree: all to the relay; past it what it cannot tell, where there is a `native` way to Slack.

    The first route that matches is taken: on a weekend too somebody hears that an info rule is blind.
    """
    down = {
        "receiver": SLACK,
        "object_matchers": [["alertname", "=~", PAST_RELAY]],
        "group_by": PAST_RELAY_GROUPED,
    }
    refusing = down | {
        "object_matchers": [["alertname", "=", "NotificationsFailing"], ["integration", "=~", REFUSING]]
    }
    # Where Prometheus does not answer every rule says so, at the first error and whatever its `for` is
    # (`resultError` of grafana/grafana pkg/services/ngalert/state): one message, and none for a restart.
    blind = {
        "receiver": RELAY,
        "object_matchers": [["alertname", "=~", "|".join(BLIND)]],
        "group_wait": "1m",
    }
    info = {
        "receiver": RELAY,
        "object_matchers": [["severity", "=", "info"]],
        "mute_time_intervals": [WEEKENDS],
        "repeat_interval": "1w",
    }
    return {"receiver": RELAY, **GROUPED, "routes": [*([down, refusing] if native else []), blind, info]}


def templates() -> list[dict[str, Any]]:
    """The native message, in Alertmanager's words."""
    parts = (("title", NATIVE_TITLE), ("text", NATIVE_TEXT))
    text = "\n".join(f'{{{{ define "{WORDS}.{part}" }}}}{said}{{{{ end }}}}' for part, said in parts)
    return [{"name": WORDS, "template": text}]


def mute_timings() -> list[dict[str, Any]]:
    """Weekends, for what nobody has to do anything about."""
    return [{"name": WEEKENDS, "time_intervals": [{"weekdays": ["saturday", "sunday"]}]}]
