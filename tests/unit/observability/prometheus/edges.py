"""Where alerts begin: series on which one is just silent, and series on which it just fires.

A number that stands for the bound is written `{v}` in a series; `quiet` and `loud` are what it is then. In
promtool's notation, a sample a minute.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.unit.observability.prometheus.cases import ALL, BAD, DISK, OK, ORPHANS, SOON, TABLE_SERIES


@dataclass(frozen=True)
class Edge:
    """An alert on some series at a moment.

    Attributes:
        at: of the evaluation, such as `9m30s`.
        fires: whether it does then.
        interval: between two evaluations; longer where the series are, 30 s where the moment asks for it.
        step: between two samples.
    """

    alert: str
    series: dict[str, str]
    at: str
    fires: bool
    interval: str = ""
    step: str = "1m"

    def __post_init__(self) -> None:
        """An interval unless one is said."""
        if not self.interval:
            object.__setattr__(self, "interval", "30s" if self.at.endswith("30s") else "1m")


RELAY = 'up{job="relay", instance="127.0.0.1:9876"}'
UNTOLD = ("alertmanager_notifications_failed_total", "grafana_alerting_notifications_failed_total")


def both(
    alert: str, at: str, quiet: float | str, loud: float | str, series: dict[str, str]
) -> Iterator[Edge]:
    """The alert, just silent and just firing."""
    for value, fires in ((quiet, False), (loud, True)):
        filled = {name: values.replace("{v}", str(value)) for name, values in series.items()}
        yield Edge(alert, filled, at, fires)


def free(values: str) -> dict[str, str]:
    """Bytes of a disk of 100 that are free."""
    return {f"node_filesystem_avail_bytes{DISK}": values, f"node_filesystem_size_bytes{DISK}": "100x1500"}


def requests(bad: str, ok: str) -> dict[str, str]:
    """Counters of two kinds of errors and two of answers, each half, and of another route."""
    series = {}
    for path, code in (("/predict", "500"), ("/predict_batch", "503")):
        series[BAD.replace("/predict", path).replace("500", code)] = bad
    for path in ("/predict", "/predict_batch"):
        series[OK.replace("/predict", path)] = ok
    series[OK.replace("/predict", "/model")] = "0+5000x900"
    return series


def answers(soon: str, every: str) -> dict[str, str]:
    """Counters of answers within 250 ms and of all, on two routes, each half."""
    series = {}
    for path in ("/predict", "/predict_batch"):
        series[SOON.replace("/predict", path)] = soon
        series[ALL.replace("/predict", path)] = every
        series[OK.replace("/predict", path)] = every
    return series


def steps(*parts: tuple[float, int]) -> str:
    """A counter that grows by so much a minute for so many minutes, and so on."""
    total, said = 0.0, []
    for each, minutes in parts:
        said.append(f"{total:g}+{each:g}x{minutes - 1}")
        total += each * minutes
    return " ".join(said)


def burn(fast: str, slow: str, first: float, second: float, make: object) -> Iterator[Edge]:
    """The edges of a pair of burn-rate alerts, in thousandths of what is bad a minute.

    Args:
        fast: the alert on five minutes and an hour, over `first`.
        slow: the alert on half an hour and six hours, over `second`.
        first: thousandths.
        second: thousandths.
        make: series of a list of (thousandths, minutes).
    """
    assert callable(make)
    told: list[tuple[str, list[tuple[float, int]], str, bool]] = [
        *((fast, [(first + d, 70)], "65m", d > 0) for d in (-1, 1)),
        # An hour, not half of one nor two: quiet for the one, much for the others.
        (fast, [(0, 30), (first * 1.5, 40)], "62m", False),
        (fast, [(first * 3, 60), (first * 0.95, 55), (first * 1.2, 12)], "125m", False),
        (fast, [(0, 60), (first * 1.05, 70)], "125m", True),
        # Six hours, not three nor twelve.
        *((slow, [(second + d, 400)], "390m", d > 0) for d in (-1, 1)),
        (slow, [(second * 4, 360), (second * 0.95, 360)], "719m", False),
        (slow, [(0, 180), (second * 1.9, 190)], "365m", False),
        (slow, [(0, 360), (second * 1.05, 370)], "729m", True),
        # The fast one has it, or does not quite; a burst of five minutes is not the fast one's yet.
        *((slow, [(first + d, 400)], "390m", d < 0) for d in (-1, 1)),
        (slow, [(second * 1.2, 390), (first * 2, 10)], "396m", True),
        # Both windows of a pair must be over: the long one is, the short one not quite; and turned round.
        (fast, [(first * 1.5, 65), (first * 0.95, 12)], "74m", False),
        (slow, [(second * 1.5, 400), (second * 0.95, 45)], "439m", False),
        # What goes on after the fast one is told half an hour after it: not sooner, not later.
        *(
            (slow, [(first * 1.5, 400), (first * 0.95, 60)], at, at > "438m")
            for at in ("419m", "434m", "445m")
        ),
        # An outage that is over is the fast one's alone, though both windows of the slow one are over then.
        *((slow, [(0, 360), (first * 3, 80), (0, 60)], f"{at}m", False) for at in range(450, 500, 5)),
        (slow, [(first * 0.93, 400), (first * 1.4, 10)], "406m", True),
    ]
    for alert, parts, at, fires in told:
        yield Edge(alert, make(parts), at, fires, "5m")


def failing(parts: list[tuple[float, int]]) -> dict[str, str]:
    """Of a thousand requests a minute so many thousandths fail."""
    return requests(
        steps(*((bad / 2, minutes) for bad, minutes in parts)),
        steps(*((500 - bad / 2, minutes) for bad, minutes in parts)),
    )


def slow(parts: list[tuple[float, int]]) -> dict[str, str]:
    """Of a thousand requests a minute so many thousandths are slow."""
    return answers(
        steps(*((500 - late / 2, minutes) for late, minutes in parts)),
        steps(*((500, minutes) for _, minutes in parts)),
    )


def seldom(a_minute: float, share: float, minutes: int) -> dict[str, str]:
    """Few requests, of which a share fail, and as many are slow."""
    bad, ok, every = (f"0+{a_minute * part / 2:g}x{minutes}" for part in (share, 1 - share, 1))
    slowly = answers(ok, every).items()
    durations = {name: said for name, said in slowly if name.startswith("bentoml_service_request_duration")}
    return requests(bad, ok) | durations


MODEL = '{model="hm"}'
FAILED = 'prometheus_rule_evaluation_failures_total{rule_group="g"}'
UNSENT = 'prometheus_notifications_errors_total{alertmanager="a"}'
OLDEST = "watchkeeper_relay_oldest_timestamp_seconds"
READ = f"watchkeeper_serve_registry_read_timestamp_seconds{MODEL}"
LATE = 'watchkeeper_flow_late_runs{flow="etl", deployment="etl-hm"}'
SINCE = 'watchkeeper_flow_running_since_timestamp_seconds{flow="etl", deployment="etl-hm"}'


def beat(pool: str) -> str:
    """A pool's series."""
    return f'watchkeeper_worker_heartbeat_timestamp_seconds{{pool="{pool}"}}'


def idle(core: int) -> str:
    """A core's series."""
    return f'node_cpu_seconds_total{{instance="n1", cpu="{core}", mode="idle"}}'


def rows(outcome: str) -> str:
    """A table's series."""
    return f'watchkeeper_table_commit_rows{{outcome="{outcome}", {TABLE_SERIES[1:]}'


def maintenance(deployment: str, outcome: str, flow: str) -> str:
    """A series of how the last run ended."""
    return f'watchkeeper_flow_last_run_state{{flow="{flow}", deployment="{deployment}", outcome="{outcome}"}}'


def target(job: str) -> str:
    """A target's series."""
    return f'up{{job="{job}"}}'


TARGETS = {target(job): "1x40" for job in ("node", "statsd", "exporter", "relay")}
PROMOTED = 'watchkeeper_champion_promotions{model="a"}', 'watchkeeper_champion_promotions{model="b"}'
ASKED = 'watchkeeper_collector_success{collector="prefect"}'

PROBED = "watchkeeper_probe_timestamp_seconds"


def probe(name: str) -> str:
    """A dependency's series."""
    return f'watchkeeper_probe_success{{probe="{name}"}}'


def on(flow: str) -> dict[str, str]:
    """Its schedule is on."""
    return {f'watchkeeper_flow_scheduled_runs{{flow="{flow}", deployment="d"}}': "3x40"}


FAILING_PROBES = [
    *both("ProbeFailing", "20m", "-3600+60", "-3599+60", {PROBED: "{v}x40", probe("store"): "0x40"}),
    *(
        Edge("ProbeFailing", {PROBED: "0+60x40", probe(name): value, other: said}, "20m", fires)
        for name, value, other, said, fires in (
            ("store", "1x40", target("serve"), "1x40", False),
            # What says the same by itself, and what does not.
            ("serve", "0x40", target("serve"), "0x40", False),
            ("serve", "0x40", target("serve"), "1x40", True),
            ("store", "0x40", target("serve"), "0x40", True),
            ("tables", "0x40", 'watchkeeper_collector_success{collector="tables"}', "0x40", False),
            ("tables", "0x40", 'watchkeeper_collector_success{collector="tables"}', "1x40", True),
            ("prefect", "0x40", 'watchkeeper_collector_success{collector="tables"}', "0x40", True),
            ("receiver", "0x40", OLDEST, "-16+60x40", False),
            ("receiver", "0x40", OLDEST, "-15+60x40", True),
            ("store", "0x40", OLDEST, "-16+60x40", True),
        )
    ),
    *both("HealthStale", "20m", "-3600+60", "-3601+60", {PROBED: "{v}x40", **on("health")}),
    Edge("HealthStale", {PROBED: "-7200x40"}, "20m", False),
    Edge("HealthStale", {PROBED: "-7200x40", **on("etl")}, "20m", False),
    *(
        Edge("HealthStale", {PROBED: "-7200x40", **on("health"), **more}, "20m", fires)
        for more, fires in (
            ({LATE.replace('"etl"', '"health"'): "1x40", beat("p"): "0+60x40"}, False),
            ({LATE: "1x40", beat("p"): "0+60x40"}, True),
            ({beat("p"): "0x40"}, False),
            ({target("node"): "0x40"}, True),
        )
    ),
]

EDGES = [
    *FAILING_PROBES,
    *both("NodeDiskFull", "9m", 5, 4.9, free("{v}x20")),
    # Under 40% since the 61st minute, an hour before it fires; exactly 40% in the 60th.
    Edge("NodeDiskFilling", free("43.75-0.0625x200"), "120m", False),
    Edge("NodeDiskFilling", free("43.75-0.0625x200"), "121m", True),
    # In a day 28.8 less: nothing is left then since the minute before the 40th, or only since the 60th.
    *both("NodeDiskFilling", "100m", 30, 29.4, free("{v}-0.02x200")),
    # Six hours: it falls in the first three; it fell in the six before.
    Edge("NodeDiskFilling", free("90-0.4x179 18x300"), "360m", True, "5m"),
    Edge("NodeDiskFilling", free("90-0.2222x359 10x361"), "719m", False, "5m"),
    # 5% is the other alert's; exactly 5% is not yet.
    Edge("NodeDiskFilling", free("20-0.125x200"), "120m", True),
    Edge("NodeDiskFilling", free("20-0.125x118 5.2x100"), "121m", True),
    Edge("NodeDiskFilling", free("20-0.125x118 4.8x100"), "121m", False),
    *both(
        "NodeMemoryLow",
        "9m",
        5,
        4.9,
        {
            'node_memory_MemAvailable_bytes{instance="n1"}': "{v}x20",
            'node_memory_MemTotal_bytes{instance="n1"}': "100x20",
        },
    ),
    *both("NodeCpuSaturated", "50m", 6, 5.4, {idle(0): "0x60", idle(1): "0+{v}x60"}),
    *both("NodeClockSkew", "15m", 0.05, 0.051, {'node_timex_offset_seconds{instance="n1"}': "-{v}x20"}),
    *both(
        "TableQuarantine",
        "5m",
        2,
        2.05,
        {rows("quarantined"): "{v}x9", rows("committed"): "90x9", rows("duplicate"): "8x9"},
    ),
    *both("TableRowsUnusual", "101m", 308, 325, {rows("committed"): "100x99 {v}x9"}),
    *both("TableRowsUnusual", "101m", 34, 32, {rows("committed"): "100x99 {v}x9"}),
    *both("TableOrphans", "15m", 0, 1, {ORPHANS: "{v}x20"}),
    *(Edge("TableOrphans", {ORPHANS: "1x20"}, at, fires) for at, fires in (("9m30s", False), ("10m", True))),
    # A deployment that failed is FlowFailed's; a command is nobody else's, nor is another flow.
    *(
        Edge(
            "TableOrphans",
            {ORPHANS: "1x20", maintenance(deployment, outcome, flow): f"{state}x20"},
            "15m",
            fires,
        )
        for deployment, outcome, flow, state, fires in (
            ("maintain", "failed", "maintain", 1, False),
            ("maintain", "crashed", "maintain", 1, False),
            ("maintain", "failed", "maintain", 0, True),
            ("maintain", "completed", "maintain", 1, True),
            ("none", "failed", "maintain", 1, True),
            ("etl-hm", "failed", "etl", 1, True),
        )
    ),
    *(
        Edge(alert, {target(job): "1x9 0x20"}, at, fires)
        for alert, job in (("ServiceDown", "serve"), ("RelayDown", "relay"))
        for at, fires in (("10m30s", False), ("11m", True))
    ),
    Edge("FlowLate", {LATE: "1x20", beat("p"): "0+60x20"}, "9m", True),
    Edge("FlowLate", {LATE: "0x20", beat("p"): "0+60x20"}, "9m", False),
    Edge("FlowLate", {LATE: "2x20", beat("p"): "0+60x20", beat("gone"): "0x20"}, "9m", True),
    *both("FlowLate", "10m", 475, 485, {LATE: "2x20", beat("p"): "0+60x9 {v}x9"}),
    Edge("FlowStuck", {SINCE: "600x90"}, "43m", True),
    Edge("FlowStuck", {SINCE: "600x90"}, "40m30s", False),
    Edge("WorkerGone", {beat("p"): "0+60x20", beat("gone"): "0x20"}, "9m", False),
    Edge("WorkerGone", {beat("p"): "10x20"}, "3m", False, "30s"),
    Edge("WorkerGone", {beat("p"): "25x20"}, "3m30s", True),
    Edge("WorkerGone", {LATE: "1x20", ASKED: "1x20"}, "9m", True),
    Edge("WorkerGone", {LATE: "0x20", ASKED: "1x20"}, "9m", False),
    *both(
        "LiveScoreFallen",
        "9m",
        0.75,
        0.749,
        {
            'watchkeeper_live_score_ratio{model="hm", of="high"}': "{v}x20",
            f"watchkeeper_champion_score_ratio{MODEL}": "0.8x20",
            f"watchkeeper_live_labels{MODEL}": "200x20",
        },
    ),
    *both(
        "LiveScoreFallen",
        "9m",
        99,
        100,
        {
            'watchkeeper_live_score_ratio{model="hm", of="high"}': "0.5x20",
            f"watchkeeper_champion_score_ratio{MODEL}": "0.8x20",
            f"watchkeeper_live_labels{MODEL}": "{v}x20",
        },
    ),
    *burn("ServiceErrorsFast", "ServiceErrorsSlow", 72, 30, failing),
    *burn("ServiceSlowFast", "ServiceSlowSlow", 144, 60, slow),
    # A hundred requests an hour.
    *(
        Edge(alert, seldom(an_hour / 60, share, minutes), f"{minutes - 10}m", an_hour > 100, "5m")
        for alert, share, minutes in (
            ("ServiceErrorsFast", 0.25, 140),
            ("ServiceSlowFast", 0.25, 140),
            ("ServiceErrorsSlow", 0.05, 400),
            ("ServiceSlowSlow", 0.1, 400),
        )
        for an_hour in (95, 105)
    ),
    *both(
        "ServiceQueueFull",
        "15m",
        28.5,
        31.5,
        {
            f'watchkeeper_serve_rejected_total{{reason="{reason}"}}': "0+{v}x20"
            for reason in ("busy", "overloaded")
        },
    ),
    *(
        Edge(
            "SwapFailing",
            {f'watchkeeper_serve_swaps_total{{outcome="failed", {MODEL[1:]}': "0x9 1x40"},
            at,
            fires,
        )
        for at, fires in (("9m", False), ("24m", True))
    ),
    *(
        Edge(
            "ChampionRolledBack",
            {f'watchkeeper_serve_swaps_total{{outcome="rolled_back", {MODEL[1:]}': "0x9 1x40"},
            at,
            fires,
        )
        for at, fires in (("9m", False), ("24m", True))
    ),
    *(
        Edge(
            "PredictionLogDropped",
            {'watchkeeper_serve_log_rows_total{outcome="dropped"}': "0x9 1x40"},
            at,
            fires,
        )
        for at, fires in (("9m", False), ("24m", True))
    ),
    Edge("TargetMissing", {**TARGETS, PROMOTED[0]: "0x40", PROMOTED[1]: "2x40"}, "9m", True),
    Edge("TargetMissing", {**TARGETS, PROMOTED[0]: "0x40"}, "9m", False),
    Edge(
        "RulesFailing", {'prometheus_rule_evaluation_failures_total{rule_group="g"}': "0x9 3x40"}, "14m", True
    ),
    *(
        Edge(alert, {series: values}, at, fires, "30s")
        for alert, series, values, quiet, loud in (
            ("RulesFailing", FAILED, "0x9 3x40", "10m30s", "11m"),
            ("NotificationsFailing", UNSENT, "0x9 60+60x40", "10m30s", "11m"),
            ("RegistryUnread", READ, "0+60x10 600x20", "12m", "12m30s"),
            ("FlowStuck", SINCE, "0x90", "31m", "31m30s"),
            ("TableRowsUnusual", rows("committed"), "100x99 400x9", "100m30s", "101m"),
        )
        for at, fires in ((quiet, False), (loud, True))
    ),
    *both("RelayUndelivered", "20m", "-14.5+60", "-16+60", {OLDEST: "{v}x40"}),
    # The relay is down, and that is told; or it was, or is up, and another receiver fails.
    *(
        Edge("NotificationsFailing", {f'{name}{{integration="{receiver}"}}': failed, RELAY: up}, at, fires)
        for name in UNTOLD
        for receiver, failed, up, at, fires in (
            ("webhook", "0x9 60+60x40", "0x40", "14m", False),
            ("webhook", "0x9 60+60x40", "1x9 0x2 1x40", "17m30s", False),
            ("webhook", "0x9 60+60x40", "1x9 0x2 1x40", "19m", True),
            ("webhook", "0x9 60+60x40", "1x40", "14m", True),
            ("slack", "0x9 60x40", "0x40", "14m", True),
            ("slack", "0x9 60x40", "0x40", "16m", False),
        )
    ),
    # The receiver refuses for good, or has taken nothing for a week; to deliver or to try on is no failure.
    *(
        Edge(
            "NotificationsFailing",
            {f'watchkeeper_relay_messages_total{{outcome="{outcome}"}}': values},
            at,
            fires,
        )
        for outcome, values, at, fires in (
            ("refused", "0x9 1x40", "10m30s", False),
            ("refused", "0x9 1x40", "11m", True),
            ("refused", "0x9 1x40", "16m", False),
            ("expired", "0x9 1x40", "11m", True),
            ("delivered", "0+60x40", "14m", False),
            ("retried", "0+60x40", "14m", False),
        )
    ),
    # The relay is up and takes nothing.
    *(
        Edge("PageWithoutRelay", {RELAY: "1x40", failed: "0x9 60+60x40", target("serve"): "0x40"}, at, fires)
        for failed, at, fires in (
            (f'{UNTOLD[0]}{{integration="webhook"}}', "10m", False),
            (f'{UNTOLD[0]}{{integration="webhook"}}', "14m", True),
            (f'{UNTOLD[0]}{{integration="slack"}}', "14m", False),
        )
    ),
    # A ticket, a page that is the relay's own, and a page of which the relay can tell.
    Edge("PageWithoutRelay", {RELAY: "0x40", target("node"): "0x40"}, "9m", False),
    Edge("PageWithoutRelay", {RELAY: "0x40", OLDEST: "0x40"}, "9m", False),
    Edge("PageWithoutRelay", {RELAY: "0x40", UNSENT: "0x9 60+60x40"}, "14m", False),
    Edge("PageWithoutRelay", {RELAY: "1x40", target("serve"): "0x40"}, "9m", False),
    Edge("PageWithoutRelay", {target("node"): "0x40", target("serve"): "0x40"}, "9m", False),
    # Not before the relay is known to be down, and at once for what comes after that.
    Edge("PageWithoutRelay", {RELAY: "1x9 0x40", target("serve"): "0x40"}, "10m30s", False),
    Edge("PageWithoutRelay", {RELAY: "1x9 0x40", target("serve"): "0x40"}, "11m", True),
    Edge("PageWithoutRelay", {RELAY: "0x40", target("serve"): "1x9 0x40"}, "10m30s", False),
    Edge("PageWithoutRelay", {RELAY: "0x40", target("serve"): "1x9 0x40"}, "11m", True),
]
