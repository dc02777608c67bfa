"""Prefect's own command inside this home: `python -m flows.prefect_cli <what `prefect` takes>`.

The way to start a worker (`worker start`) or to look at runs (`flow-run ls`) without setting a variable,
and without the user's own Prefect profile. Run it from the checkout. A worker is of this home's work pool,
and `deploy` reads `prefect.yaml` as the settings want it, unless the command says otherwise.
"""

import os
import shutil
import sys

from flows.config import Settings, load_settings
from flows.errors import run_command
from flows.prefect_env import apply_prefect_environment
from flows.prefect_file import write_copy
from observability.config import variables

WORKER = {
    # A worker's console is its log, and the only place that says why a run could not start.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
    # A run's process takes seconds to come up. It is started half a minute early and waits for its time.
    "PREFECT_WORKER_PREFETCH_SECONDS": "30",
    # What an event or a person starts is due at once: here is how long it may lie.
    "PREFECT_WORKER_QUERY_SECONDS": "3",
}
SECRET = "watchkeeper"  # noqa: S105  # its name in the cluster, as in deployments/kubernetes
KUBERNETES = "PREFECT_INTEGRATIONS_KUBERNETES"
WIDE = 150
"""Characters: in a narrower table the ids of runs, which other commands take, are cut off."""


def main() -> None:
    """Hand our arguments to Prefect's command."""
    settings, arguments = load_settings(), sys.argv[1:]
    command = next((argument for argument in arguments if not argument.startswith("-")), None)
    apply_prefect_environment(settings, worker_environment(settings) if command == "worker" else {})
    if (
        command == "worker"
        and "start" in arguments
        and not any(argument.split("=")[0] in ("--pool", "-p") for argument in arguments)
    ):
        sys.argv += ["--pool", settings.work_pool]
    if command == "deploy" and not any(argument.startswith("--prefect-file") for argument in arguments):
        sys.argv += ["--prefect-file", str(write_copy(settings))]
    os.environ["COLUMNS"] = str(max(WIDE, shutil.get_terminal_size().columns))
    from prefect.cli import app

    app()


def worker_environment(settings: Settings) -> dict[str, str]:
    """What a worker, and each run that it starts, is told.

    Our settings too: a run in a clone would look for `.env` and the default home there.
    """
    ours = variables(settings) | {"WATCHKEEPER_HOME": str(settings.home)}
    return ours | WORKER | (in_cluster(settings) if settings.work_pool_type == "kubernetes" else {})


def in_cluster(settings: Settings) -> dict[str, str]:
    """For a worker that starts pods: it sees one namespace, and no login stands in a pod's manifest."""
    return {
        f"{KUBERNETES}_WORKER_API_KEY_SECRET_NAME": SECRET,
        f"{KUBERNETES}_WORKER_API_KEY_SECRET_KEY": "WATCHKEEPER_PREFECT_API_KEY",
        f"{KUBERNETES}_WORKER_API_AUTH_STRING_SECRET_NAME": SECRET,
        f"{KUBERNETES}_WORKER_API_AUTH_STRING_SECRET_KEY": "WATCHKEEPER_PREFECT_AUTH_STRING",
        f"{KUBERNETES}_OBSERVER_NAMESPACES": settings.kubernetes_namespace,
    }


if __name__ == "__main__":
    run_command(main)
