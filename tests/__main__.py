"""`task test`: unit, integration and a sample of faults; with WATCHKEEPER_REQUIRE_STACK=1 everything.

Files go to workers whole, so that each worker's Spark starts once; those that take long go first, so that no
worker waits at the end for the other one's last file.
"""

import sys

import pytest

from tests.everything import EVERYTHING

FAST = ["tests/faults", "tests/integration", "tests/unit"]

if __name__ == "__main__":
    folders = ["tests/stack", *FAST] if EVERYTHING else FAST
    given = sys.argv[1:]
    if not any(argument.startswith("tests") for argument in given):
        given += folders
    # Left to itself, xdist puts files of few tests last, and these are the long ones.
    sys.exit(pytest.main(["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", *given]))
