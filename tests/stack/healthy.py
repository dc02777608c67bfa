"""A day of a home in good order, as Prometheus scrapes it: what grows, swings, restarts and is late a little.

Every series that a rule reads is there. A series is an array, a value a scrape; NaN where it is not there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

STEP = 15
"""Seconds between two scrapes, as in what ships."""
START = 1_767_225_600
"""2026-01-01 00:00 UTC."""
HOUR, DAY = 3600, 86_400
END = START + DAY

TABLES = (("hm", "articles", 400), ("hm", "transactions", 90_000), ("online_retail", "transactions", 2_000))
"""Data set, table, and rows of a usual commit."""
FLOWS = {
    "maintain": ("maintain",),
    "etl": ("etl-hm", "etl-online-retail"),
    "retrain": ("retrain-hm",),
    "drift": ("drift-hm",),
    "health": ("health",),
}
NODES = ("n1:9100", "n2:9100")
JOBS = {
    "prometheus": "127.0.0.1:9090",
    "alertmanager": "127.0.0.1:9093",
    "relay": "127.0.0.1:9876",
    "statsd": "127.0.0.1:9102",
    "exporter": "127.0.0.1:9877",
    "serve": "127.0.0.1:3000",
    "prefect": "127.0.0.1:4200",
}
COLLECTORS = ("prefect", "tables", "contracts", "landing", "orphans", "models", "drift", "health", "disk")
PROBES = ("prefect", "tables", "store", "serve", "statsd", "prometheus", "receiver")


@dataclass
class Day:
    """The day's series by name and labels, and what it may be spoilt with.

    Attributes:
        errors: share of predictions that fail from two to three in the afternoon.
        node_gone: seconds for which the second node's exporter is away at six in the evening.
    """

    errors: float = 0.001
    node_gone: float = 120
    series: dict[str, Values] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Draw them."""
        self.draw = np.random.default_rng(0)
        self.second: Values = np.arange(0, DAY + 1, STEP, dtype=np.float64)
        self.now = START + self.second
        # From 0 at three in the morning to 1 at three in the afternoon.
        self.load: Values = 0.5 - 0.5 * np.cos(2 * np.pi * (self.second - 3 * HOUR) / DAY)
        for part in (
            self.targets,
            self.nodes,
            self.tables,
            self.flows,
            self.models,
            self.serving,
            self.watch,
        ):
            part()

    def say(self, name: str, job: str, values: Values | float, instance: str = "", **labels: str) -> None:
        """One series of a target; `job` is one of `JOBS`, or has its `instance` beside it."""
        said = {"job": job, "instance": instance or JOBS[job], **labels}
        text = ",".join(f'{label}="{value}"' for label, value in said.items())
        self.series[f"{name}{{{text}}}"] = np.broadcast_to(values, self.second.shape)

    def ours(self, name: str, values: Values | float, **labels: str) -> None:
        """A series of the exporter's."""
        self.say(f"watchkeeper_{name}", "exporter", values, **labels)

    def between(self, start: float, seconds: float) -> npt.NDArray[np.bool_]:
        """The scrapes from a second of the day on."""
        return (self.second >= start) & (self.second < start + seconds)

    def between_hours(self, start: float, seconds: float) -> npt.NDArray[np.bool_]:
        """The scrapes from a second of each hour on."""
        at = self.second % HOUR
        return (at >= start) & (at < start + seconds)

    def grown(self, rate: Values | float, restart: float | None = None) -> Values:
        """A counter from what it grows by in a second; it begins anew where its process does."""
        total: Values = np.cumsum(np.broadcast_to(rate, self.second.shape) * STEP)
        if restart is not None:
            total = total - np.where(self.second >= restart, total[int(restart) // STEP], 0)
        return total.round()

    def noise(self, least: float, most: float) -> Values:
        """Drawn anew at each scrape."""
        return self.draw.uniform(least, most, self.second.shape)

    def targets(self) -> None:
        """Every target is up; the service is started anew at noon, a node-exporter at six."""
        for job in JOBS:
            away = self.between(12 * HOUR, 45) if job == "serve" else self.between(0, 0)
            self.say("up", job, np.where(away, 0.0, 1.0))
        for node in NODES:
            away = self.between(18 * HOUR, self.node_gone if node == NODES[1] else 0)
            self.say("up", "node", np.where(away, 0.0, 1.0), node)

    def nodes(self) -> None:
        """Busy by day, a backup at night; the disk, more than half full, fills slowly."""
        for node in NODES:
            backup = self.between(2 * HOUR, 20 * 60)
            busy = np.where(backup, 1.0, 0.1 + 0.7 * self.load)
            for cpu in ("0", "1"):
                labels = {"cpu": cpu, "mode": "idle"}
                self.say("node_cpu_seconds_total", "node", np.cumsum((1 - busy) * STEP), node, **labels)
            disk = {"mountpoint": "/", "fstype": "ext4", "device": "/dev/vda1"}
            free = 38e9 - 5e9 * self.second / DAY - 8e9 * backup
            self.say("node_filesystem_avail_bytes", "node", free, node, **disk)
            self.say("node_filesystem_size_bytes", "node", 100e9, node, **disk)
            memory = 16e9 * (0.6 - 0.35 * self.load) + self.noise(0, 1e9)
            self.say("node_memory_MemAvailable_bytes", "node", memory, node)
            self.say("node_memory_MemTotal_bytes", "node", 16e9, node)
            self.say("node_timex_offset_seconds", "node", self.noise(-0.004, 0.004), node)

    def tables(self) -> None:
        """A file lands each hour; five minutes later a run takes it, and commits after four more."""
        hour = self.second // HOUR
        waits, committed = self.between_hours(0, 540), np.where(self.second % HOUR < 540, hour - 1, hour)
        for dataset, table, usual in TABLES:
            label = {"dataset": dataset, "table": table}
            rows = np.floor(usual * (0.7 + 0.6 * self.load[(committed.clip(0) * HOUR // STEP).astype(int)]))
            said = {"committed": rows, "quarantined": np.floor(rows * 0.004), "duplicate": rows * 0.0}
            for outcome, values in said.items():
                self.ours("table_commit_rows", values, **label, outcome=outcome)
            self.ours("table_commit_timestamp_seconds", START + committed * HOUR + 540, **label)
            self.ours("table_newest_event_timestamp_seconds", START + committed * HOUR, **label)
            self.ours("table_max_age_seconds", float(DAY), **label)
            self.ours("table_orphan_files", 0.0, **label)
            oldest = np.where(waits, START + hour * HOUR, np.nan)
            self.ours("landing_oldest_timestamp_seconds", oldest, **label)

    def flows(self) -> None:
        """Runs once an hour that wait half a minute for their worker and end well."""
        late, runs = self.between_hours(300, 30), self.between_hours(330, 210)
        for flow, deployments in FLOWS.items():
            for deployment in (*deployments, "none"):
                label = {"flow": flow, "deployment": deployment}
                for outcome in ("completed", "failed", "crashed", "cancelled"):
                    ended = float(outcome == "completed")
                    self.ours("flow_last_run_state", ended, **label, outcome=outcome)
                self.ours("flow_last_success_seconds", 210.0, **label)
            for deployment in deployments:
                label = {"flow": flow, "deployment": deployment}
                began = START + self.second // HOUR * HOUR + 330
                self.ours("flow_running_since_timestamp_seconds", np.where(runs, began, np.nan), **label)
                self.ours("flow_late_runs", late.astype(float), **label)
                self.ours("flow_scheduled_runs", 3.0, **label)
        beat = self.now - self.second % 30
        self.ours("worker_heartbeat_timestamp_seconds", beat, pool="watchkeeper")
        for collector in COLLECTORS:
            failed = self.between(7 * HOUR, 60) if collector == "tables" else self.between(0, 0)
            self.ours("collector_success", np.where(failed, 0.0, 1.0), collector=collector)

    def models(self) -> None:
        """A champion ten days old until one is promoted at noon, after two were refused."""
        new = self.second >= 11 * HOUR
        hm = {"model": "hm"}
        self.ours("champion_promotions", np.where(new, 4.0, 3.0), **hm)
        self.ours("champion_challengers_refused", np.where(new, 0.0, 2.0), **hm)
        self.ours("champion_created_timestamp_seconds", START + np.where(new, 10.0 * HOUR, -10.0 * DAY), **hm)
        self.ours("champion_score_ratio", np.where(new, 0.79, 0.78), **hm)
        for of, value in {"labels": 0.77, "low": 0.72, "high": 0.81, "confidence": 0.78}.items():
            self.ours("live_score_ratio", value, **hm, of=of)
        self.ours("live_labels", 240.0, **hm)
        verdict = START + (np.floor(self.second / DAY - 0.2) + 0.2) * DAY  # at 04:48 each morning
        for subject in ("model.hm", "hm.transactions"):
            for outcome in ("none", "suspected", "confirmed", "not_enough_data", "error"):
                self.ours("drift_state", float(outcome == "none"), subject=subject, outcome=outcome)
            self.ours("drift_verdict_timestamp_seconds", verdict, subject=subject)

    def serving(self) -> None:
        """Two to twenty predictions a second, three in a thousand slow; a few bursts are refused."""
        restart = 12.0 * HOUR
        asked = np.where(self.between(restart, 45), 0, 2 + 18 * self.load)
        failed = np.where(self.between(14 * HOUR, HOUR), self.errors, 0.001)
        codes = {"200": 1 - failed, "500": failed}
        for code, share in codes.items():
            counted = self.grown(asked * share, restart)
            labels = {"endpoint": "/predict", "http_response_code": code, "service_name": "classifier"}
            self.say("bentoml_service_request_total", "serve", counted, **labels)
        asks = {"endpoint": "/predict", "service_name": "classifier", "http_response_code": "200"}
        name = "bentoml_service_request_duration_seconds"
        for bound, within in {"0.25": 0.997, "+Inf": 1.0}.items():
            self.say(f"{name}_bucket", "serve", self.grown(asked * within, restart), **asks, le=bound)
        self.say(f"{name}_count", "serve", self.grown(asked, restart), **asks)
        refused = {"busy": np.where(self.between(15 * HOUR, 60), 2.0, 0.0), "bad_image": 0.001 * asked}
        for reason, rate in refused.items():
            counted = self.grown(rate, restart)
            self.say("watchkeeper_serve_rejected_total", "serve", counted, reason=reason)
        swapped: dict[str, Values | float] = {
            "swapped": np.where(self.second >= 11 * HOUR + 60, 2.0, 1.0),
            "failed": 0.0,
            "rolled_back": 0.0,
        }
        for outcome, swaps in swapped.items():
            self.say("watchkeeper_serve_swaps_total", "serve", swaps, model="hm", outcome=outcome)
        read = self.now - self.second % 20
        self.say("watchkeeper_serve_registry_read_timestamp_seconds", "serve", read, model="hm")
        logged: dict[str, Values | float] = {"written": self.grown(asked, restart), "dropped": 0.0}
        for outcome, rows in logged.items():
            self.say("watchkeeper_serve_log_rows_total", "serve", rows, outcome=outcome)

    def watch(self) -> None:
        """No rule and no notification fails; one run of the probes found the service starting anew."""
        for group in ("data", "flows", "model", "node", "serving", "watch"):
            self.say("prometheus_rule_evaluation_failures_total", "prometheus", 0.0, rule_group=group)
        sent = {"alertmanager": f"http://{JOBS['alertmanager']}/api/v2/alerts"}
        self.say("prometheus_notifications_errors_total", "prometheus", 0.0, **sent)
        for integration in ("webhook", "slack"):
            to = {"integration": integration}
            self.say("alertmanager_notifications_failed_total", "alertmanager", 0.0, **to)
            self.say("grafana_alerting_notifications_failed_total", "grafana", 0.0, "127.0.0.1:3001", **to)
        self.ours("probe_timestamp_seconds", START + self.second // 300 * 300)
        for probe in PROBES:
            failed = self.between(12 * HOUR, 300) if probe == "serve" else self.between(0, 0)
            self.ours("probe_success", np.where(failed, 0.0, 1.0), probe=probe)
        # The relay had a message at hand when it was asked.
        came = np.where(self.between(9 * HOUR, STEP), self.now - 1, np.nan)
        self.say("watchkeeper_relay_oldest_timestamp_seconds", "relay", came)
        for outcome, rate in {"delivered": 0.002, "retried": 0.0001, "refused": 0.0, "expired": 0.0}.items():
            self.say("watchkeeper_relay_messages_total", "relay", self.grown(rate), outcome=outcome)

    def openmetrics(self) -> Iterator[str]:
        """The day as text that promtool reads."""
        for name, values in self.series.items():
            there = ~np.isnan(values)
            for when, value in zip(self.now[there].tolist(), values[there].tolist(), strict=True):
                yield f"{name} {value} {when:.0f}\n"
        yield "# EOF\n"
