"""The HTTP server: takes a call, lets the faults happen that are due, answers by the model."""

import re
import socket
import struct
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tests.stack.emr_server.clock import Clock
from tests.stack.emr_server.ec2 import Ec2
from tests.stack.emr_server.errors import ApiError, LostAnswerError
from tests.stack.emr_server.faults import Faults
from tests.stack.emr_server.ledger import Ledger
from tests.stack.emr_server.model import Api, Json11, Request, Response, RestJson
from tests.stack.emr_server.serverless import Serverless
from tests.stack.emr_server.spark import S3Place, SparkHost, any_python

CREDENTIAL = re.compile(r"Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
SCOPES = {"emr-serverless": "emr-serverless", "elasticmapreduce": "emr"}


class EmrServer:
    """Both services on one loopback port, which is the endpoint of both.

    Attributes:
        url: the endpoint.
        faults: what shall go wrong.
        ledger: what was started.
        clock: its `speed` may be changed.
        calls: how often each operation was called.
        errors: tracebacks of this server's own mistakes; a test's server ends with none.
    """

    def __init__(self, folder: Path, s3: S3Place, *, speed: float, python: str, cores: int) -> None:
        self.s3, self.clock, self.faults, self.ledger = s3, Clock(speed), Faults(), Ledger()
        self.calls: Counter[str] = Counter()
        self.errors: list[str] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        folder.mkdir(parents=True, exist_ok=True)
        self.host = SparkHost(folder, s3, python, cores)
        self.serverless = Serverless(self.host, self.clock, self.faults, self.ledger, self.url)
        self.ec2 = Ec2(self.host, self.clock, self.faults, self.ledger)
        self._apis: dict[str, tuple[Api, Any]] = {
            "emr-serverless": (RestJson("emr-serverless"), self.serverless),
            "emr": (Json11("emr"), self.ec2),
        }

    def environment(self) -> dict[str, str]:
        """What leads boto3, here and in child processes, to this server and its S3."""
        return {
            "AWS_ENDPOINT_URL_EMR_SERVERLESS": self.url,
            "AWS_ENDPOINT_URL_EMR": self.url,
            "AWS_ENDPOINT_URL_S3": self.s3.endpoint,
            "AWS_ACCESS_KEY_ID": self.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3.secret_key,
            "AWS_DEFAULT_REGION": self.s3.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def live(self) -> list[str]:
        """Ids of jobs and clusters that still cost."""
        return [entry.id for entry in self.ledger.live()] + [cluster.id for cluster in self.ec2.live()]

    def serve(self) -> None:
        self._server.serve_forever(0.05)

    def close(self) -> None:
        """Stop answering, and end every job with all its processes."""
        self._server.shutdown()
        self._server.server_close()
        self.clock.speed = 1e6
        self.serverless.close()
        self.ec2.close()

    def answer(self, request: Request) -> Response:
        """Do what a call asks.

        Raises:
            LostAnswerError: no answer is to be given.
        """
        api, service = self._apis["emr" if "x-amz-target" in request.headers else "emr-serverless"]
        try:
            self.authenticate(request)
            operation, asked = api.read(request)
            self.calls[operation] += 1
            self.faults.meet(operation, after=False)
            done = self._do(service, operation, asked)
            response = api.answer(operation, done)
            self.faults.meet(operation, after=True)
        except ApiError as error:
            return api.refusal(error)
        except LostAnswerError:
            raise
        except Exception:
            self.errors.append(traceback.format_exc())
            return api.refusal(ApiError("InternalServerException", traceback.format_exc(limit=1)))
        return response

    def _do(self, service: Any, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        method: Callable[[dict[str, Any]], dict[str, Any]] | None = getattr(service, snake(operation), None)
        if method is None:
            raise ApiError("ValidationException", f"this test server does not do {operation}")
        with self._lock:
            return method(asked)

    def authenticate(self, request: Request) -> None:
        """Refuse who has no key, or not ours; the signature itself is not computed."""
        found = CREDENTIAL.search(request.headers.get("authorization", ""))
        if not found:
            raise ApiError("MissingAuthenticationTokenException", "Missing Authentication Token")
        key, region, scope = found.groups()
        if key != self.s3.access_key:
            raise ApiError(
                "UnrecognizedClientException", "The security token included in the request is invalid."
            )
        if region != self.s3.region or scope not in SCOPES:
            raise ApiError(
                "InvalidSignatureException", f"Credential should be scoped to a valid region, not '{region}'."
            )


def snake(operation: str) -> str:
    """`StartJobRun` as `start_job_run`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()


def handler_of(server: EmrServer) -> type[BaseHTTPRequestHandler]:
    """What the standard library's server asks of a request."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            path, _, query = self.path.partition("?")
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                response = server.answer(Request(self.command, path, parse_qs(query), headers, body))
            except LostAnswerError:
                self.close_connection = True
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
                return
            self.send_response(response.status)
            for name, value in {**response.headers, "content-length": str(len(response.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(response.body)

        def log_message(self, *_: object) -> None:
            pass

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:  # the caller is gone, or we closed on it
                self.close_connection = True

        def finish(self) -> None:
            try:
                super().finish()
            except OSError:
                pass

    for method in ("GET", "POST", "DELETE", "PATCH", "PUT"):
        setattr(Handler, f"do_{method}", Handler.handle_any)
    return Handler


@contextmanager
def emr_server(
    folder: Path, s3: S3Place, *, speed: float = 60, python: str | None = None, cores: int = 2
) -> Iterator[EmrServer]:
    """A server with this S3, whose jobs run on `python` (EMR's 3.9 where there is one); always stopped."""
    server = EmrServer(folder, s3, speed=speed, python=python or any_python(), cores=cores)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()
    assert not server.errors, server.errors[0]
