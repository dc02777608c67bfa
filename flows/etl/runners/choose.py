"""Which runner a flow run gets."""

from flows.etl.runners.base import Runner
from flows.etl.runners.config import RunnerName, RunnerSettings
from flows.etl.runners.local import LocalRunner


def runner_of(settings: RunnerSettings, name: RunnerName | None = None) -> Runner:
    """The runner of this name; that of the settings unless said."""
    known = {"local": LocalRunner}
    return known[name or settings.runner](settings)
