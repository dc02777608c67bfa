"""BentoML's own page over the service, in a real browser, on a machine without a network."""

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
def test_every_example_of_the_page_works_and_nothing_is_loaded_from_outside(tmp_path: Path) -> None:
    offline = ["unshare", "--net", "--map-root-user"]
    done = subprocess.run(
        [*offline, sys.executable, "-m", "tests.stack.offline_serving_page", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["title"].startswith("Watchkeeper")
    assert {route.replace("\u200b", "") for route in seen["routes"]} == {
        "POST /predict",
        "POST /predict_batch",
        "POST /feedback",
        "GET /model",
        "GET /livez",
        "GET /readyz",
        "GET /metrics",
    }
    assert seen["statuses"] == {
        "/predict": 200,
        "/predict_batch": 200,
        "/feedback": 202,
        "/model": 200,
        "/livez": 200,
        "/readyz": 200,
    }
    outside = [url for url in seen["loaded"] if not url.startswith((f"{seen['url']}/", "data:", "blob:"))]
    assert outside == []
    assert f"{seen['url']}/static_content/swagger-ui-bundle.js" in seen["loaded"]
    assert (seen["failed"], seen["errors"], seen["exceptions"]) == ([], [], [])
