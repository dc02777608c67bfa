"""Files that are generated from the code: `python -m flows.generated [--check]`."""

import argparse
from collections.abc import Callable
from pathlib import Path

from flows import env_example
from flows.config import CHECKOUT
from flows.errors import WatchkeeperError, run_command
from observability.grafana import provisioning
from observability.statsd import mapping

FILES: dict[Path, Callable[[], str]] = {
    env_example.FILE: env_example.render,
    mapping.FILE: mapping.render,
    **provisioning.committed(),
}


def main() -> int:
    """Write the files, or check that they are what would be written."""
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--check", action="store_true")
    check = args.parse_args().check
    for path, render in FILES.items():
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(render(), encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != render():
            raise WatchkeeperError(f"{path.relative_to(CHECKOUT)} is stale; `task fix` writes it anew")
    return 0


if __name__ == "__main__":
    run_command(main)
