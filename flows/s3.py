"""The ways to S3, as AWS's own variables and profiles say: boto3's client, and pyarrow's file system.

Neither pyarrow's constructor nor PyIceberg knows `AWS_ENDPOINT_URL` or a profile's `endpoint_url`. So boto3
is asked once what it found, and the others are told.
"""

import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import pyarrow.fs as pafs
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from flows.aws_session import ANSWER_SECONDS, CONNECT_SECONDS, config, session
from flows.errors import WatchkeeperError

CONNECTIONS = 32
PART = 16 << 20
VARIABLES = (
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_GLUE",
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN",
)
"""What the ways are made of: where one of them changes, they are made anew."""


@dataclass(frozen=True)
class Bucket:
    """The clients of one region and endpoint."""

    session: Any
    region: str

    def client_of(self, service: str) -> Any:  # noqa: ANN401  # boto3 has no types
        """boto3's client of a service."""
        return self.session.client(service, config=config(max_pool_connections=CONNECTIONS))

    @cached_property
    def client(self) -> Any:  # noqa: ANN401
        """boto3's client of S3."""
        return self.client_of("s3")

    @cached_property
    def endpoint(self) -> str | None:
        """An S3 that is not Amazon's own, or another way to it."""
        own = self.session.client("s3", config=Config(ignore_configured_endpoint_urls=True))
        said: str = self.client.meta.endpoint_url
        return None if said == own.meta.endpoint_url else said

    @cached_property
    def files(self) -> pafs.S3FileSystem:
        """pyarrow's file system, for what reads ranges: Parquet's footers and columns."""
        return pafs.S3FileSystem(
            region=self.region,
            endpoint_override=self.endpoint,
            connect_timeout=CONNECT_SECONDS,
            request_timeout=ANSWER_SECONDS,
        )

    @cached_property
    def transfer(self) -> TransferConfig:
        """Uploads in parts: as many at once as memory bears beside others."""
        return TransferConfig(multipart_threshold=2 * PART, multipart_chunksize=PART, max_concurrency=4)

    @property
    def in_iceberg(self) -> dict[str, str]:
        """The same in PyIceberg's words."""
        said = {
            "s3.region": self.region,
            "s3.endpoint": self.endpoint,
            "s3.connect-timeout": str(CONNECT_SECONDS),
            "s3.request-timeout": str(ANSWER_SECONDS),
        }
        return {name: value for name, value in said.items() if value}


def connect() -> Bucket:
    """The ways to S3 that the environment says.

    Raises:
        WatchkeeperError: it says no region.
    """
    return _connect(tuple(os.environ.get(name) for name in VARIABLES))


@lru_cache(maxsize=8)
def _connect(_said: tuple[str | None, ...]) -> Bucket:
    found = session()
    if found.region_name is None:
        raise WatchkeeperError("the store is on S3, but no region is set: set AWS_REGION")
    return Bucket(found, found.region_name)
