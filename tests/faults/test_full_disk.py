"""No space left: one clear message, the lake untouched, and the same run succeeds once there is room."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.everything import EVERYTHING

NAMESPACE = ["unshare", "--mount", "--map-root-user"]


def can_mount() -> bool:
    """Whether this machine lets a test mount a file system of its own."""
    trial = [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(trial, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(
    not can_mount() and not EVERYTHING,
    reason="this machine lets no test mount a small file system (unshare --mount)",
)
@pytest.mark.parametrize(
    "room",
    [
        pytest.param(20_000, id="while landing"),
        pytest.param(400_000, id="while staging"),
    ],
)
@pytest.mark.slow
def test_a_full_disk_costs_a_run_and_nothing_else(tmp_path: Path, prefect_url: str, room: int) -> None:
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-m", "tests.faults.full_disk", str(tmp_path), str(room)],
        env=os.environ | {"WATCHKEEPER_PREFECT_API_URL": prefect_url},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["full"]["code"] == 2
    assert "no space left" in seen["full"]["said"].lower()
    assert "Traceback" not in seen["full"]["said"]
    assert seen["while full"] == seen["old"]
    assert seen["with room"]["code"] == 0, seen["with room"]["said"]
    assert seen["new"] == seen["undisturbed"] != seen["old"]
    assert seen["snapshots"] == 2
