"""Flows and tasks of ours: hooks tell the watch how each run ended, so that no flow's body has to."""

from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from prefect import Flow, Task
from prefect.client.schemas.objects import FlowRun, State, TaskRun
from prefect.utilities.urls import url_for

from flows.config import load_settings
from flows.errors import WatchkeeperError
from flows.server_record import printable
from observability import emit
from observability.metrics import FLOW_RUNS, FLOW_SECONDS, TASK_RETRIES, TASK_RUNS, TASK_SECONDS
from observability.slack.events import Teller
from observability.slack.items import REASON, Event

AnyFlow = TypeVar("AnyFlow", bound=Flow[Any, Any])
AnyTask = TypeVar("AnyTask", bound=Task[Any, Any])


@runtime_checkable
class Counted(Protocol):
    """What a flow returns may say its key figures, for the message of its success."""

    def figures(self) -> dict[str, str]:
        """In words, by their names."""


def watched(flow: AnyFlow) -> AnyFlow:
    """Count and time a flow's runs, and tell of them: a decorator above `@flow`."""
    flow.on_running(flow_began)
    for at_end in (flow.on_completion, flow.on_failure, flow.on_crashed, flow.on_cancellation):
        at_end(flow_ended)
    return flow


def watched_task(task: AnyTask) -> AnyTask:
    """Count and time a task's runs, and tell of them: a decorator above `@task`."""
    task.on_running(task_began)
    for at_end in (task.on_completion, task.on_failure):
        at_end(task_ended)
    return task


# Prefect gives these by keyword when a run crashed: the names are its own.
def flow_began(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001
    """Tell the relay of a flow run's start."""
    tell(event_of("flow", flow.name, flow_run, "start"))


def flow_ended(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell StatsD and the relay of a flow run's end."""
    outcome = "cancelled" if state.is_cancelling() else state.type.value.lower()
    emit.count(FLOW_RUNS, 1, flow=flow.name, outcome=outcome)
    emit.seconds(FLOW_SECONDS, seconds_of(flow_run), flow=flow.name)
    if not state.is_cancelling():  # somebody wanted that
        tell(end_of("flow", flow.name, flow_run, state))


def task_began(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> None:  # noqa: ARG001
    """Tell the relay of a task run's start."""
    tell(event_of("task", task.name, task_run, "start"))


def task_ended(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> None:
    """Tell StatsD and the relay of a task run's end."""
    emit.count(TASK_RUNS, 1, task=task.name, outcome=state.type.value.lower())
    emit.count(TASK_RETRIES, task_run.run_count - 1, task=task.name)
    emit.seconds(TASK_SECONDS, seconds_of(task_run), task=task.name)
    tell(end_of("task", task.name, task_run, state))


def tell(event: Event) -> None:
    """Tell the relay, or leave it in the home for it."""
    told = teller()
    if told is not None:
        told.tell(event)


@cache
def teller() -> Teller | None:
    """The process's; none where the settings cannot be read, which is not for a hook to say."""
    try:
        settings = load_settings()
    except WatchkeeperError:
        return None
    return Teller(settings, settings.run / "events")


def end_of(kind: Literal["flow", "task"], name: str, run: FlowRun | TaskRun, state: State[Any]) -> Event:
    """The event of a run's end: a success with what was counted, a failure with its reason."""
    if not state.is_completed():
        return event_of(kind, name, run, "failure", reason=(state.message or state.name or "")[:REASON])
    result = getattr(state.data, "result", None)  # of a record that Prefect keeps in memory
    return event_of(
        kind, name, run, "success", figures=result.figures() if isinstance(result, Counted) else {}
    )


def event_of(
    kind: Literal["flow", "task"],
    name: str,
    run: FlowRun | TaskRun,
    event: Literal["start", "success", "failure"],
    **more: Any,  # noqa: ANN401  # further fields
) -> Event:
    """What the relay is told of a run, with the link to its log where a server shows it."""
    return Event(
        kind=kind,
        name=name,
        run=run.name,
        id=str(run.id),
        event=event,
        when=datetime.now(UTC),
        seconds=seconds_of(run),
        url=printable(url_for(f"{kind}-run", run.id) or ""),
        **more,
    )


def seconds_of(run: FlowRun | TaskRun) -> float:
    """How long a run has taken until now, waiting for its start aside."""
    started = run.start_time or run.expected_start_time
    return (datetime.now(UTC) - started).total_seconds() if started else 0.0
