"""Prefect's own command inside this home: `python -m flows.prefect_cli <what `prefect` takes>`.

The way to start a worker (`worker start --pool watchkeeper`) or to look at runs (`flow-run ls`)
without setting a variable, and without the user's own Prefect profile. Run it from the checkout.
"""

import os
import sys

from flows.config import load_settings
from flows.errors import run_command
from flows.prefect_env import apply_prefect_environment


def main() -> None:
    """Hand our arguments to Prefect's command."""
    apply_prefect_environment(load_settings())
    if sys.argv[1:2] == ["worker"]:
        # A worker's console is its log, and the only place that says why a run could not start.
        os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "INFO"
    from prefect.cli import app

    app()


if __name__ == "__main__":
    run_command(main)
