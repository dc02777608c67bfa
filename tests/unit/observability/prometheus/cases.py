"""For each alert: series, the minute before it fires, the minute at which it does, when it clears, its words.

Series are in promtool's notation, a sample a minute: `6x9` is ten sixes, `0+60x9` counts up by 60.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """One alert on one set of series."""

    alert: str
    series: dict[str, str]
    fires: int
    clears: int
    severity: str
    owner: str
    summary: str
    description: str
    labels: dict[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    """Other alerts of the same cause that keep quiet meanwhile."""


STEP = "6x9 4x10 6x10"
"""Below five from the 10th minute to the 20th."""
UP = "1x9 0x10 1x10"
ON = "0x9 1x10 0x10"
DISK = '{instance="n1", mountpoint="/", fstype="ext4"}'
DISK_LABELS = {"instance": "n1", "mountpoint": "/", "fstype": "ext4"}
RUNS = '{flow="etl", deployment="etl-hm"}'
RUNS_LABELS = {"flow": "etl", "deployment": "etl-hm"}
TABLE = {"dataset": "hm", "table": "articles"}
TABLE_SERIES = '{dataset="hm", table="articles"}'
HM = {"model": "hm"}
ORPHANS = f"watchkeeper_table_orphan_files{TABLE_SERIES}"
BEAT = 'watchkeeper_worker_heartbeat_timestamp_seconds{pool="watchkeeper"}'
OK = 'bentoml_service_request_total{endpoint="/predict", http_response_code="200"}'
BAD = 'bentoml_service_request_total{endpoint="/predict", http_response_code="500"}'
SOON = 'bentoml_service_request_duration_seconds_bucket{endpoint="/predict", le="0.25"}'
ALL = 'bentoml_service_request_duration_seconds_count{endpoint="/predict"}'

NODE = [
    Case(
        "NodeDiskFull",
        {f"node_filesystem_avail_bytes{DISK}": STEP, f"node_filesystem_size_bytes{DISK}": "100x31"},
        15,
        21,
        "page",
        "platform",
        "n1: / is nearly full",
        "4% of / is free; below 5% runs stop.",
        DISK_LABELS,
        silent=("NodeDiskFilling",),
    ),
    Case(
        "NodeDiskFilling",
        {
            f"node_filesystem_avail_bytes{DISK}": "39-0.03x120 90x10",
            f"node_filesystem_size_bytes{DISK}": "100x140",
        },
        61,
        121,
        "ticket",
        "platform",
        "n1: / will be full within a day",
        "37.17% of / is free, and it shrinks.",
        DISK_LABELS,
        silent=("NodeDiskFull",),
    ),
    Case(
        "NodeMemoryLow",
        {
            'node_memory_MemAvailable_bytes{instance="n1"}': STEP,
            'node_memory_MemTotal_bytes{instance="n1"}': "100x31",
        },
        15,
        21,
        "page",
        "platform",
        "n1: memory is nearly used up",
        "4% of the memory is available; the kernel ends processes next.",
        {"instance": "n1"},
    ),
    Case(
        "NodeCpuSaturated",
        {'node_cpu_seconds_total{instance="n1", cpu="0", mode="idle"}': "0+30x10 300x60 300+60x20"},
        45,
        73,
        "ticket",
        "platform",
        "n1: no processor time is left",
        "100% of it is used, for half an hour and more.",
        {"instance": "n1"},
    ),
    Case(
        "NodeClockSkew",
        {'node_timex_offset_seconds{instance="n1"}': "0.01x9 -0.3x20 0.01x5"},
        20,
        31,
        "ticket",
        "platform",
        "n1: the clock is off",
        "It differs by 300ms from its time servers; S3 refuses at 15 minutes.",
        {"instance": "n1"},
    ),
]

FLOWS = [
    *(
        Case(
            "FlowFailed",
            {
                f'watchkeeper_flow_last_run_state{RUNS[:-1]}, outcome="{outcome}"}}': ON,
                'watchkeeper_flow_last_run_state{flow="etl", deployment="none", outcome="failed"}': "1x30",
            },
            10,
            20 + 1,
            "ticket",
            "data",
            f"etl-hm: the last run {outcome}",
            f"The last run of etl-hm (flow etl) {outcome}; the state before it stands.",
            {**RUNS_LABELS, "outcome": outcome},
        )
        for outcome in ("failed", "crashed")
    ),
    Case(
        "FlowLate",
        {f"watchkeeper_flow_late_runs{RUNS}": "0x9 2x10 0x10", BEAT: "0+60x40"},
        15,
        21,
        "ticket",
        "platform",
        "etl-hm: runs wait for a worker",
        "2 runs of etl-hm should have begun; workers live but do not take them.",
        RUNS_LABELS,
        silent=("WorkerGone",),
    ),
    Case(
        "FlowStuck",
        {
            f"watchkeeper_flow_running_since_timestamp_seconds{RUNS}": "0x100 stale",
            f"watchkeeper_flow_last_success_seconds{RUNS}": "600x110",
        },
        62,
        101,
        "ticket",
        "data",
        "etl-hm: a run does not end",
        "It has run for 1h 2m 0s: half an hour more than three times the last good run.",
        RUNS_LABELS,
    ),
    Case(
        "FlowStuck",
        {f"watchkeeper_flow_running_since_timestamp_seconds{RUNS}": "0x100 stale"},
        32,
        101,
        "ticket",
        "data",
        "etl-hm: a run does not end",
        "It has run for 32m 0s: half an hour more than three times the last good run.",
        RUNS_LABELS,
    ),
    Case(
        "FlowNotScheduled",
        {f"watchkeeper_flow_scheduled_runs{RUNS}": "3x9 0x20 3x10"},
        20,
        31,
        "ticket",
        "platform",
        "etl-hm: its schedule is on, and nothing is planned",
        "Prefect's scheduler plans no run of etl-hm: the next one will be missed.",
        RUNS_LABELS,
    ),
    Case(
        "PrefectDown",
        {'watchkeeper_collector_success{collector="prefect"}': UP},
        12,
        21,
        "page",
        "platform",
        "The Prefect server does not answer",
        "No flow starts, and nothing is known of those that run.",
        {"collector": "prefect"},
        silent=("CollectorFailing", "WorkerGone"),
    ),
    Case(
        "WorkerGone",
        {BEAT: "0+60x10 600x10 1320+60x10", f"watchkeeper_flow_late_runs{RUNS}": "2x40"},
        14,
        22,
        "page",
        "platform",
        "No worker takes runs",
        "Prefect heard of no worker for 4m 0s (0 s: never); every run waits.",
        silent=("FlowLate",),
    ),
    Case(
        "WorkerGone",
        {
            'watchkeeper_collector_success{collector="prefect"}': "1x30",
            f"watchkeeper_flow_late_runs{RUNS}": "0x9 2x10 0x10",
        },
        11,
        21,
        "page",
        "platform",
        "No worker takes runs",
        "Prefect heard of no worker for 0s (0 s: never); every run waits.",
        silent=("FlowLate",),
    ),
]

COMMITTED = 'watchkeeper_table_commit_rows{dataset="hm", table="articles", outcome="committed"}'
QUARANTINED = 'watchkeeper_table_commit_rows{dataset="hm", table="articles", outcome="quarantined"}'
DATA = [
    *(
        Case(
            "TableStale",
            {
                f"watchkeeper_table_{of}_timestamp_seconds{TABLE_SERIES}": "0x89 5400x20",
                f"watchkeeper_table_commit_timestamp_seconds{TABLE_SERIES}": commit,
                f"watchkeeper_table_max_age_seconds{TABLE_SERIES}": "3600x110",
            },
            71,
            90,
            "ticket",
            "data",
            "hm.articles: no new data for 1h 11m 0s",
            "The newest row is older than the contract's max_age_days; readers see what was true then.",
            TABLE,
        )
        for of, commit in (("newest_event", "0+60x110"), ("commit", "0x89 5400x20"))
    ),
    Case(
        "TableQuarantine",
        {QUARANTINED: "1x9 3x10 1x10", COMMITTED: "97x30"},
        10,
        21,
        "ticket",
        "data",
        "hm.articles: 3% of the newest rows broke a rule",
        "They are in quarantine; `task quarantine` shows each with its file, line and rule.",
        TABLE,
    ),
    Case(
        "TableQuarantine",
        {QUARANTINED: "0x9 1x10 0x10", COMMITTED: "0x30"},
        10,
        21,
        "ticket",
        "data",
        "hm.articles: 100% of the newest rows broke a rule",
        "They are in quarantine; `task quarantine` shows each with its file, line and rule.",
        TABLE,
    ),
    Case(
        "TableRowsUnusual",
        {COMMITTED: "100x60 500x4 100x10"},
        62,
        66,
        "ticket",
        "data",
        "hm.articles: the newest commit has 443.7% of the usual rows",
        "Beside the commits of seven days; a source may have sent a part, or twice.",
        {**TABLE, "outcome": "committed"},
    ),
    Case(
        "TableRowsUnusual",
        {COMMITTED: "100x60 20x4 100x10"},
        62,
        66,
        "ticket",
        "data",
        "hm.articles: the newest commit has 20.52% of the usual rows",
        "Beside the commits of seven days; a source may have sent a part, or twice.",
        {**TABLE, "outcome": "committed"},
    ),
    Case(
        "LandingBacklog",
        {f"watchkeeper_landing_oldest_timestamp_seconds{TABLE_SERIES}": "0x400 stale"},
        366,
        401,
        "ticket",
        "data",
        "hm.articles: files wait in the landing zone",
        "The oldest waits for 6h 6m 0s; no run has taken it.",
        TABLE,
    ),
    Case(
        "TableOrphans",
        {ORPHANS: "0x9 12x20 0x5"},
        20,
        31,
        "ticket",
        "data",
        "hm.articles: orphan files have not been removed",
        "No snapshot has named 12 of its files for days; maintenance does not run, or does not get that far.",
        TABLE,
    ),
]

MODEL = [
    Case(
        "ModelWithoutChampion",
        {'watchkeeper_champion_promotions{model="hm"}': "0x80 1x5"},
        60,
        81,
        "ticket",
        "ml",
        "hm: no version is champion",
        "It has versions or verdicts, and nothing that could be served.",
        HM,
    ),
    Case(
        "ChampionOld",
        {'watchkeeper_champion_created_timestamp_seconds{model="hm"}': "-7775400x79 4800x5"},
        71,
        80,
        "info",
        "ml",
        "hm: the champion is 90d 1h 1m 0s old",
        "No challenger was better for ninety days, or none was trained.",
        HM,
    ),
    Case(
        "ChallengersRefused",
        {'watchkeeper_champion_challengers_refused{model="hm"}': "2x9 3x10 0x10"},
        10,
        21,
        "ticket",
        "ml",
        "hm: 3 challengers in a row were refused",
        "The gate let none pass since the last promotion; `task model:history` has its reasons.",
        HM,
    ),
    Case(
        "LiveScoreFallen",
        {
            'watchkeeper_live_score_ratio{model="hm", of="high"}': "0.8x9 0.7x10 0.8x10",
            'watchkeeper_champion_score_ratio{model="hm"}': "0.78x30",
            'watchkeeper_live_labels{model="hm"}': "100x30",
        },
        15,
        21,
        "page",
        "ml",
        "hm: live macro-F1 has fallen",
        "At most 70% on the labels that arrived: 5 points below validation, and no chance.",
        HM,
    ),
    Case(
        "DriftSuspected",
        {'watchkeeper_drift_state{subject="model.hm", outcome="suspected"}': ON},
        10,
        21,
        "info",
        "ml",
        "model.hm: drift is suspected",
        "A column drifted in one of the last three periods; two confirm it.",
        {"subject": "model.hm", "outcome": "suspected"},
    ),
    Case(
        "DriftConfirmed",
        {'watchkeeper_drift_state{subject="model.hm", outcome="confirmed"}': ON},
        10,
        21,
        "ticket",
        "ml",
        "model.hm: drift is confirmed",
        "The same column drifted in two of the last three periods; the report shows which and how.",
        {"subject": "model.hm", "outcome": "confirmed"},
    ),
    *(
        Case(
            "DriftUnknown",
            {f'watchkeeper_drift_state{{subject="model.hm", outcome="{outcome}"}}': "0x9 1x70 0x10"},
            70,
            81,
            "ticket",
            "ml",
            "model.hm: the newest drift run has no verdict",
            f"It ended with {outcome}: nobody knows whether anything has changed.",
            {"subject": "model.hm", "outcome": outcome},
        )
        for outcome in ("error", "not_enough_data")
    ),
    Case(
        "DriftVerdictStale",
        {'watchkeeper_drift_verdict_timestamp_seconds{subject="model.hm"}': "-172200x19 1200x5"},
        16,
        20,
        "ticket",
        "ml",
        "model.hm: no drift verdict for 2d 0h 6m 0s",
        "The drift flow has not come to an end for two days.",
        {"subject": "model.hm"},
    ),
]

SERVING = [
    Case(
        "ServiceDown",
        {'up{job="serve", instance="127.0.0.1:3000"}': UP},
        11,
        21,
        "page",
        "ml",
        "The service does not answer",
        "127.0.0.1:3000 gives no metrics: nothing is predicted.",
        {"job": "serve", "instance": "127.0.0.1:3000"},
        silent=("TargetGone",),
    ),
    Case(
        "ServiceErrorsFast",
        {OK: "0+90x60", BAD: "0+10x20 200x40"},
        3,
        22,
        "page",
        "ml",
        "10% of predictions fail",
        "At this rate the month's budget of errors (0.5%) is used up in two days.",
        silent=("ServiceErrorsSlow",),
    ),
    Case(
        "ServiceErrorsSlow",
        {OK: "0+95x60", BAD: "0+5x20 100x40"},
        7,
        33,
        "ticket",
        "ml",
        "5% of predictions have failed for hours",
        "At this rate the month's budget of errors (0.5%) is used up in five days.",
        silent=("ServiceErrorsFast",),
    ),
    Case(
        "ServiceSlowFast",
        {SOON: "0+80x20 1700+100x40", ALL: "0+100x60", OK: "0+100x60"},
        3,
        22,
        "page",
        "ml",
        "20% of predictions take over 250 ms",
        "At this rate the month's budget of slow answers (1%) is used up in two days.",
        silent=("ServiceSlowSlow",),
    ),
    Case(
        "ServiceSlowSlow",
        {SOON: "0+90x20 1900+100x40", ALL: "0+100x60", OK: "0+100x60"},
        7,
        33,
        "ticket",
        "ml",
        "10% of predictions have taken over 250 ms for hours",
        "At this rate the month's budget of slow answers (1%) is used up in five days.",
        silent=("ServiceSlowFast",),
    ),
    Case(
        "ServiceQueueFull",
        {'watchkeeper_serve_rejected_total{reason="busy"}': "0x9 0+120x20 2400x20"},
        15,
        33,
        "ticket",
        "ml",
        "The service refuses 2 requests a second",
        "More comes than it can answer; senders are told to come back.",
    ),
    *(
        Case(
            alert,
            {f'watchkeeper_serve_swaps_total{{model="hm", outcome="{outcome}"}}': "0x9 1x40"},
            10,
            25,
            "ticket",
            "ml",
            summary,
            description,
            {**HM, "outcome": outcome},
        )
        for alert, outcome, summary, description in (
            (
                "SwapFailing",
                "failed",
                "hm: the new champion cannot be loaded",
                "The version before it still answers.",
            ),
            (
                "ChampionRolledBack",
                "rolled_back",
                "hm: the new champion was rolled back on probation",
                "It failed or was slow on live traffic; the version before it answers again.",
            ),
        )
    ),
    Case(
        "RegistryUnread",
        {'watchkeeper_serve_registry_read_timestamp_seconds{model="hm"}': "0+60x10 600x10 1320+60x10"},
        13,
        22,
        "ticket",
        "ml",
        "hm: a worker cannot read the registry",
        "It last saw who is champion 3m 0s ago; a promotion would not arrive.",
        HM,
    ),
    Case(
        "PredictionLogDropped",
        {'watchkeeper_serve_log_rows_total{outcome="dropped"}': "0x20 60x40"},
        21,
        36,
        "ticket",
        "ml",
        "The prediction log drops rows",
        "60 in 15 minutes: the disk refuses them, or they come too fast. Drift sees less.",
        {"outcome": "dropped"},
    ),
]

JOBS = {f'up{{job="{job}", instance="x"}}': "1x40" for job in ("statsd", "exporter", "serve", "relay")}
WEBHOOK = {"integration": "webhook"}
WATCH = [
    Case(
        "TargetGone",
        {'up{job="node", instance="127.0.0.1:9100"}': UP, **JOBS},
        12,
        21,
        "ticket",
        "platform",
        "node on 127.0.0.1:9100 gives no metrics",
        "What it tells is unknown, and no alert on it can fire.",
        {"job": "node", "instance": "127.0.0.1:9100"},
        silent=("TargetMissing",),
    ),
    *(
        Case(
            "TargetMissing",
            {
                **{
                    f'up{{job="{other}", instance="x"}}': "1x40"
                    for other in ("node", "statsd", "exporter", "serve", "relay")
                },
                f'up{{job="{job}", instance="x"}}': "1x9 stale _x9 1x10",
                'watchkeeper_champion_promotions{model="hm"}': "1x40",
            },
            15,
            20,
            "ticket",
            "platform",
            f"{job} is no target of Prometheus",
            "Its target file is missing or empty; what it tells is unknown.",
            {"job": job},
            silent=("TargetGone", "ServiceDown", "RelayDown"),
        )
        for job in ("node", "statsd", "exporter", "serve", "relay")
    ),
    Case(
        "CollectorFailing",
        {'watchkeeper_collector_success{collector="tables"}': UP},
        15,
        21,
        "ticket",
        "platform",
        "The exporter cannot read tables",
        "Its series are missing, and no alert on them can fire; the exporter's log has the reason.",
        {"collector": "tables"},
        silent=("PrefectDown",),
    ),
    Case(
        "ProbeFailing",
        {
            'watchkeeper_probe_success{probe="store"}': UP,
            "watchkeeper_probe_timestamp_seconds": "0+60x40",
        },
        16,
        21,
        "ticket",
        "platform",
        "store does not answer its probe",
        "It has failed for six minutes or more: two runs of the health flow. `task health` says why.",
        {"probe": "store"},
        silent=("HealthStale",),
    ),
    Case(
        "HealthStale",
        {
            "watchkeeper_probe_timestamp_seconds": "0x79 4800x10",
            'watchkeeper_probe_success{probe="store"}': "0x90",
            'watchkeeper_flow_scheduled_runs{flow="health", deployment="health"}': "3x90",
        },
        71,
        80,
        "ticket",
        "platform",
        "No probes for 1h 11m 0s",
        "The schedule of the health flow is on, and no run of it has come to an end.",
        silent=("ProbeFailing", "FlowNotScheduled"),
    ),
    Case(
        "RulesFailing",
        {'prometheus_rule_evaluation_failures_total{rule_group="/rules/data.yml;data"}': "0x9 1x40"},
        11,
        15,
        "page",
        "platform",
        "Rules of data cannot be evaluated",
        "1 evaluations failed in 5 minutes; their alerts are blind.",
        {"rule_group": "/rules/data.yml;data"},
    ),
    *(
        Case(
            "NotificationsFailing",
            {series: "0x9 60x40"},
            11,
            15,
            "page",
            "platform",
            "Alerts do not reach their receiver",
            "200m notifications a second fail.",
            labels,
            silent=("PageWithoutRelay",),
        )
        for series, labels in (
            ('prometheus_notifications_errors_total{integration="webhook"}', WEBHOOK),
            ('alertmanager_notifications_failed_total{integration="webhook"}', WEBHOOK),
            ('grafana_alerting_notifications_failed_total{integration="webhook"}', WEBHOOK),
            (
                'watchkeeper_relay_messages_total{job="relay", outcome="refused"}',
                {"job": "relay", "outcome": "refused", "integration": "relay"},
            ),
        )
    ),
    Case(
        "RelayDown",
        {'up{job="relay", instance="127.0.0.1:9876"}': UP},
        11,
        21,
        "page",
        "platform",
        "The relay does not answer",
        "Pages come past it; all else waits until it is back. See observability/runbooks/RelayDown.md.",
        {"job": "relay", "instance": "127.0.0.1:9876"},
        silent=("TargetGone", "PageWithoutRelay"),
    ),
    Case(
        "RelayUndelivered",
        {"watchkeeper_relay_oldest_timestamp_seconds": "600x20 stale"},
        16,
        21,
        "page",
        "platform",
        "Messages do not arrive",
        "The oldest has waited for 6m 0s; the relay keeps all and tries on.",
        silent=("PageWithoutRelay",),
    ),
    *(
        Case(
            "PageWithoutRelay",
            {f"node_filesystem_avail_bytes{DISK}": "4x30", f"node_filesystem_size_bytes{DISK}": "100x30"}
            | relay,
            fires,
            21,
            "page",
            "platform",
            "NodeDiskFull fires, and the relay tells nobody",
            "See observability/runbooks/NodeDiskFull.md. This ends with it, or when the relay tells again.",
            {"fires": "NodeDiskFull", **DISK_LABELS},
        )
        for relay, fires in (
            ({'up{job="relay", instance="127.0.0.1:9876"}': UP}, 11),
            ({"watchkeeper_relay_oldest_timestamp_seconds": "600x20 stale"}, 16),
        )
    ),
]

CASES = [*NODE, *FLOWS, *DATA, *MODEL, *SERVING, *WATCH]
