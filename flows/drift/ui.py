"""`task drift:ui`: Evidently's own page over the reports so far, on this machine only."""

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from flows.config import load_settings
from flows.errors import WatchkeeperError, run_command


def main() -> NoReturn:
    """Become the page's server."""
    args = argparse.ArgumentParser(prog="task drift:ui --", description=__doc__)
    args.add_argument("--port", type=int, default=8000)
    given = args.parse_args()
    workspace = load_settings().drift / "workspace"
    if not workspace.exists():
        raise WatchkeeperError(f"no report is in {workspace} yet; make one with `task drift`")
    evidently = str(Path(sys.executable).with_name("evidently"))
    command = [
        evidently,
        "ui",
        "--workspace",
        str(workspace),
        "--host",
        "127.0.0.1",
        "--port",
        str(given.port),
    ]
    print(f"http://127.0.0.1:{given.port}", file=sys.stderr)
    sys.stderr.flush()
    os.execve(evidently, command, os.environ | {"DO_NOT_TRACK": "1"})  # noqa: S606


if __name__ == "__main__":
    run_command(main)
