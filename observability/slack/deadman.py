"""`python -m observability.slack.deadman --state FOLDER`: says when Prometheus or the relay is silent.

It stands outside both: it asks Prometheus for the newest sample of the rule that is always true, and the
relay for its health, and posts to the receiver itself, once for each silence and once when it is over. It
tries until it gets through, and knows after a restart what it has said.
"""

import argparse
import json
import logging
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
from pydantic import SecretStr

from observability.config import USER, ObservabilitySettings, checked
from observability.errors import run_command
from observability.slack.delivery import Delivery
from observability.slack.items import Alert
from observability.slack.outbox import Outbox
from observability.slack.senders import sender_of

LOG = logging.getLogger("watchkeeper.slack")
RULE = "watchkeeper:deadman"
ASK_SECONDS = 5.0
LOOK_SECONDS = 10.0
"""Between two looks; less where the bound is short."""


@dataclass(frozen=True)
class Watched:
    """Something that must not fall silent.

    Attributes:
        name: of the message, as an alert's.
        summary: what the message says.
        description: what follows from it, and what to do.
        seen: the newest moment at which it is known to have worked, in seconds since 1970; None: not now.
        runbook: its address; "" for none.
    """

    name: str
    summary: str
    description: str
    seen: Callable[[], float | None]
    runbook: str = ""


def watched(settings: ObservabilitySettings, clock: Callable[[], float] = time.time) -> list[Watched]:
    """Prometheus and the relay of these settings; also Grafana, where no alert is sent on without it."""
    prometheus = f"http://{settings.prometheus_host}:{settings.prometheus_port}"
    relay = f"http://{settings.relay_host}:{settings.relay_port}"
    password = settings.prometheus_password
    grafana = Watched(
        "GrafanaSilent",
        "Grafana does not answer",
        "It evaluates the rules: no alert can fire. See its log, and `task up`.",
        # Where Prometheus is silent too, that is said already.
        lambda: None if newest_sample(prometheus, password, 'up{job="grafana"} == 0') else clock(),
    )
    return [
        *([grafana] if settings.pager == "grafana" else []),
        Watched(
            "PrometheusSilent",
            "Prometheus evaluates no rules",
            f"No alert can fire. See {prometheus}/-/healthy, its log, and `task watch`.",
            lambda: newest_sample(prometheus, password),
        ),
        Watched(
            "RelaySilent",
            "The relay does not answer",
            "Alerts and flow events wait where they came from; see observability/runbooks/RelayDown.md.",
            lambda: clock() if healthy(relay) else None,
            f"{settings.runbook_url}/RelayDown.md",
        ),
    ]


def newest_sample(prometheus: str, password: SecretStr | None = None, of: str = RULE) -> float | None:
    """When there was last a sample; unless said, of the rule that is always true."""
    login = (USER, password.get_secret_value()) if password else None
    try:
        with httpx.Client(base_url=prometheus, auth=login, timeout=ASK_SECONDS, trust_env=False) as client:
            answer = client.get("/api/v1/query", params={"query": f"timestamp({of})"})
        return float(answer.raise_for_status().json()["data"]["result"][0]["value"][1])
    except (httpx.HTTPError, ValueError, LookupError, TypeError):  # whatever answers on that port
        return None


def healthy(relay: str) -> bool:
    """Whether the relay says that it delivers."""
    try:
        return httpx.get(f"{relay}/healthz", timeout=ASK_SECONDS, trust_env=False).is_success
    except httpx.HTTPError:
        return False


class Watcher:
    """Looks, and tells.

    Args:
        parts: what is watched.
        outbox: of its own, whose delivery tries until a message is through.
        state: file that holds the silences that have been told.
        bound: seconds of silence that are no news.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        parts: Sequence[Watched],
        outbox: Outbox,
        state: Path,
        bound: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._parts, self._outbox, self._state = parts, outbox, state
        self._bound, self._clock = bound, clock
        self._told: dict[str, float] = json.loads(state.read_text()) if state.exists() else {}
        # While this watcher did not run nobody knows: a silence counts from now.
        self._good = {part.name: clock() for part in parts}

    def look(self) -> None:
        """Ask all, and tell what is new."""
        for part in self._parts:
            seen, now = part.seen(), self._clock()
            good = self._good[part.name] = max(self._good[part.name], min(seen or 0.0, now))
            since = self._told.get(part.name)
            if now - good > self._bound and since is None:
                self._tell(part, "firing", good)
                self._told[part.name] = good
            elif seen is not None and now - seen <= self._bound and since is not None:
                self._tell(part, "resolved", since)
                del self._told[part.name]
            else:
                continue
            self._keep()

    def _tell(self, part: Watched, status: str, since: float) -> None:
        said = {"summary": part.summary, "description": part.description, "runbook_url": part.runbook}
        alert = {
            "status": status,
            "labels": {"alertname": part.name, "severity": "page", "owner": "platform"},
            "annotations": said,
            "fingerprint": part.name,
            "startsAt": datetime.fromtimestamp(since, UTC),
            "endsAt": datetime.fromtimestamp(self._clock(), UTC),
        }
        self._outbox.append([Alert.model_validate(alert)])

    def _keep(self) -> None:
        new = self._state.with_suffix(".new")
        new.write_text(json.dumps(self._told))
        new.replace(self._state)


def run(settings: ObservabilitySettings, folder: Path) -> int:
    """Look until told to end; the state lies in the folder."""
    over = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: over.set())
    with closing(Outbox(folder)) as outbox:
        delivery = Delivery(outbox, sender_of(settings))
        watcher = Watcher(watched(settings), outbox, folder / "told.json", settings.deadman_seconds)
        delivery.start()
        print(
            f"watches Prometheus and the relay; {settings.deadman_seconds:g} s are a silence", file=sys.stderr
        )
        while not over.wait(min(LOOK_SECONDS, settings.deadman_seconds / 4)):
            try:
                watcher.look()
            except (OSError, sqlite3.Error) as error:  # a full disk, above all
                LOG.error("the look failed: %s; trying on", error)
            delivery.wake()
        delivery.close()
    return 0


def main() -> int:
    """The watcher by itself."""
    args = argparse.ArgumentParser(prog="python -m observability.slack.deadman", description=__doc__)
    args.add_argument("--state", type=Path, required=True, help="folder of what it has said")
    return run(checked(ObservabilitySettings), args.parse_args().state)


if __name__ == "__main__":
    run_command(main)
