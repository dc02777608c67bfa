"""A day on which nothing is wrong, replayed: no alert. One fault in it, and there is one.

promtool loads the day's samples into a Prometheus, and evaluates the recording rules over them. It leaves
alerting rules out: their expressions are asked of that Prometheus at every step, and `for` is applied here.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml

from observability.metrics import METRICS
from observability.prometheus.rules import SECONDS, alerts, groups
from tests.factories import free_port
from tests.stack.healthy import DAY, END, START, STEP, Day
from tests.stack.programs import needs, running
from tests.stack.spoilt import spoilt
from tests.unit.observability.grafana.test_queries import selectors

pytestmark = [needs("prometheus", "promtool"), pytest.mark.timeout(300)]

OF_ALERTS = "ALERTS"
"""What Prometheus says of its own alerts; a replay has none."""
OF_OTHERS = {"PageWithoutRelay"}
"""What fires only where another alert does."""


@dataclass
class Replay:
    """A Prometheus that holds a day and what the recording rules say of it."""

    url: str

    def ask(self, path: str, **parameters: Any) -> list[Any]:
        """What its API answers."""
        answer = httpx.post(f"{self.url}/api/v1/{path}", data=parameters, timeout=60, trust_env=False)
        assert answer.is_success, answer.text
        data = answer.json()["data"]
        return list(data["result"] if path.startswith("query") else data)

    def fired(self) -> dict[str, str]:
        """The alerts that fired in the course of the day, and how severe they are."""
        return {
            alert["alert"]: alert["labels"]["severity"]
            for alert in alerts()
            if any(
                lasts(series["values"], seconds(alert.get("for", "0s")))
                for series in self.ask("query_range", query=alert["expr"], start=START, end=END, step=STEP)
            )
        }


def seconds(duration: str) -> int:
    """Of a rule's `for`."""
    return int(duration[:-1]) * SECONDS[duration[-1]]


def lasts(values: list[tuple[float, str]], duration: int) -> bool:
    """Whether a series is there for so long, at evaluation after evaluation."""
    since = before = values[0][0]
    for when, _ in values:
        if when - before > STEP:
            since = when
        if when - since >= duration:
            return True
        before = when
    return False


@contextmanager
def replayed(folder: Path, day: Day) -> Iterator[Replay]:
    """The day in a Prometheus."""
    data, samples = folder / "data", folder / "day.om"
    with samples.open("w") as stream:
        stream.writelines(day.openmetrics())
    blocks = ["promtool", "tsdb", "create-blocks-from", f"--max-block-duration={2 * DAY}s"]
    loaded([*blocks, "openmetrics", str(samples), str(data)])
    for rules in recordings():
        (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "day", "rules": rules}]}))
        with prometheus(folder) as url:  # anew: it looks for blocks when it starts
            when = [f"--start={START}", f"--end={END}", f"--eval-interval={STEP}s", f"--url={url}"]
            loaded([*blocks, "rules", *when, f"--output-dir={data}", str(folder / "rules.yml")])
    with prometheus(folder) as url:
        yield Replay(url)


def recordings() -> Iterator[list[dict[str, Any]]]:
    """The recording rules, first those that read no other: promtool asks each of what is there already."""
    left = [rule for group in groups() for rule in group["rules"] if "record" in rule]
    while left:
        names = {rule["record"] for rule in left}
        now = [rule for rule in left if not any(name in rule["expr"] for name in names)]
        yield now
        left = [rule for rule in left if rule not in now]


def loaded(command: list[str]) -> None:
    """Have promtool make blocks."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    """One that scrapes nothing and forgets nothing; its address."""
    (folder / "prometheus.yml").write_text("{}")
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address={address}",
    ]
    with running(command, f"http://{address}/-/ready", folder / "prometheus.log"):
        yield f"http://{address}"


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    with replayed(tmp_path_factory.mktemp("healthy"), Day()) as made:
        yield made


def test_whatever_a_rule_reads_is_in_the_day(healthy: Replay) -> None:
    read = {one for group in groups() for rule in group["rules"] for one in selectors(rule["expr"])}
    for one in {one for one in read if not one.startswith(OF_ALERTS)}:
        assert healthy.ask("series", **{"match[]": one}, start=START, end=END), one


def test_our_metrics_have_the_labels_that_are_declared() -> None:
    declared = {metric.name: metric.labels.keys() for metric in METRICS}
    for one in Day().series:
        series = promql_parser.parse(one)
        assert isinstance(series, promql_parser.VectorSelector)
        if str(series.name).startswith("watchkeeper_"):
            labels = {matcher.name for matcher in series.matchers.matchers}
            assert labels == declared[str(series.name)] | {"job", "instance"}, one


def test_a_healthy_day_has_no_alert(healthy: Replay) -> None:
    assert healthy.fired() == {}


def test_a_day_on_which_everything_is_wrong_has_every_alert(tmp_path: Path) -> None:
    with replayed(tmp_path, spoilt()) as made:
        assert made.fired().keys() == {alert["alert"] for alert in alerts()} - OF_OTHERS


def test_an_hour_of_errors_and_a_host_that_is_away_are_told(tmp_path: Path) -> None:
    with replayed(tmp_path, Day(errors=0.2, node_gone=135)) as made:
        assert made.fired() == {"ServiceErrorsFast": "page", "TargetGone": "ticket"}
