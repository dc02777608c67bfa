"""The healthy day with one thing wrong for each alert, so that none is silent for want of series.

Where two alerts share a cause and keep each other quiet, the cause is at two hours or on two hosts.
"""

import numpy as np

from tests.stack.healthy import DAY, HOUR, START, STEP, Day, Values


def spoilt() -> Day:
    """From ten in the morning on, unless a line says otherwise."""
    day = Day(errors=0.2, node_gone=200)
    for part in (hosts, tables, flows, models, service, watch):
        part(day)
    return day


def put(day: Day, words: str, values: Values | float, start: float = 10 * HOUR, lasts: float = DAY) -> None:
    """Values of the series that have all these words, for a while."""
    found = [name for name in day.series if all(word in name for word in words.split())]
    assert found, words
    for name in found:
        day.series[name] = np.where(day.between(start, lasts), values, day.series[name])


def step(day: Day, words: str) -> None:
    """A counter that stood still goes up by five, ten minutes long."""
    put(day, words, ((day.second - 10 * HOUR) // 120).clip(0, 5))


def hosts(day: Day) -> None:
    """One is full, its memory used up and its clock off; the other one fills, and has much to do."""
    put(day, "node_filesystem_avail_bytes n1:9100", 4e9)
    put(day, "node_filesystem_avail_bytes n2:9100", 38e9 - 36e9 * day.second / DAY, 0)
    put(day, "node_memory_MemAvailable_bytes n1:9100", 0.5e9)
    put(day, "node_timex_offset_seconds n1:9100", 0.3)
    put(day, "node_cpu_seconds_total n2:9100", 1e5)


def tables(day: Day) -> None:
    """No new rows; many bad ones, ten times the usual in the last commits; a file that waits, orphans."""
    of, rows = 'table="articles"', "watchkeeper_table_commit_rows"
    put(day, f'{rows} {of} outcome="committed"', 4000.0, 20 * HOUR)
    put(day, f'{rows} {of} outcome="quarantined"', 400.0, 20 * HOUR)
    put(day, f"watchkeeper_table_newest_event {of}", START - 2.0 * DAY)
    put(day, f"watchkeeper_landing_oldest {of}", float(START), 0)
    put(day, f"watchkeeper_table_orphan_files {of}", 3.0)


def flows(day: Day) -> None:
    """A run failed, one does not end, one has no plan; no worker, later one that takes nothing."""
    of = 'deployment="etl-hm"'
    put(day, f'flow_last_run_state {of} outcome="failed"', 1.0)
    put(day, f"flow_running_since {of}", START + 10.0 * HOUR)
    put(day, f"flow_scheduled_runs {of}", 0.0)
    put(day, "worker_heartbeat", START + 10.0 * HOUR, lasts=600)
    put(day, f"flow_late_runs {of}", 2.0, 12 * HOUR, 900)
    put(day, 'collector_success collector="prefect"', 0.0, lasts=600)
    put(day, 'collector_success collector="tables"', 0.0, lasts=600)


def models(day: Day) -> None:
    """No champion, or an old one that has fallen; three refused; a verdict of each kind, all old."""
    put(day, "champion_promotions", 0.0)
    put(day, "champion_created", START - 100.0 * DAY)
    put(day, "champion_challengers_refused", 3.0)
    put(day, 'live_score_ratio of="high"', 0.6)
    for outcome in ("suspected", "confirmed", "error"):
        put(day, f'drift_state model.hm outcome="{outcome}"', 1.0)
    put(day, "drift_verdict_timestamp model.hm", START - 3.0 * DAY)


def service(day: Day) -> None:
    """Away, slow and wrong (later less so), refusing; a registry it cannot read, a log it cannot write."""
    put(day, 'up job="serve"', 0.0, lasts=300)
    hour, evening = day.between(14 * HOUR, HOUR), day.between(17 * HOUR, DAY)
    late = np.where(hour, 0.7, np.where(evening, 0.08, 0.0))
    failed = np.where(hour, 0.2, np.where(evening, 0.04, 0.0))
    counters = {
        'duration_seconds_bucket le="0.25"': 1 - late,
        'duration_seconds_bucket le="+Inf"': 1 + 0 * late,
        "duration_seconds_count": 1 + 0 * late,
        'bentoml_service_request_total http_response_code="200"': 1 - failed,
        'bentoml_service_request_total http_response_code="500"': failed,
    }
    for words, share in counters.items():
        put(day, words, np.cumsum(20.0 * STEP * share), 0)
    put(day, 'serve_rejected_total reason="busy"', 2.0 * day.second, lasts=900)
    put(day, "serve_registry_read", START + 10.0 * HOUR, lasts=600)
    for outcome in ("failed", "rolled_back"):
        step(day, f'serve_swaps_total outcome="{outcome}"')
    step(day, 'serve_log_rows_total outcome="dropped"')


def watch(day: Day) -> None:
    """Rules, notifications and a probe fail, StatsD is no target, the relay is away, then keeps a message."""
    step(day, 'rule_evaluation_failures_total rule_group="data"')
    step(day, "prometheus_notifications_errors_total")
    put(day, 'up job="statsd"', np.nan, lasts=HOUR)
    put(day, 'probe_success probe="store"', 0.0, lasts=900)
    put(day, "probe_timestamp", START + 16.0 * HOUR, 16 * HOUR, 2 * HOUR)
    put(day, 'up job="relay"', 0.0, lasts=300)
    put(day, "relay_oldest", START + 12.0 * HOUR, 12 * HOUR, 900)
