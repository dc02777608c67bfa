"""The orphans flow: Spark jobs and clusters on AWS with our tags whose flow run is not alive; `task orphans`.

Asks Prefect which flow runs live, and ends nothing where Prefect gives no answer. A flow run that will be run
again is alive: it finds its job. An account may be shared with others who have a Prefect server of their own:
the job of a flow run that this server does not know is told, and never ended.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import httpx
from prefect import flow, get_run_logger
from prefect.events import emit_event

from flows.artifacts import create_table_artifact
from flows.config import Settings, load_settings
from flows.errors import WatchkeeperError
from flows.etl.runners.base import Handle, Runner, SparkJobError
from flows.etl.runners.choose import runner_of
from flows.etl.runners.config import RunnerName
from flows.etl.runners.records import Records
from flows.health.collectors import Asking
from flows.prefect_env import authorization
from flows.server import running_server
from flows.watched import watched
from observability import emit
from observability.metrics import ORPHAN_RUNS

FOREIGN = "not ended: this Prefect server does not know its flow run; end it in AWS if it is yours"
ALIVE = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED")
ON_AWS: tuple[RunnerName, ...] = ("emr_serverless", "emr")


@dataclass(frozen=True)
class Orphan:
    """A job, or a cluster of a job's own, that nobody waits for."""

    handle: Handle
    tags: dict[str, str]
    fate: str = "left"

    @property
    def row(self) -> dict[str, str]:
        """As the artifact shows it."""
        held, tags = self.handle, self.tags
        shown = {"runner": held.runner, "job": held.id, "where": held.where}
        return {**shown, "flow": tags.get("flow", ""), "run": tags.get("run", ""), "fate": self.fate}


@dataclass
class Orphans:
    """What a look found."""

    found: list[Orphan] = field(default_factory=list)

    def figures(self) -> dict[str, str]:
        """For the message of a success."""
        return {orphan.handle.id or orphan.handle.where: orphan.fate for orphan in self.found}


@watched
@flow(name="orphans", persist_result=False)
def orphans(end: bool = False) -> Orphans:
    """Find the Spark jobs and clusters with our tags whose flow run is not alive.

    Args:
        end: end them, too; but for those whose flow run is unknown here.

    Raises:
        WatchkeeperError: Prefect or AWS could not be asked; or one could not be ended.
    """
    settings, log = load_settings(), get_run_logger()
    runners = {name: runner_of(settings, name) for name in used(settings)}
    result = Orphans(find_orphans(settings, runners.values()))
    if end:
        result.found = [
            orphan if orphan.fate == FOREIGN else ended(runners, orphan) for orphan in result.found
        ]
    for orphan in result.found:
        log.warning("orphan: %s", ", ".join(f"{name} {value}" for name, value in orphan.row.items() if value))
    left = [orphan for orphan in result.found if orphan.fate not in ("ended", FOREIGN)]
    emit.gauge(ORPHAN_RUNS, len(left))
    create_table_artifact(key="orphans", table=[orphan.row for orphan in result.found], description="Orphans")
    if result.found:
        emit_event(
            event="watchkeeper.orphans.found",
            resource={"prefect.resource.id": "watchkeeper.orphans"},
            payload={"orphans": [orphan.row for orphan in result.found]},
        )
    if end and left:
        raise WatchkeeperError(f"{len(left)} orphans could not be ended; the artifact `orphans` says why")
    return result


def used(settings: Settings) -> list[RunnerName]:
    """The runners on AWS that the settings name, or that a job was ever given to."""
    names = {settings.runner, *(record.runner for record in Records(settings.jobs / "records").all())}
    return [name for name in ON_AWS if name in names]


def find_orphans(settings: Settings, runners: Iterable[Runner]) -> list[Orphan]:
    """What lives on AWS and not in Prefect. A job without a flow run is ours where the store has its record.

    Raises:
        WatchkeeperError: one of the two could not be asked.
    """
    living = [Orphan(handle, tags) for runner in runners for handle, tags in runner.living()]
    if not living:
        return []
    states = states_of(settings, {orphan.tags.get("run", "none") for orphan in living} - {"none"})
    records = (record for record in Records(settings.jobs / "records").all() if record.run == "none")
    own = {place(record.handle) for record in records if record.handle}
    found = []
    for orphan in living:
        state = states.get(orphan.tags.get("run", "none"))
        if state is None and place(orphan.handle) not in own:
            found.append(replace(orphan, fate=FOREIGN))
        elif state not in ALIVE:
            found.append(orphan)
    return found


def place(handle: Handle) -> tuple[str, str]:
    """Where a job is; one with a cluster of its own is wherever the cluster is."""
    return "" if handle.owned else handle.id, handle.where


def states_of(settings: Settings, ids: set[str]) -> dict[str, str]:
    """The types of the states of those of these flow runs that Prefect knows.

    Raises:
        WatchkeeperError: Prefect does not answer.
    """
    url = settings.prefect_api_url or running_server(settings)
    if url is None:
        raise WatchkeeperError("no Prefect server runs that could say which runs live; see `task server`")
    asked = {"id": {"any_": sorted(ids)}}
    header = authorization(settings)
    try:
        with httpx.Client(base_url=url, headers=header, timeout=30, trust_env=False) as client:
            found = Asking(client).all("/flow_runs/filter", flow_runs=asked)
            return {run["id"]: run["state_type"] for run in found}
    except (httpx.HTTPError, WatchkeeperError) as error:
        raise WatchkeeperError(f"Prefect does not say which runs live: {error}; nothing was ended") from None


def ended(runners: dict[RunnerName, Runner], orphan: Orphan) -> Orphan:
    """An orphan after its end, or with the reason why it goes on."""
    runner = next(runner for runner in runners.values() if runner.name == orphan.handle.runner)
    try:
        runner.cancel(orphan.handle)
    except SparkJobError as error:
        return Orphan(orphan.handle, orphan.tags, str(error))
    return Orphan(orphan.handle, orphan.tags, "ended")
