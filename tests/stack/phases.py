"""Causes in their phases, and how long each takes until Slack has been told of it and of its end."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from observability.prometheus.rules import alerts
from tests.slack import fake_slack
from tests.stack.causes import (
    DAY,
    Begun,
    add,
    champion_old,
    collector_failing,
    commit,
    dataset,
    deployment,
    disk_filling,
    disk_full,
    drift_of,
    flow_failed,
    flow_late,
    flow_not_scheduled,
    flow_stuck,
    health_stale,
    landing_backlog,
    live_score,
    no_champion,
    node,
    notifications_failing,
    prefect_down,
    probe_failing,
    rules_failing,
    table_orphans,
    table_rows,
    table_stale,
    target_gone,
    target_missing,
    tell,
    worker_gone,
)
from tests.stack.relay_causes import relay_down, slack_fails_on_one
from tests.stack.service_causes import (
    champion_fails,
    log_dropped,
    registry_unread,
    service_down,
    service_fails,
    service_fails_now_and_then,
    service_overrun,
    service_slow,
    service_slow_now_and_then,
    swap_failing,
)
from tests.stack.watching import Stack

PATIENCE = 180.0
"""Seconds for a message: a worker's silence is noticed after two minutes at any pace."""
SEVERITY = {alert["alert"]: alert["labels"]["severity"] for alert in alerts()}


@dataclass(frozen=True, eq=False)
class Told:
    """A cause, and what the messages say of each alert that it leads to."""

    begin: Callable[[Stack], Begun]
    alerts: dict[str, str]


PHASES = [
    [
        Told(
            node(memory=0.2e9, skew=0.4, idle_rate=0.0),
            {
                "NodeMemoryLow": "memory is nearly used up",
                "NodeClockSkew": "the clock is off",
                "NodeCpuSaturated": "no processor time is left",
            },
        ),
        Told(disk_filling, {"NodeDiskFilling": "/data will be full within a day"}),
        Told(flow_failed, {"FlowFailed": "broken: the last run failed"}),
        Told(flow_late, {"FlowLate": "waiting: runs wait for a worker"}),
        Told(flow_stuck, {"FlowStuck": "endless: a run does not end"}),
        Told(flow_not_scheduled, {"FlowNotScheduled": "ended: its schedule is on, and nothing is planned"}),
        Told(landing_backlog, {"LandingBacklog": "shop.items: files wait"}),
        Told(no_champion, {"ModelWithoutChampion": "lonely: no version is champion"}),
        Told(
            champion_old,
            {"ChampionOld": "aged: the champion is", "ChallengersRefused": "aged: 3 challengers in a row"},
        ),
        Told(drift_of("first", "suspected"), {"DriftSuspected": "first: drift is suspected"}),
        Told(drift_of("second", "confirmed"), {"DriftConfirmed": "second: drift is confirmed"}),
        Told(drift_of("third", "error"), {"DriftUnknown": "third: the newest drift run has no verdict"}),
        Told(drift_of("fourth", "none", 3 * DAY), {"DriftVerdictStale": "fourth: no drift verdict for"}),
        Told(live_score, {"LiveScoreFallen": "tired: live macro-F1 has fallen"}),
        Told(health_stale, {"HealthStale": "No probes for 2h"}),
        Told(target_missing, {"TargetMissing": "statsd is no target"}),
        Told(log_dropped, {"PredictionLogDropped": "The prediction log drops rows"}),
        Told(swap_failing, {"SwapFailing": "articles: the new champion cannot be loaded"}),
    ],
    [
        # After the one that fills: its end is a rise, which the line through six hours sees for as long.
        Told(disk_full, {"NodeDiskFull": "/data is nearly full"}),
        Told(table_stale, {"TableStale": "old.items: no new data for 3d"}),
        Told(table_orphans, {"TableOrphans": "old.items: orphan files have not been removed"}),
        Told(
            table_rows,
            {
                "TableQuarantine": "shop.items: 11.11% of the newest rows",
                "TableRowsUnusual": "shop.items: the newest commit has",
            },
        ),
        Told(worker_gone, {"WorkerGone": "No worker takes runs"}),
        Told(champion_fails, {"ChampionRolledBack": "articles: the new champion was rolled back"}),
    ],
    [
        Told(collector_failing, {"CollectorFailing": "The exporter cannot read contracts"}),
        Told(service_fails, {"ServiceErrorsFast": "of predictions fail"}),
        Told(rules_failing, {"RulesFailing": "cannot be evaluated"}),
    ],
    [
        Told(target_gone, {"TargetGone": "node on"}),
        Told(service_down, {"ServiceDown": "The service does not answer"}),
        Told(prefect_down, {"PrefectDown": "The Prefect server does not answer"}),
    ],
    [Told(notifications_failing, {"NotificationsFailing": "Alerts do not reach their receiver"})],
    [
        Told(registry_unread, {"RegistryUnread": "articles: a worker cannot read the registry"}),
        Told(probe_failing, {"ProbeFailing": "store does not answer its probe"}),
        Told(service_fails_now_and_then, {"ServiceErrorsSlow": "of predictions have failed for hours"}),
    ],
    [
        Told(
            relay_down,
            {
                "RelayDown": "The relay does not answer",
                "PageWithoutRelay": "ServiceDown fires, and the relay tells nobody",
            },
        )
    ],
    [Told(slack_fails_on_one, {"RelayUndelivered": "Messages do not arrive"})],
    [Told(service_slow, {"ServiceSlowFast": "of predictions take over 250 ms"})],
    [Told(service_overrun, {"ServiceQueueFull": "The service refuses"})],
    [Told(service_slow_now_and_then, {"ServiceSlowSlow": "have taken over 250 ms for hours"})],
]
"""Causes of one phase are there together, and disturb each other in nothing."""


@contextmanager
def whole_watch(folder: Path) -> Iterator[Stack]:
    """A watch over two tables, a champion that answers, and a worker."""
    with ExitStack() as ended:
        made = Stack(folder, ended.enter_context(fake_slack()))
        for name in ("shop", "old"):
            dataset(made, name)
        add(made, "articles", "good").promote("good", None)
        ended.enter_context(made.watched())
        made.until(lambda: made.holds('up{job="prefect"} == 1'), "the Prefect server", 240)
        made.run("flows.server", "deploy")
        commit(made, "shop", 40)
        made.until(lambda: made.holds('up{job="serve"} == 1'), "the service")
        ended.enter_context(made.traffic)
        nightly = {"schedule": {"cron": "0 3 * * *", "timezone": "UTC"}, "active": True}
        deployment(made, "nightly", schedules=[nightly])
        tell(
            made, "shop.items", "none", columns={"price": {"score": 0.1, "threshold": 0.2, "drifted": False}}
        )
        made.run("tests.stack.events")
        made.until(lambda: made.holds("watchkeeper_worker_heartbeat_timestamp_seconds"), "the worker")
        yield made


def play(stack: Stack, phase: list[Told]) -> dict[str, tuple[float, float]]:
    """Begin all causes, wait until each is told, end them, wait again.

    Returns:
        Of each alert the seconds from its cause to the message, and from its end to that one.
    """
    start = time.monotonic()
    begun = {told: told.begin(stack) for told in phase}
    began = {told: moved(each) for told, each in begun.items()}
    firing = {
        alert: (told, message(stack, alert, "firing", words, start))
        for told in phase
        for alert, words in told.alerts.items()
    }
    ended = {told: moved(each) for told, each in begun.items()}
    resolved = {
        alert: message(stack, alert, "resolved", told.alerts[alert], when)
        for alert, (told, when) in firing.items()
    }
    return {
        alert: (max(when - began[told], 0.0), max(resolved[alert] - ended[told], 0.0))
        for alert, (told, when) in firing.items()
    }


def moved(begun: Begun) -> float:
    """Have a cause begin, or end; when it had."""
    next(begun, None)
    return time.monotonic()


def message(stack: Stack, alert: str, status: str, words: str, since: float) -> float:
    """When Slack was told first, with these words and both links."""

    def told() -> tuple[float, str] | None:
        said = zip(stack.slack.taken_at, stack.slack.taken, strict=False)  # one may be coming just now
        texts = ((when, json.dumps(body, ensure_ascii=False)) for when, body in said if when >= since)
        wanted = (alert, words)
        return next(
            (t for t in texts if all(word in t[1] for word in wanted) and status in t[1].lower()), None
        )

    stack.until(lambda: told() is not None, f"{alert} {status}: {words}", PATIENCE)
    when, text = told() or (0.0, "")
    assert f"/runbooks/{alert}.md" in text, text
    assert "/d/watchkeeper-" in text, text
    assert SEVERITY[alert] in text.lower(), text
    return when
