"""A drift report and Evidently's own page over it, in a real browser, on a machine without a network."""

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
@pytest.mark.timeout(400)
def test_a_report_opens_without_a_network_and_is_listed(tmp_path: Path) -> None:
    offline = ["unshare", "--net", "--map-root-user"]
    done = subprocess.run(
        [*offline, sys.executable, "-m", "tests.stack.offline_drift_page", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=390,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert (seen["verdict"]["outcome"], seen["verdict"]["columns"]["country"]["drifted"]) == (
        "confirmed",
        True,
    )
    assert "unit_price" in seen["report"]["text"]
    assert [url for url in seen["report"]["loaded"] if not url.startswith("file:")] == []
    assert [url for url in seen["ui"]["loaded"] if not url.startswith(f"{seen['url']}/")] == []
    assert seen["report"]["exceptions"] == []
    assert (seen["ui"]["failed"], seen["ui"]["exceptions"]) == ([], [])
