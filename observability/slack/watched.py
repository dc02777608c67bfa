"""What the dead-man's watcher looks at, and how it asks: from outside, past everything that it watches."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from pydantic import SecretStr

from observability.config import USER, ObservabilitySettings
from observability.slack.ending import Ender

RULE = "watchkeeper:deadman"
ASK_SECONDS = 5.0
KEPT = {
    "exporter": "Nothing is known of runs, tables and models.",
    "statsd": "Counts and durations are lost.",
    "node": "Nothing is known of this host.",
}
"""Further parts of `task watch` that are ended where they hang, and what follows from their silence."""


@dataclass(frozen=True)
class Watched:
    """Something that must not fall silent.

    Attributes:
        name: of the message, as an alert's.
        summary: what the message says.
        description: what follows from it, and what to do.
        seen: the newest moment at which it is known to have worked, in seconds since 1970; None: not now.
        runbook: its address; "" for none.
        part: of `task watch`, which may be ended where it hangs.
        quiet: another alert tells its silence; this only what is done about it.
    """

    name: str
    summary: str
    description: str
    seen: Callable[[], float | None]
    runbook: str = ""
    part: str = ""
    quiet: bool = False


def watched(settings: ObservabilitySettings, clock: Callable[[], float] = time.time) -> list[Watched]:
    """Prometheus and the relay of these settings, and what sends alerts on: Alertmanager or Grafana."""
    prometheus = f"http://{settings.prometheus_host}:{settings.prometheus_port}"
    relay = f"http://{settings.relay_host}:{settings.relay_port}"
    password = settings.prometheus_password

    def scraped(job: str) -> float | None:
        # Where Prometheus is silent too, that is said already.
        return None if newest_sample(prometheus, password, f'up{{job="{job}"}} == 0') else clock()

    grafana = Watched(
        "GrafanaSilent",
        "Grafana does not answer",
        "It evaluates the rules: no alert can fire. See its log, and `task up`.",
        lambda: scraped("grafana"),
    )
    alertmanager = Watched(
        "AlertmanagerSilent",
        "Alertmanager does not answer",
        "No alert reaches the relay. See its log, and `task watch`.",
        lambda: scraped("alertmanager"),
        f"{settings.runbook_url}/NotificationsFailing.md",
        "alertmanager",
    )
    return [
        grafana if settings.pager == "grafana" else alertmanager,
        Watched(
            "PrometheusSilent",
            "Prometheus evaluates no rules",
            f"No alert can fire. See {prometheus}/-/healthy, its log, and `task watch`.",
            lambda: newest_sample(prometheus, password),
            part="prometheus",
        ),
        Watched(
            "RelaySilent",
            "The relay does not answer",
            "Alerts and flow events wait where they came from; see observability/runbooks/RelayDown.md.",
            lambda: clock() if healthy(relay) else None,
            f"{settings.runbook_url}/RelayDown.md",
            "relay",
        ),
    ]


def kept(ender: Ender, runbooks: str, clock: Callable[[], float] = time.time) -> list[Watched]:
    """Further parts of `task watch`, while it keeps them; TargetGone tells of them."""

    def seen(name: str) -> Callable[[], float | None]:
        def ask() -> float | None:
            process = ender.process(name)
            return clock() if process is None or answers(process.url) else None

        return ask

    return [
        Watched(
            f"{name.capitalize()}Silent",
            f"The watch's {name} does not answer",
            follows,
            seen(name),
            f"{runbooks}/TargetGone.md",
            name,
            quiet=True,
        )
        for name, follows in KEPT.items()
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
    return answers(f"{relay}/healthz")


def answers(page: str) -> bool:
    """Whether a page does, and well."""
    try:
        return httpx.get(page, timeout=ASK_SECONDS, trust_env=False).is_success
    except httpx.HTTPError:
        return False
