"""Good requests, again and again, whatever else goes on."""

import http.client
import json
import threading
import time

from tests.faults.serving.payloads import encoded
from tests.faults.serving.pictures import picture

PAUSE = 0.02
"""Seconds between two requests of a client: the machine has the attacks to answer, too."""
ANEW = 100
"""Requests on one connection: new ones reach the other workers."""


class GoodTraffic:
    """Clients with kept connections that post good pictures and look at every answer.

    `broken` are the client's ports of connections that ended before an answer; a client then opens another.
    So it does after `anew` requests, and when the service has ended one with an answer.
    """

    def __init__(self, port: int, clients: int, pictures: int = 1, anew: int = ANEW) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self.broken: dict[int, str] = {}
        self.slowest = 0.0
        self._port, self._pictures, self._anew = port, pictures, anew
        self._over, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        if pictures == 1:
            self._request = ("/predict", picture("JPEG"), {"Content-Type": "image/jpeg"})
        else:
            body = json.dumps({"images": [encoded(picture("JPEG"))] * pictures}).encode()
            self._request = ("/predict_batch", body, {"Content-Type": "application/json"})

    def __enter__(self) -> "GoodTraffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self) -> None:
        while not self._over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            own = 0
            try:
                for _ in range(self._anew):
                    if connection.sock is None:
                        connection.connect()
                        own = port_of(connection)
                    if self._over.wait(PAUSE):
                        break
                    self._ask(connection)
            except (OSError, http.client.HTTPException) as error:
                with self._lock:
                    self.broken[own] = repr(error)
            finally:
                connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        started = time.monotonic()
        connection.request("POST", *self._request)
        reply = connection.getresponse()
        body, took = reply.read(), time.monotonic() - started
        said = json.loads(body)
        answers = [said] if self._pictures == 1 else said.get("answers", [])
        good = len(answers) == self._pictures and all(
            answer.get("model_version") == "v1" and answer["label"] in answer["probabilities"]
            for answer in answers
        )
        with self._lock:
            self.answered += good
            self.slowest = max(self.slowest, took)
            if not good:
                self.failures.append(f"{reply.status} after {took:.1f} s: {body[:200]!r}")


def port_of(connection: http.client.HTTPConnection) -> int:
    """The client's own."""
    port: int = connection.sock.getsockname()[1]
    return port
