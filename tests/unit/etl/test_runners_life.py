"""A job's life: never twice, never left behind, whatever ends the wait for it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.etl.runners import life
from flows.etl.runners.base import (
    Cost,
    Handle,
    JobState,
    OnLog,
    OnProgress,
    Pace,
    Phase,
    SparkJob,
    SparkJobError,
    UnansweredError,
)
from flows.etl.runners.life import pauses, run_job
from flows.etl.runners.records import Records
from flows.etl.runners.watch import Unwatched
from flows.s3_path import AnyPath


class Service:
    """A service that keeps jobs, each with the states that it will be seen in; the last one lasts."""

    def __init__(self, *phases: Phase, summary: AnyPath | None = None) -> None:
        self.plan, self.summary = list(phases), summary
        self.jobs: dict[str, list[Phase]] = {}
        self.cancelled: list[str] = []
        self.fail: dict[str, list[Exception | None]] = {}
        self.log = ["Caused by: the cause"]

    def trouble(self, call: str) -> None:
        """Raise what was planned for this call."""
        if (planned := self.fail.get(call)) and (error := planned.pop(0)):
            raise error

    def living(self) -> list[str]:
        return [name for name, phases in self.jobs.items() if not JobState(phases[0]).ended]


class FakeRunner:
    name, pace, tells_log, outlives, full_disk = "fake", Pace(0, 0), False, True, "full"
    limit_seconds: float | None = None

    def __init__(self, service: Service) -> None:
        self.service = service

    def submit(self, job: SparkJob, attempt: int) -> Handle:
        self.service.trouble("before submit")
        self.service.jobs.setdefault(job.attempt(attempt), list(self.service.plan))
        self.service.trouble("after submit")
        return Handle(self.name, job.attempt(attempt), attempt)

    def find(self, job: SparkJob) -> Handle | None:
        found = [name for name in self.service.jobs if name.startswith(job.token)]
        return Handle(self.name, found[-1], len(found)) if found else None

    def describe(self, handle: Handle) -> JobState:
        self.service.trouble("describe")
        phases = self.service.jobs[handle.id]
        phase = phases.pop(0) if len(phases) > 1 else phases[0]
        if phases == ["success"] and phase != "success" and self.service.summary:
            self.service.summary.write_text("{}")
        return JobState(phase, f"it is {phase}")

    def follow(self, handle: Handle, seconds: float, on_progress: OnProgress, on_log: OnLog) -> None:
        self.service.trouble("follow")
        on_progress(1, 2)

    def cancel(self, handle: Handle) -> None:
        self.service.trouble("cancel")
        self.service.cancelled.append(handle.id)
        self.service.jobs[handle.id] = ["cancelling", "cancelled"]

    def logs(self, handle: Handle) -> list[str]:
        return self.service.log

    def cost(self, handle: Handle) -> Cost | None:
        self.service.trouble("cost")
        return Cost({"vcpu": 1.0}, 0.05)

    def links(self, handle: Handle) -> dict[str, str]:
        return {"Spark UI": "https://ui"}

    def living(self) -> Iterator[tuple[Handle, dict[str, str]]]:
        return iter((Handle(self.name, name), {"run": "run-1"}) for name in self.service.living())


@pytest.fixture
def job(tmp_path: Path) -> SparkJob:
    folder = tmp_path / "staging"
    folder.mkdir()
    (folder / "job.json").write_text('{"what": 1}')
    return SparkJob("etl", folder / "job.json", "shop.sales etl", "etl", "run-1")


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "jobs")


def run(service: Service, job: SparkJob, records: Records, **more: Any) -> list[str]:
    """Run the job; returns the log."""
    log: list[str] = []
    given: dict[str, Any] = {"on_progress": lambda _done, _known: None, "on_log": log.append, **more}
    run_job(FakeRunner(service), job, given.pop("on_progress"), given.pop("on_log"), records=records, **given)
    return log


def good(job: SparkJob) -> Service:
    return Service("pending", "running", "running", "success", summary=job.summary)


def again(job: SparkJob) -> SparkJob:
    """As another process sees it."""
    return SparkJob(job.program, job.path, job.name, job.flow, job.run)


def test_the_same_work_of_the_same_flow_run_has_the_same_token(job: SparkJob) -> None:
    assert again(job).token == job.token
    others = [
        SparkJob("etl", job.path, job.name, job.flow, "run-2"),
        SparkJob("score", job.path, job.name, job.flow, job.run),
        SparkJob("etl", job.path, "shop.returns etl", job.flow, job.run),
    ]
    assert job.token not in {other.token for other in others}
    before = job.token
    job.path.write_text('{"what": 2}')
    assert again(job).token != before
    assert again(job).key == job.key
    assert len(job.attempt(12)) <= 64  # what services take


def test_a_job_runs_to_its_end_and_its_id_is_kept_before_the_first_look(
    job: SparkJob, records: Records
) -> None:
    service = good(job)
    kept: list[str] = []

    class Looking(FakeRunner):
        def describe(self, handle: Handle) -> JobState:
            record = records.read(job.key)
            assert record is not None
            assert record.handle == handle
            kept.append(record.phase)
            return super().describe(handle)

    run_job(Looking(service), job, lambda _done, _known: None, lambda _line: None, records=records)
    assert len(kept) == 4
    record = records.read(job.key)
    assert record is not None
    assert (record.phase, record.token, record.flow, record.run) == ("success", job.token, "etl", "run-1")
    assert list(service.jobs) == [job.attempt(1)]
    assert not service.cancelled


def test_a_failure_says_the_cause_first_and_passes_the_log_on(job: SparkJob, records: Records) -> None:
    log: list[str] = []
    with pytest.raises(SparkJobError, match=r"^the Spark job failed: the cause$"):
        run(Service("running", "failed"), job, records, on_log=log.append)
    assert log == ["Caused by: the cause"]
    silent = Service("running", "failed")
    silent.log = []
    with pytest.raises(SparkJobError, match=r"^the Spark job failed: it is failed"):
        run(silent, job, Records(records.folder / "other"))


def test_neither_a_link_nor_a_log_that_is_refused_hides_how_the_job_ended(
    job: SparkJob, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SparkJobError("not allowed; the caller needs the permission s3:GetObject")

    monkeypatch.setattr(FakeRunner, "links", refuse)
    assert "where the job is to be seen is not known" in run(good(job), job, records)[0]
    monkeypatch.setattr(FakeRunner, "logs", refuse)
    log: list[str] = []
    with pytest.raises(SparkJobError, match=r"^the Spark job failed: it is failed$"):
        run(Service("running", "failed"), job, Records(records.folder / "other"), on_log=log.append)
    assert "s3:GetObject" in log[-1]


def test_a_cost_that_is_not_answered_at_once_ends_no_job(
    job: SparkJob, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Budgeted(Unwatched):
        def looked(
            self, job: SparkJob, handle: Handle, state: JobState, cost: Callable[[], Cost | None]
        ) -> None:
            cost()

    monkeypatch.setattr(life.time, "sleep", lambda _seconds: None)  # type: ignore[attr-defined]
    service = good(job)
    service.fail["cost"] = [UnansweredError("AWS is busy")]
    run(service, job, records, watch=Budgeted())
    assert not service.cancelled


def test_a_success_without_its_summary_is_none(job: SparkJob, records: Records) -> None:
    with pytest.raises(SparkJobError, match="the Spark job failed"):
        run(Service("success"), job, records)


def interrupted(error: BaseException) -> Callable[..., None]:
    def raise_it(*_: object) -> None:
        raise error

    return raise_it


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(143), TimeoutError(), ValueError("of ours")]
)
def test_whatever_ends_the_wait_ends_the_job(job: SparkJob, records: Records, error: BaseException) -> None:
    service = Service("pending", "running")
    with pytest.raises(type(error)):
        run(service, job, records, on_progress=interrupted(error))
    assert service.cancelled == [job.attempt(1)]
    record = records.read(job.key)
    assert record is not None
    assert record.phase == "cancelled"


def test_a_job_whose_answer_was_lost_is_found_and_ended(job: SparkJob, records: Records) -> None:
    service = Service("running")
    service.fail["after submit"] = [KeyboardInterrupt()]  # type: ignore[list-item]
    with pytest.raises(KeyboardInterrupt):
        run(service, job, records)
    assert service.cancelled == [job.attempt(1)]


def test_a_service_that_refuses_leaves_nothing_and_is_told_as_it_is(job: SparkJob, records: Records) -> None:
    service = Service("running")
    service.fail["before submit"] = [SparkJobError("the role is wrong")]
    with pytest.raises(SparkJobError, match="the role is wrong"):
        run(service, job, records)
    assert (service.jobs, service.cancelled) == ({}, [])


def test_an_end_that_fails_is_tried_again_and_hides_nothing(job: SparkJob, records: Records) -> None:
    service = Service("running")
    service.fail["cancel"] = [UnansweredError("busy"), UnansweredError("busy"), None]
    with pytest.raises(KeyboardInterrupt):
        run(service, job, records, on_progress=interrupted(KeyboardInterrupt()))
    assert service.cancelled == [job.attempt(1)]
    service = Service("running")
    service.fail["cancel"] = [SparkJobError("the credentials have expired")]
    log: list[str] = []
    other = Records(records.folder / "other")
    with pytest.raises(KeyboardInterrupt):
        run(service, job, other, on_progress=interrupted(KeyboardInterrupt()), on_log=log.append)
    assert "could not end the job" in log[-1]


def killed(service: Service, job: SparkJob, records: Records, at: str) -> None:
    """Run until a point at which the process is gone: nothing is done after it."""

    class Gone(BaseException):
        pass

    service.fail[at] = [Gone()]  # type: ignore[list-item]
    kept = FakeRunner.cancel
    FakeRunner.cancel = lambda self, handle: None  # type: ignore[method-assign]
    state = records.read(job.key)
    try:
        with pytest.raises(Gone):
            run(service, job, records)
    finally:
        FakeRunner.cancel = kept  # type: ignore[method-assign]
    after = records.read(job.key)
    if after and after.phase == "cancelled":  # a process that is gone writes nothing either
        held = state if at == "before submit" else after
        records.write(job.key, type(after)(**{**(held or after).__dict__, "phase": "pending"}))


@pytest.mark.parametrize("at", ["after submit", "describe", "follow"])
@pytest.mark.parametrize("remembered", [True, False])
def test_a_worker_that_was_killed_finds_its_job_again(
    job: SparkJob, records: Records, at: str, remembered: bool
) -> None:
    service = good(job)
    killed(service, job, records, at)
    assert service.living() == [job.attempt(1)]
    log = run(service, again(job), records if remembered else Records(records.folder / "another machine"))
    assert list(service.jobs) == [job.attempt(1)]
    assert "adopting" in log[0]


def test_a_job_that_is_done_is_not_done_again(job: SparkJob, records: Records) -> None:
    service = good(job)
    run(service, job, records)
    run(service, again(job), records)
    assert list(service.jobs) == [job.attempt(1)]
    job.summary.unlink()  # its files went with it
    run(service, again(job), records)
    assert list(service.jobs) == [job.attempt(1), job.attempt(2)]


def test_a_job_that_failed_is_started_again_as_another_attempt(job: SparkJob, records: Records) -> None:
    service = Service("failed", summary=job.summary)
    with pytest.raises(SparkJobError):
        run(service, job, records)
    service.plan = ["running", "success"]
    run(service, again(job), records)
    assert list(service.jobs) == [job.attempt(1), job.attempt(2)]


def test_a_job_that_is_being_ended_is_waited_for_before_the_next(job: SparkJob, records: Records) -> None:
    service = Service("running", summary=job.summary)
    with pytest.raises(KeyboardInterrupt):
        run(service, job, records, on_progress=interrupted(KeyboardInterrupt()))
    service.plan = ["running", "success"]
    service.jobs[job.attempt(1)] = ["cancelling", "cancelling", "cancelled"]

    class Alone(FakeRunner):
        def submit(self, job: SparkJob, attempt: int) -> Handle:
            assert service.living() == []
            return super().submit(job, attempt)

    run_job(Alone(service), again(job), lambda _done, _known: None, lambda _line: None, records=records)
    assert list(service.jobs) == [job.attempt(1), job.attempt(2)]


def test_other_work_of_the_same_run_under_the_same_name_ends_the_earlier(
    job: SparkJob, records: Records
) -> None:
    service = good(job)
    killed(service, job, records, "follow")
    job.path.write_text('{"what": "the contract has changed"}')
    changed = again(job)
    log = run(service, changed, records)
    assert service.cancelled == [job.attempt(1)]
    assert list(service.jobs) == [job.attempt(1), changed.attempt(1)]
    assert "has changed" in log[0]


def test_a_service_that_is_silent_for_a_while_does_not_end_the_job(
    job: SparkJob, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.etl.runners.life.time.sleep", lambda _seconds: None)
    service = good(job)
    service.fail["describe"] = [None, UnansweredError("throttled"), UnansweredError("throttled"), None]
    run(service, job, records)
    assert not service.cancelled


def test_a_service_that_stays_silent_ends_the_wait(
    job: SparkJob, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("flows.etl.runners.life.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(
        "flows.etl.runners.life.time.sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds)
    )
    service = good(job)
    service.fail["describe"] = [None] + [UnansweredError("no route")] * 1000
    with pytest.raises(UnansweredError, match="no route"):
        run(service, job, records)
    assert life.PATIENCE_SECONDS - 15 <= clock[0] <= life.PATIENCE_SECONDS
    assert service.cancelled == [job.attempt(1)]


def test_who_watches_is_told_and_may_end_the_job(job: SparkJob, records: Records) -> None:
    told: list[Any] = []

    class Watching(Unwatched):
        def before(self, job: SparkJob) -> None:
            told.append("before")

        def submitted(self, job: SparkJob, handle: Handle, links: dict[str, str], *, adopted: bool) -> None:
            told.append((links, adopted))

        def ended(self, job: SparkJob, handle: Handle, state: JobState, cost: Cost | None) -> None:
            told.append((state.phase, cost.dollars if cost else None))

    run(good(job), job, records, watch=Watching())
    assert told == ["before", ({"Spark UI": "https://ui"}, False), ("success", 0.05)]

    class Stopping(Unwatched):
        def looked(
            self, job: SparkJob, handle: Handle, state: JobState, cost: Callable[[], Cost | None]
        ) -> None:
            raise SparkJobError("it costs too much")

    service = Service("running")
    with pytest.raises(SparkJobError, match="it costs too much"):
        run(service, job, Records(records.folder / "other"), watch=Stopping())
    assert service.living() == [job.attempt(1)]  # cancelling
    assert service.cancelled == [job.attempt(1)]


@pytest.mark.parametrize(
    ("left", "far", "detail"),
    [
        ('{"done": 3, "known": 8, "stages": 2}', (3, 8), "it is running, 3 of 8 tasks of 2 stages"),
        ('{"done": 3, "known": 8, "stages": 1}', (3, 8), "it is running, 3 of 8 tasks of 1 stage"),
        ('{"done": 3, "kno', None, "it is running"),
        (None, None, "it is running"),
    ],
)
def test_how_far_a_job_is_is_what_its_driver_leaves(
    job: SparkJob, records: Records, left: str | None, far: tuple[int, int] | None, detail: str
) -> None:
    said: list[str] = []
    shown: list[tuple[int, int]] = []

    class Watching(Unwatched):
        def looked(
            self, job: SparkJob, handle: Handle, state: JobState, cost: Callable[[], Cost | None]
        ) -> None:
            said.append(state.detail)

    if left is not None:
        job.progress.write_text(left)
    service = Service("pending", "pending", "running", "success", summary=job.summary)
    run(service, job, records, watch=Watching(), on_progress=lambda *numbers: shown.append(numbers))
    assert said == ["it is pending", detail, "it is success"]
    assert [numbers for numbers in shown if numbers != (1, 2)] == ([far] if far else [])


def test_a_bad_end_that_the_service_takes_back_is_none(job: SparkJob, records: Records) -> None:
    service = Service("running", "failed", "running", "cancelled", "running", "success", summary=job.summary)
    run(service, job, records)
    assert not service.cancelled


def test_a_job_that_runs_too_long_is_ended(job: SparkJob, records: Records) -> None:
    class Limited(FakeRunner):
        limit_seconds: float | None = 1e-9

    service = Service("running")
    with pytest.raises(SparkJobError, match="WATCHKEEPER_EMR_TIMEOUT_MINUTES"):
        run_job(Limited(service), job, lambda _done, _known: None, lambda _line: None, records=records)
    assert service.cancelled == [job.attempt(1)]


def test_looks_become_rarer() -> None:
    waits = pauses(Pace(1, 4, growth=2))
    assert [next(waits) for _ in range(4)] == [1, 2, 4, 4]


def test_a_record_that_is_torn_or_of_another_time_is_none(records: Records, job: SparkJob) -> None:
    records.folder.mkdir(parents=True)
    for text in ("{", "[]", json.dumps({"token": "x"}), json.dumps({"handle": None, "colour": "red"})):
        (records.folder / f"{job.key}.json").write_text(text)
        assert records.read(job.key) is None
        assert list(records.all()) == []
