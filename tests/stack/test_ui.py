"""Prefect's own page over a real run, in a real browser, on a machine without a network."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MISSING = [name for name in ("chromium", "unshare", "ip") if shutil.which(name) is None]


@pytest.mark.skipif(
    bool(MISSING) and os.environ.get("WATCHKEEPER_REQUIRE_STACK") != "1",
    reason=f"not on this machine: {', '.join(MISSING)}",
)
def test_the_page_shows_the_run_its_logs_and_artifacts_with_nothing_from_outside(tmp_path: Path) -> None:
    offline = ["unshare", "--net", "--map-root-user"]
    done = subprocess.run(
        [*offline, sys.executable, "-m", "tests.stack.offline_ui", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["states"] == ["Completed"]
    assert "etl-online_retail" in seen["run"]
    assert "online_retail.transactions · commit" in seen["run"]
    assert any("WARN" in message for message in seen["logs"]), "Spark's driver log belongs to the run's"
    assert set(seen["artifacts"]) == {
        "etl-online-retail-transactions",
        "quarantine-online-retail-transactions",
    }
