"""A drift report and Evidently's page over it, where there is no network: run by `test_drift_page.py`.

`python -m tests.stack.offline_drift_page FOLDER`: brings the loopback up, runs `task drift` on a drawn table,
opens the report as a file and the page of `task drift:ui` in headless Chromium, and prints what it saw.
"""

import json
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx

from flows.config import CHECKOUT
from tests.factories import (
    SHIPPED,
    WarmRunner,
    environment_of,
    free_port,
    retail_row,
    run_table,
    settings_of,
    shipped,
    wait_until,
    write_csv,
)
from tests.stack.offline_serving_page import PATIENCE, Page, opened


def look(page: Page, url: str, there: str) -> dict[str, Any]:
    """What a page shows and loads."""
    page.events.clear()
    page.call("Page.navigate", url=url)
    wait_until(lambda: there in (page.value("document.body.innerText") or ""), there, PATIENCE)
    requested = {each["request"]["url"] for each in page.of("Network.requestWillBeSent")}
    return {
        "text": page.value("document.body.innerText"),
        "loaded": sorted(url for url in requested if not url.startswith(("data:", "blob:"))),
        "failed": [each["errorText"] for each in page.of("Network.loadingFailed")],
        "exceptions": [each["exceptionDetails"]["text"] for each in page.of("Runtime.exceptionThrown")],
    }


def main(folder: Path) -> None:
    """Load, compare, look."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    settings, contract = (
        settings_of(folder / "home", contracts=SHIPPED),
        shipped("online_retail.transactions"),
    )
    for number in range(40):
        day = date(2011, 1, 1) + timedelta(days=number)
        country = "France" if number >= 33 else "United Kingdom"
        rows = [
            retail_row(InvoiceDate=f"{day} 10:{n:02}:00", Quantity=1 + n % 7, Country=country, StockCode=n)
            for n in range(60)
        ]
        write_csv(folder / "in" / f"{day}.csv", rows)
    run_table(settings, contract, folder / "in", engine=WarmRunner(settings))
    command = [sys.executable, "-m", "flows.drift", "--dataset", "online_retail", "--table", "transactions"]
    done = subprocess.run(
        [*command, "--format", "json"],
        env=environment_of(settings),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    port = free_port()
    page = subprocess.Popen(
        [sys.executable, "-m", "flows.drift.ui", "--port", str(port)],
        cwd=CHECKOUT,
        env=environment_of(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            try:
                return httpx.get(url, trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(answers, "Evidently's page", PATIENCE)
        with opened(folder / "chromium") as browser:
            seen = {
                "verdict": verdict,
                "url": url,
                "report": look(browser, Path(verdict["report"]).as_uri(), "country"),
                "ui": look(browser, url, "online_retail.transactions"),
            }
    finally:
        page.terminate()
        page.wait(30)
    print(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
