"""Flows and tasks of ours: hooks tell the watch how each run ended, so that no flow's body has to."""

from datetime import UTC, datetime
from typing import Any, TypeVar

from prefect import Flow, Task
from prefect.client.schemas.objects import FlowRun, State, TaskRun

from observability import emit
from observability.metrics import FLOW_RUNS, FLOW_SECONDS, TASK_RETRIES, TASK_RUNS, TASK_SECONDS

AnyFlow = TypeVar("AnyFlow", bound=Flow[Any, Any])
AnyTask = TypeVar("AnyTask", bound=Task[Any, Any])


def watched(flow: AnyFlow) -> AnyFlow:
    """Count and time a flow's runs: a decorator above `@flow`."""
    for at_end in (flow.on_completion, flow.on_failure, flow.on_crashed, flow.on_cancellation):
        at_end(flow_ended)
    return flow


def watched_task(task: AnyTask) -> AnyTask:
    """Count and time a task's runs: a decorator above `@task`."""
    for at_end in (task.on_completion, task.on_failure):
        at_end(task_ended)
    return task


# Prefect gives these by keyword when a run crashed: the names are its own.
def flow_ended(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell StatsD of a flow run's end."""
    outcome = "cancelled" if state.is_cancelling() else state.type.value.lower()
    emit.count(FLOW_RUNS, 1, flow=flow.name, outcome=outcome)
    emit.seconds(FLOW_SECONDS, seconds_of(flow_run), flow=flow.name)


def task_ended(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> None:
    """Tell StatsD of a task run's end."""
    emit.count(TASK_RUNS, 1, task=task.name, outcome=state.type.value.lower())
    emit.count(TASK_RETRIES, task_run.run_count - 1, task=task.name)
    emit.seconds(TASK_SECONDS, seconds_of(task_run), task=task.name)


def seconds_of(run: FlowRun | TaskRun) -> float:
    """How long a run has taken until now, waiting for its start aside."""
    started = run.start_time or run.expected_start_time
    return (datetime.now(UTC) - started).total_seconds() if started else 0.0
