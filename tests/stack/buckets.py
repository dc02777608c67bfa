"""A bucket of a real S3-speaking server, MinIO, and beside it moto's Glue: what a lake on AWS is made of."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from moto.core.exceptions import JsonRESTError
from moto.glue.responses import GlueResponse
from moto.server import ThreadedMotoServer

from tests.factories import free_port
from tests.stack.programs import running

ACCOUNT = {"AWS_ACCESS_KEY_ID": "watchkeeper", "AWS_SECRET_ACCESS_KEY": "watchkeeper"}
REGION = "eu-central-1"
LOCK = threading.Lock()
UPDATE = GlueResponse.update_table


@contextmanager
def minio(folder: Path) -> Iterator[str]:
    """The address of a MinIO of one's own."""
    address = f"127.0.0.1:{free_port()}"
    account = {
        "MINIO_ROOT_USER": ACCOUNT["AWS_ACCESS_KEY_ID"],
        "MINIO_ROOT_PASSWORD": ACCOUNT["AWS_SECRET_ACCESS_KEY"],
        "MINIO_SITE_REGION": REGION,
        "MINIO_UPDATE": "off",
    }
    command = ["minio", "server", "--address", address, str(folder / "data")]
    with running(command, f"http://{address}/minio/health/ready", folder / "log", account):
        yield f"http://{address}"


def update_table(self: GlueResponse) -> Any:
    """Replace the version that is named, or refuse: moto alone replaces whichever there is."""
    with LOCK:
        said, name = self.parameters.get("VersionId"), self.parameters["TableInput"]["Name"]
        table = self.glue_backend.get_table(self.parameters["DatabaseName"], name)
        if said not in (None, table.as_dict()["VersionId"]):
            raise JsonRESTError("ConcurrentModificationException", f"{name} is no longer version {said}")
        return UPDATE(self)


@contextmanager
def moto() -> Iterator[str]:
    """The address of a moto of one's own, whose Glue keeps to table versions as the real one does."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        with patch.object(GlueResponse, "update_table", update_table):
            host, port = server.get_host_and_port()
            yield f"http://{host}:{port}"
    finally:
        server.stop()


def lead_to(monkeypatch: pytest.MonkeyPatch, s3: str, glue: str) -> None:
    """Make AWS's variables lead to these servers and nowhere else."""
    said = {
        **ACCOUNT,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL_S3": s3,
        "AWS_ENDPOINT_URL": glue,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the keys of the test before this


def empty(bucket: Any) -> None:
    """Remove a bucket with all that is in it."""
    bucket.objects.all().delete()
    bucket.delete()
