"""`task bench:watch`: from each alert's cause to its message in Slack, and from the end to that message.

The whole of `task watch` with the fast profile (scrapes and evaluations 5 s apart), and the causes of
`tests/stack/phases.py`.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.stack.phases import PHASES, play, whole_watch

GOAL_SECONDS = 30


def main() -> int:
    """Play every phase, and print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    times: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder, whole_watch(Path(folder)) as stack:
        for phase in PHASES:
            times |= play(stack, phase)
    print("| alert | to detect, s | to clear, s |\n|---|---:|---:|")
    for alert, (detected, cleared) in sorted(times.items()):
        print(f"| {alert} | {detected:.0f} | {cleared:.0f} |")
    for what, column in (("detect", 0), ("clear", 1)):
        share = float(np.percentile([each[column] for each in times.values()], 95))
        said = f"p95 to {what}: {share:.0f} s"
        print(f"\n{said}; goal {GOAL_SECONDS} s: {'met' if share <= GOAL_SECONDS else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
