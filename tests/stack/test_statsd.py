"""What flows send, through a real statsd_exporter with our mapping."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from flows.config import Settings
from observability import emit
from observability.statsd import mapping
from tests.factories import environment_of, free_port, retail_row, wait_until, write_csv
from tests.stack.events import LABELS, PUSHED, VALUE, send_all
from tests.stack.programs import needs, page, running

pytestmark = [needs("statsd_exporter"), pytest.mark.timeout(300)]
KINDS = {"counter": "counter", "timing": "histogram", "gauge": "gauge"}


@dataclass(frozen=True)
class Exporter:
    """A statsd_exporter, with no series but its own."""

    port: int
    url: str

    def families(self) -> dict[str, Family]:
        return {family.name: family for family in text_string_to_metric_families(page(f"{self.url}/metrics"))}

    def value(self, name: str, **labels: str) -> float | None:
        """Of one series."""
        samples = [s for family in self.families().values() for s in family.samples]
        return next((s.value for s in samples if (s.name, s.labels) == (name, labels)), None)


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    port, url = free_port(), f"http://127.0.0.1:{free_port()}"
    command = [
        "statsd_exporter",
        f"--statsd.mapping-config={mapping.FILE}",
        f"--statsd.listen-udp=127.0.0.1:{port}",
        f"--statsd.listen-tcp=127.0.0.1:{port}",
        f"--web.listen-address={url.removeprefix('http://')}",
    ]
    with running(command, f"{url}/-/healthy", tmp_path / "statsd.log"):
        yield Exporter(port, url)


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_every_pushed_metric_arrives_as_it_is_declared(
    exporter: Exporter, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHKEEPER_STATSD_PORT", str(exporter.port))
    monkeypatch.setenv("WATCHKEEPER_STATSD_PROTOCOL", protocol)
    emit.sender.cache_clear()
    emit.sender().put(("incr", "somebody.elses.counter", 1))
    send_all()
    emit.sender.cache_clear()
    wait_until(lambda: len(ours(exporter)) == len(PUSHED), "every metric")
    for metric in PUSHED:
        family = ours(exporter)[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (KINDS[metric.kind], metric.help)
        name = f"{metric.name}_sum" if metric.kind == "timing" else metric.name
        assert exporter.value(name, **LABELS[metric.name]) == VALUE, "seconds are seconds"
        if metric.kind == "timing":
            bounds = {s.labels["le"] for s in family.samples if s.name.endswith("_bucket")}
            assert {float(le) for le in bounds} == {*metric.buckets, float("inf")}
    assert not [name for name in exporter.families() if "somebody" in name or "dropped" in name]


def ours(exporter: Exporter) -> dict[str, Family]:
    return {name: found for name, found in exporter.families().items() if name.startswith("watchkeeper_")}


def test_a_flow_is_counted_and_timed_without_a_line_in_it(exporter: Exporter, settings: Settings) -> None:
    environment = environment_of(settings, WATCHKEEPER_STATSD_PORT=str(exporter.port))

    def etl(source: Path) -> int:
        command = [sys.executable, "-m", "flows.etl", "--dataset", "online_retail", "--source", str(source)]
        return subprocess.run(command, env=environment, capture_output=True, timeout=200).returncode

    rows = [*(retail_row(StockCode=number) for number in range(40)), retail_row(Quantity=-1)]
    day = write_csv(settings.home.parent / "in" / "2010-12-01.csv.gz", rows)
    assert etl(day) == 0
    bad = write_csv(day.with_name("2010-12-02.csv.gz"), [retail_row(Quantity=-1)])
    assert etl(bad) == 2, "all of its rows are for quarantine"
    wait_until(lambda: exporter.value("watchkeeper_flow_seconds_count", flow="etl") == 2, "both runs")
    for outcome in ("completed", "failed"):
        assert exporter.value("watchkeeper_flow_runs_total", flow="etl", outcome=outcome) == 1
    took = exporter.value("watchkeeper_flow_seconds_sum", flow="etl")
    assert took is not None
    assert 0.1 < took < 200
    for step in ("land", "spark"):
        assert exporter.value("watchkeeper_task_runs_total", task=step, outcome="completed") == 2
    assert exporter.value("watchkeeper_task_runs_total", task="verdict", outcome="failed") == 1
    for step in ("verdict", "commit", "report"):
        assert exporter.value("watchkeeper_task_runs_total", task=step, outcome="completed") == 1
    assert exporter.value("watchkeeper_task_seconds_count", task="verdict") == 2
    table = {"dataset": "online_retail", "table": "transactions"}
    assert exporter.value("watchkeeper_etl_rows_total", **table, outcome="quarantined") == 1
