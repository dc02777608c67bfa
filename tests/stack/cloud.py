"""AWS on this machine: MinIO for S3, moto for Glue, and the EMR server, with the settings that lead there."""

import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from tests.stack.buckets import ACCOUNT, REGION, minio, moto
from tests.stack.emr_server import EmrServer, S3Place, emr_server
from tests.stack.programs import OPENER

BUCKET = "warehouse"
STRANGE = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "HTTP_PROXY", "http_proxy")


@dataclass(frozen=True)
class Cloud:
    """The servers and how to reach them."""

    emr: EmrServer
    glue: str

    def environment(self, home: Path, runner: str, prefix: str, **more: str) -> dict[str, str]:
        """That of a process which works on this home, with its store below a prefix of the bucket."""
        clean = {name: value for name, value in os.environ.items() if name not in STRANGE}
        return clean | self.variables(home, runner, prefix) | more

    def here(self, home: Path) -> dict[str, str]:
        """That of a process whose Spark and lake are on this machine; the bucket is only a source."""
        found = self.environment(home, "local", "nowhere")
        del found["WATCHKEEPER_STORE"]
        return found

    def variables(self, home: Path, runner: str, prefix: str) -> dict[str, str]:
        """What a user would set."""
        store = f"s3://{BUCKET}/{prefix}"
        return {
            **self.emr.environment(),
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL_GLUE": self.glue,
            "WATCHKEEPER_HOME": str(home),
            "WATCHKEEPER_RUNNER": runner,
            "WATCHKEEPER_STORE": store,
            "WATCHKEEPER_EMR_STORE": store,
            "WATCHKEEPER_EMR_SERVERLESS_ROLE": "arn:aws:iam::123456789012:role/job",
            # The server's clock is fast, and this machine may be slow.
            "WATCHKEEPER_EMR_TIMEOUT_MINUTES": "100000",
        }

    def lead_here(self, patch: pytest.MonkeyPatch, home: Path, prefix: str) -> None:
        """Make this process's own settings lead to the store."""
        for name in STRANGE:
            patch.delenv(name, raising=False)
        for name, value in self.variables(home, "local", prefix).items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the keys of the test before this

    def forget_tables(self) -> None:
        """Empty the catalog: a data set of one name is below one store only."""
        request = urllib.request.Request(f"{self.glue}/moto-api/reset", method="POST")
        with OPENER.open(request, timeout=30) as answer:
            assert answer.status == 200


@contextmanager
def cloud(folder: Path, speed: float) -> Iterator[Cloud]:
    """All three, with one bucket."""
    folder.mkdir(parents=True, exist_ok=True)
    with minio(folder) as url, moto() as glue:
        place = S3Place(url, ACCOUNT["AWS_ACCESS_KEY_ID"], ACCOUNT["AWS_SECRET_ACCESS_KEY"], REGION)
        where = {"LocationConstraint": REGION}
        place.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
        with emr_server(folder / "emr", place, speed=speed) as server:
            yield Cloud(server, glue)
