"""`task test`: unit, integration and a sample of faults; with WATCHKEEPER_REQUIRE_STACK=1 everything.

Files go to workers whole, so that each worker's Spark starts once.
"""

import os
import sys

import pytest

FAST = ["tests/unit", "tests/integration", "tests/faults"]

if __name__ == "__main__":
    everything = os.environ.get("WATCHKEEPER_REQUIRE_STACK") == "1"
    folders = [*FAST, "tests/stack"] if everything else FAST
    given = sys.argv[1:]
    if not any(argument.startswith("tests") for argument in given):
        given += folders
    sys.exit(pytest.main(["-n", "2", "--dist", "loadfile", *given]))
