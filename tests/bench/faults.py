"""`task bench:faults`: fifty runs on EMR, each with a fault at an edge of its job's life.

Prints each case with its seconds, and how many kept the three promises: 60 seconds after the re-run no live
job or cluster, never two jobs for one run, the table right. `docs/benchmarks.md` records them.
"""

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.factories import settings_of
from tests.faults.emr.cases import CASES, SAMPLE
from tests.faults.emr.prefect_server import PrefectServer
from tests.faults.emr.scene import Scene
from tests.stack.cloud import cloud

OUTAGE_SECONDS = 60


def main() -> int:
    """Play the cases; the exit code says whether all were kept."""
    args = argparse.ArgumentParser(prog="task bench:faults --", description=__doc__)
    args.add_argument("--sample", action="store_true", help="the ten of CI alone")
    args.add_argument("--only", default="", help="cases whose name has this")
    chosen = args.parse_args()
    wanted = [case for case in (SAMPLE if chosen.sample else CASES) if chosen.only in str(case)]
    broken = 0
    with tempfile.TemporaryDirectory(prefix="watchkeeper-faults-") as name:
        place = Path(name)
        server = PrefectServer(settings_of(place / "prefect"))
        with cloud(place / "cloud", speed=240) as aws:
            server.start()
            try:
                for case in wanted:
                    folder = place / f"case-{CASES.index(case)}"
                    folder.mkdir()
                    started = time.monotonic()
                    try:
                        Scene(case, aws, server, folder, OUTAGE_SECONDS).play()
                        verdict = "kept"
                    except AssertionError:
                        broken += 1
                        verdict = "BROKEN\n" + traceback.format_exc(limit=-1)
                    print(f"{time.monotonic() - started:6.1f} s  {case}: {verdict}", flush=True)
            finally:
                server.stop()
    print(f"{len(wanted) - broken} of {len(wanted)} kept")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
