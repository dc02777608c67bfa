"""Scripts with a browser, run on a machine without a network: a network namespace of their own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.everything import EVERYTHING

MISSING = [name for name in ("chromium", "unshare", "ip") if shutil.which(name) is None]
needs_browser = pytest.mark.skipif(
    bool(MISSING) and not EVERYTHING,
    reason=f"not on this machine: {', '.join(MISSING)}",
)


def seen(script: str, folder: Path, timeout: float) -> dict[str, Any]:
    """What `tests.stack.SCRIPT` saw: the JSON in the last line that it prints."""
    done = subprocess.run(
        ["unshare", "--net", "--map-root-user", sys.executable, "-m", f"tests.stack.{script}", str(folder)],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told
