"""Which runner a flow run gets."""

from flows.etl.runners.base import Runner
from flows.etl.runners.config import RunnerName, RunnerSettings


def runner_of(settings: RunnerSettings, name: RunnerName | None = None) -> Runner:
    """The runner of this name; that of the settings unless said. Only who runs on AWS imports boto3."""
    match name or settings.runner:
        case "emr_serverless":
            from flows.etl.runners.emr_serverless import EmrServerlessRunner

            return EmrServerlessRunner(settings)
        case "emr":
            from flows.etl.runners.emr import EmrRunner

            return EmrRunner(settings)
        case "local":
            from flows.etl.runners.local import LocalRunner

            return LocalRunner(settings)
