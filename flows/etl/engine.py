"""What a flow run has its Spark jobs run by, as the settings or the run say; in Prefect's terms."""

from flows.config import Settings
from flows.etl.runners.choose import runner_of
from flows.etl.runners.config import RunnerName
from flows.etl.runners.life import Engine
from flows.etl.runners.records import Records
from flows.step import flow_name, flow_run_id


def engine_of(settings: Settings, runner: RunnerName | None = None) -> Engine:
    """The engine of the flow run that this code runs in; the settings name the runner unless one is said."""
    return Engine(runner_of(settings, runner), flow_name(), flow_run_id(), Records(settings.jobs))
