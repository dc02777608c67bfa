"""`task orphans`: Spark jobs and clusters on AWS that nobody waits for; `--end` ends them."""

import argparse

from flows.config import load_settings
from flows.console import out
from flows.errors import run_command
from flows.session import session


def main() -> int:
    """Run the flow and say what it found."""
    args = argparse.ArgumentParser(prog="task orphans --", description=__doc__)
    args.add_argument("--end", action="store_true", help="end them")
    given = args.parse_args()
    with session(load_settings()):
        from flows.health.orphans import orphans

        found = orphans(given.end).found
    for orphan in found:
        out.print("  ".join(value for value in orphan.row.values() if value), soft_wrap=True, markup=False)
    out.print(f"{len(found)} orphans" if found else "no orphans")
    return 0


if __name__ == "__main__":
    run_command(main)
