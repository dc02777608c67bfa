"""A run and Prefect's page over it, where there is no network: run in a network namespace by `test_ui.py`.

`python -m tests.stack.offline_ui FOLDER`: brings the loopback up, runs `task etl` and `task ui` as commands,
opens the pages in headless Chromium, and prints their text as JSON.
"""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

from flows.config import Settings
from flows.server import stop_server
from tests.factories import environment_of, retail_row, settings_of, write_csv

CHROMIUM = [
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--window-size=1400,1000",
    "--virtual-time-budget=20000",
]


def command(settings: Settings, module: str, *arguments: str) -> str:
    """Standard output of one of our commands."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment_of(settings),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout


def page(folder: Path, url: str) -> str:
    """The page's document once its scripts have run; a screenshot lies beside it."""
    own = [f"--user-data-dir={folder / 'chromium'}"]
    shot = [f"--screenshot={folder / 'page.png'}"]
    subprocess.run([*CHROMIUM, *own, *shot, url], capture_output=True, timeout=120, check=True)
    done = subprocess.run([*CHROMIUM, *own, "--dump-dom", url], capture_output=True, text=True, timeout=120)
    return done.stdout


def post(url: str, body: dict[str, object]) -> list[dict[str, object]]:
    """One question to Prefect's API."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: list[dict[str, object]] = json.load(answer)
        return found


def main(folder: Path) -> None:
    """Run, look, stop."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    settings = settings_of(folder / "home")
    rows = [retail_row(StockCode=number) for number in range(50)] + [retail_row(UnitPrice=-1)]
    write_csv(folder / "in" / "2010-12-01.csv.gz", rows)
    try:
        url = command(settings, "flows.server", "ui").split()[-1]
        command(settings, "flows.etl", "--dataset", "online_retail", "--source", str(folder / "in"))
        runs = post(f"{url}/api/flow_runs/filter", {})
        seen = {
            "run": page(folder, f"{url}/runs/flow-run/{runs[0]['id']}"),
            "states": [run["state_name"] for run in runs],
            "logs": [entry["message"] for entry in post(f"{url}/api/logs/filter", {"limit": 200})],
            "artifacts": [entry["key"] for entry in post(f"{url}/api/artifacts/filter", {})],
        }
    finally:
        stop_server(settings)
    print(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
