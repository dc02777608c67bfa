"""One step of a flow: a Prefect task that is shown, timed and measured."""

from collections.abc import Callable
from typing import TypeVar

from prefect import runtime, task
from prefect.cache_policies import NO_CACHE

from flows.console import OnProgress, reporter
from flows.watched import watched_task
from observability import emit
from observability.metrics import Metric

T = TypeVar("T")


def run_step(subject: str, name: str, work: Callable[[OnProgress], T], metric: Metric, /, **labels: str) -> T:
    """Run `work` as a task; it is a closure, so that nothing is hashed or copied.

    Args:
        subject: what the step is about, as it is shown: a table or a model.
        name: the step's.
        work: takes a function for progress.
        metric: a timing whose labels are `labels` and `step`.
        labels: the metric's.
    """
    label = f"{subject} · {name}"

    @watched_task
    @task(name=name, task_run_name=label, cache_policy=NO_CACHE, persist_result=False)
    def run() -> T:
        with reporter.step(label) as on_progress, emit.timed(metric, **labels, step=name):
            return work(on_progress)

    return run()


def flow_run_id() -> str:
    """Id of the flow run that this code runs in; `none` outside of one."""
    return str(runtime.flow_run.id or "none")


def flow_name() -> str:
    """Name of the flow that this code runs in; `none` outside of one."""
    return str(runtime.flow_run.flow_name or "none")
