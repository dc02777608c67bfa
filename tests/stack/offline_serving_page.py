"""The service and its page where there is no network: run in a network namespace by `test_serving_page.py`.

`python -m tests.stack.offline_serving_page FOLDER`: brings the loopback up, serves a tiny model, opens the
page in headless Chromium, presses "Try it out" and "Execute" at each route, and prints what it saw as JSON.
"""

import contextlib
import itertools
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import connect
from websockets.sync.connection import Connection

from tests.factories import wait_until
from tests.serving import Service
from tests.stack.offline_ui import CHROMIUM
from tests.versions import write_version

PATIENCE = 60
PRESSED = ("/predict", "/predict_batch", "/feedback", "/model", "/livez", "/readyz")
STEPS = {
    ".opblock-summary-control": ".try-out__btn",
    ".try-out__btn": ".execute",
    ".execute": ".live-responses-table .response-col_status",
}
"""What is pressed, and what is there when it was."""


class Page:
    """One page of a Chromium, spoken to by the DevTools protocol."""

    def __init__(self, socket: Connection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        for domain in ("Network", "Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command; what happens meanwhile is kept."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message: dict[str, Any] = json.loads(self._socket.recv(PATIENCE))
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    def value(self, script: str) -> Any:
        """What a script gives."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def wait(self, selector: str) -> None:
        """Until an element is there."""
        wait_until(lambda: self.value(f"!!document.querySelector({selector!r})"), selector, PATIENCE)

    def press(self, selector: str) -> None:
        """Click an element."""
        self.wait(selector)
        self.value(f"document.querySelector({selector!r}).click()")

    def of(self, event: str) -> list[dict[str, Any]]:
        """What was told of an event."""
        return [kept["params"] for kept in self.events if kept.get("method") == event]


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Page]:
    """A page of a Chromium of our own."""
    options = [option for option in CHROMIUM if not option.startswith("--virtual-time")]
    options += [f"--user-data-dir={folder}", "--remote-debugging-port=0", "--remote-allow-origins=*"]
    with subprocess.Popen(
        [*options, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as browser:
        try:
            port = folder / "DevToolsActivePort"
            wait_until(lambda: port.exists() and bool(port.read_text().strip()), "Chromium", PATIENCE)
            number = port.read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{number}/json/list", timeout=PATIENCE) as answer:
                (tab,) = [each for each in json.load(answer) if each["type"] == "page"]
            with connect(tab["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
                yield Page(socket)
        finally:
            browser.terminate()
            browser.wait(30)


def try_out(page: Page, path: str) -> int:
    """Press what a newcomer would, and read the status of the answer."""
    number = page.value(f"document.querySelector('[data-path=\"{path}\"]').closest('.opblock').id")
    block = f"#{number}"
    for pressed, there in STEPS.items():
        page.press(f"{block} {pressed}")
        page.wait(f"{block} {there}")
    status = f"document.querySelector('{block} .live-responses-table .response .response-col_status')"
    return int(page.value(f"{status}.innerText").split()[0])


def look(service: Service, folder: Path) -> dict[str, Any]:
    """Open the page and press everything."""
    with opened(folder) as page:
        page.call("Page.navigate", url=f"{service.url}/")
        page.wait(".opblock")
        routes = page.value(
            "[...document.querySelectorAll('.opblock')].map(each => "
            "each.querySelector('.opblock-summary-method').innerText + ' ' + "
            "each.querySelector('.opblock-summary-path').dataset.path)"
        )
        statuses = {path: try_out(page, path) for path in PRESSED}
        return {
            "title": page.value("document.querySelector('.info .title').textContent"),
            "routes": routes,
            "statuses": statuses,
            "loaded": sorted({each["request"]["url"] for each in page.of("Network.requestWillBeSent")}),
            "failed": [each["errorText"] for each in page.of("Network.loadingFailed")],
            "errors": [
                each["entry"]["text"]
                for each in page.of("Log.entryAdded")
                if each["entry"]["level"] == "error"
            ],
            "exceptions": [each["exceptionDetails"]["text"] for each in page.of("Runtime.exceptionThrown")],
        }


def main(folder: Path) -> None:
    """Serve, look, stop."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with Service(folder / "home", workers=1) as service:
        service.registry.add(write_version(folder / "v1"))
        service.registry.promote("v1", None)
        service.wait()
        seen = {"url": service.url, **look(service, folder / "chromium")}
    print(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
