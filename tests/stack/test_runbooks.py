"""What runbooks tell a person to paste works: it ends well, and shows what the page speaks of."""

import re
from collections.abc import Iterator

import pytest

from observability.prometheus.rules import alerts
from tests.stack.pages import home_of_the_pages
from tests.stack.programs import needs
from tests.stack.runbooks import SETS, run, section
from tests.stack.watching import Stack

pytestmark = [
    needs("prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "statsd_exporter", "amtool"),
    pytest.mark.timeout(900),
]
SERIES = r'"status":"success".*"result":\[\{"metric"'
HISTORY = r"promoted\s+summer"
RUNS = r"0001.*\n?.*rejected"
TABLE_OF_RUNS = r"│ +[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12} │"
VERDICT = r'"outcome": "confirmed"'
TARGETS = r'"scrapeUrl":"http.*\n"?.*'

SHOWN: dict[str, list[str]] = {
    "ChallengersRefused": [HISTORY, RUNS, r'challengers_refused\{model="garments"\} 3'],
    "ChampionOld": [HISTORY, RUNS, SERIES],
    "ChampionRolledBack": [HISTORY, r'"version":"summer"', r'"http_response_code":"200"'],
    "CollectorFailing": [r'success\{collector="prefect"\} [01]', r"\b3\b", HISTORY],
    "DriftConfirmed": [r'"column":"label"', VERDICT],
    "DriftSuspected": [r'"column":"label"', VERDICT],
    "DriftUnknown": [VERDICT, r'drift_state\{outcome="confirmed",subject="model.garments"\} 1'],
    "DriftVerdictStale": [r"verdicts/model\.garments/\d{8}T", r'flow_late_runs\{.*flow="drift"\}'],
    "FlowFailed": [TABLE_OF_RUNS, r"was not committed"],
    "FlowLate": [r"late_runs\{.*\} 1", r"watchkeeper", TABLE_OF_RUNS],
    "FlowNotScheduled": [r"flow_scheduled_runs\{", r"Schedule", r"\w"],
    "FlowStuck": [r"Spark has begun", r"no process|\d"],
    "HealthStale": [r"probe_timestamp_seconds \d", r"run/health\.json"],
    "LandingBacklog": [
        r'landing_files\{dataset="serving"',
        r"serving/.*\.parquet",
        r'outcome="failed".* 1\.0',
    ],
    "LiveScoreFallen": [r'live_score_ratio\{.*model="garments"', HISTORY, r"model\.garments: "],
    "ModelWithoutChampion": [HISTORY, RUNS, r'champion_promotions\{model="garments"\} 2'],
    "NodeClockSkew": [SERIES, SERIES],
    "NodeCpuSaturated": [r"load average", r"PID.*COMMAND", TABLE_OF_RUNS],
    "NodeDiskFilling": [r"Filesystem.*\n.*%", r"/registry/", TABLE_OF_RUNS],
    "NodeDiskFull": [r"Filesystem.*\n.*%", r"/registry/", r"home_free_bytes \d"],
    "NodeMemoryLow": [r"Mem:", r"PID.*COMMAND", r"ended nothing|ut of memory"],
    "NotificationsFailing": [
        r"TargetGone",
        r"errors_total|none",
        r"failed_total|none",
    ],
    "PageWithoutRelay": [r'"alertname":"TargetGone"', r" 200", r"relay_waiting_messages \d"],
    "PredictionLogDropped": [r'"outcome":"written"', r"Filesystem.*\n.*%", r"landing_files.*serving"],
    "PrefectDown": [r"http://127", r'collector_success\{collector="prefect"\} 1', r"\w"],
    "ProbeFailing": [r"tables +good", r'"probe": "tables"', r'probe_success\{probe="tables"\} 1'],
    "RegistryUnread": [HISTORY, r"registry/garments/ledger", SERIES],
    "RelayDown": [r" 200", r"scrapeUrl.*\n.*lastError", r"flows\.health\.relay"],
    "RelayUndelivered": [r"relay_waiting_messages \d", r"TargetGone"],
    "RulesFailing": [r'"lastError":".*[dm]|none', r"SUCCESS: \d+ rules", r'"job":"exporter"'],
    "ServiceDown": [r" 200\n.* 200", r"scrapeUrl.*\n.*lastError", r"bentoml"],
    "ServiceErrorsFast": [r'"http_response_code":"200"', r'"reason":"', HISTORY],
    "ServiceErrorsSlow": [r'"http_response_code":"200"', r'"reason":"', r'"ok"'],
    "ServiceQueueFull": [r'"reason":"', r'"endpoint":"/predict"', SERIES.replace('"metric"', "")],
    "ServiceSlowFast": [SERIES + r".*\n.*" + SERIES, SERIES + r".*\n.*" + SERIES],
    "ServiceSlowSlow": [r'"endpoint":"/predict"', SERIES + r".*\n.*" + SERIES],
    "SwapFailing": [r"garments", HISTORY, r'"version":"summer"'],
    "TableOrphans": [r"orphan_files\{.*\} 1", r'none|flow="maintain"', r"data/orphan\.parquet"],
    "TableQuarantine": [r"price_below_zero", r'"rule":"price_below_zero"'],
    "TableRowsUnusual": [r'"outcome":"committed"', r"transactions-1\.csv"],
    "TableStale": [r'newest_event_timestamp_seconds\{dataset="hm",table="transactions"\}', SERIES],
    "TargetGone": [r'"job":"node"', r'"lastError":".*refused', r"^200 "],
    "TargetMissing": [r'"job":"serve"', r"sd_file_read_errors_total 0", r'"ok"'],
    "WorkerGone": [
        r"worker_heartbeat_timestamp_seconds\{",
        r"prefect_cli worker start",
        r"http://127",
    ],
}
"""Of each page what its commands show, one after the other, in the home of `pages.py`."""

BROKEN = r"command not found|No such file|curl: "
NOT_HERE = {
    "timedatectl": "asks systemd, which a container does not have",
    "curl -sS -m 10 -o /dev/null -w '%{http_code} %{time_total} s\\n' https://slack.com/api/api.test": (
        "asks Slack itself; tests send nothing outside"
    ),
}
"""Commands that cannot run everywhere, and why."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with home_of_the_pages(tmp_path_factory.mktemp("pages")) as made:
        yield made


def test_every_page_is_here() -> None:
    assert set(SHOWN) == {alert["alert"] for alert in alerts()}


@pytest.mark.parametrize("name", SHOWN)
def test_what_confirms_an_alert_works_when_pasted(stack: Stack, name: str) -> None:
    def right() -> bool:
        said = run(stack, [command for command in section(name, "Confirm") if command not in NOT_HERE])
        print(*said, sep="\n")
        shown = [each for each in said if not SETS.match(each.command)]
        broken = any(each.code or re.search(BROKEN, each.output) for each in said)
        pairs = zip(shown, SHOWN[name], strict=True)
        return not broken and all(re.search(words, each.output) for each, words in pairs)

    # Once more where a busy machine has just missed a scrape.
    stack.until(right, f"{name}: what its page speaks of")


@pytest.mark.parametrize("name", [name for name in SHOWN if section(name, "Silence")])
def test_an_alert_is_silenced_by_what_its_page_says(stack: Stack, name: str) -> None:
    (said,) = run(stack, section(name, "Silence"))
    number = re.search(r"^[0-9a-f-]{36}$", said.output, re.MULTILINE)
    assert said.code == 0, said
    assert number, said
    amtool = "amtool --alertmanager.url=http://127.0.0.1:9093 silence"
    held, gone = run(stack, [f"{amtool} query alertname={name}", f"{amtool} expire {number[0]}"])
    assert number[0][:8] in held.output, held
    assert gone.code == 0, gone


def test_what_cannot_run_here_is_still_on_a_page() -> None:
    pasted = {command for name in SHOWN for command in section(name, "Confirm")}
    assert set(NOT_HERE) <= pasted
