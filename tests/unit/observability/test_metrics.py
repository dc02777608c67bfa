"""Every metric is declared once, by Prometheus's rules, and what the flows send is what is declared."""

import ast
import re
from collections.abc import Iterator

import pytest

from flows.config import CHECKOUT
from observability import metrics
from observability.emit import UNSAFE
from observability.metrics import (
    DRIFT_STEP_SECONDS,
    ETL_RUNS,
    ETL_STEP_SECONDS,
    METRICS,
    RETRAIN_STEP_SECONDS,
    Metric,
)

UNIT: dict[str, str | tuple[str, ...]] = {
    "counter": "_total",
    "timing": "_seconds",
    "gauge": (
        "_ratio",
        "_articles",
        "_labels",
        "_info",
        "_depth",
        "_seconds",
        # Numbers without a unit: a distance and its bound, and what is one or zero.
        "_score",
        "_threshold",
        "_state",
        "_success",
        # Numbers of things.
        "_runs",
        "_rows",
        "_files",
        "_refused",
        "_promotions",
        "_messages",
        "_bytes",
    ),
    "histogram": ("_seconds", "_ratio", "_size"),
}


def calls(name: str) -> Iterator[ast.Call]:
    """Calls of a function of this name anywhere in the flows."""
    for path in sorted((CHECKOUT / "flows").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and name in (
                getattr(node.func, "id", None),
                ast.unparse(node.func),
            ):
                yield node


def words(name: str, keyword: str) -> set[str]:
    """The texts that calls of a function give as their first argument, or by this keyword."""
    given = [call.args[0] for call in calls(name) if call.args]
    given += [k.value for call in calls(name) for k in call.keywords if k.arg == keyword]
    return {node.value for node in given if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_metric_of_the_module_is_listed_once() -> None:
    declared = [value for value in vars(metrics).values() if isinstance(value, Metric)]
    assert list(METRICS) == declared
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_name_has_the_prefix_and_the_base_unit(metric: Metric) -> None:
    assert re.fullmatch(r"watchkeeper_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith(UNIT[metric.kind])
    # Counters of a quantity say its unit before `_total`.
    assert not re.search(r"_(ms|milliseconds|kb|mb|percent)(_|$)", metric.name)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_the_help_is_a_sentence(metric: Metric) -> None:
    assert metric.help[0].isupper()
    assert metric.help.endswith(".")
    assert "\n" not in metric.help


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_labels_are_those_that_statsd_exporter_takes(metric: Metric) -> None:
    for label, values in metric.labels.items():
        assert re.fullmatch(r"[a-z][a-z_]+", label)  # of one letter they are refused
        assert not re.search(r"(^|_)(id|path|run|file)$", label)
        for value in values or ():
            assert not UNSAFE.search(value)
        assert values is None or len(set(values)) == len(values)


def test_every_step_of_the_flows_is_one_that_the_timing_knows() -> None:
    steps = words("step", "name")
    assert {"land", "spark", "verdict", "commit"} <= steps
    assert steps <= set(ETL_STEP_SECONDS.labels["step"] or ())


def test_every_step_of_a_retraining_is_one_that_the_timing_knows() -> None:
    assert words("self.step", "name") == set(RETRAIN_STEP_SECONDS.labels["step"] or ())


def test_every_step_of_a_drift_run_is_one_that_the_timing_knows() -> None:
    assert words("drift_step", "name") == set(DRIFT_STEP_SECONDS.labels["step"] or ())


def test_every_outcome_of_a_table_is_one_that_the_counter_knows() -> None:
    outcomes = words("TableResult", "outcome")
    assert {"committed", "failed"} <= outcomes
    assert outcomes <= set(ETL_RUNS.labels["outcome"] or ())
