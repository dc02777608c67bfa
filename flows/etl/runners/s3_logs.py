"""The ends of logs that EMR leaves on S3, gzipped, some seconds after a job has ended."""

import time
import zlib
from collections import deque
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from flows.aws_session import ABSENT, code_of
from flows.etl.runners.aws import Aws, bucket_and_key, told

LINES = 400
"""Of the driver's log that are kept."""
EXECUTORS, EXECUTOR_LINES = 3, 40
"""Executors whose log's end is shown, the newest, and how much of each."""
LATE_SECONDS = 45.0
"""For which a log is waited for: EMR uploads the last of it after the job's end."""


def tail(aws: Aws, location: str, lines: int = LINES) -> list[str] | None:
    """The last lines of a gzipped file; None where there is none."""
    bucket, key = bucket_and_key(location)
    with told(f"reading {location}"):
        try:
            body = aws.s3.get_object(Bucket=bucket, Key=key)["Body"]
        except ClientError as error:
            if code_of(error) in ABSENT:
                return None
            raise
        return list(deque(lines_of(body), lines))


def lines_of(body: Any) -> Iterator[str]:  # noqa: ANN401  # boto3's stream
    """The lines of a gzipped stream, which may be of several parts and end anywhere, in bounded memory."""
    unzip, rest = zlib.decompressobj(wbits=31), b""
    for chunk in body.iter_chunks():
        while chunk:
            data = unzip.decompress(chunk)
            chunk = unzip.unused_data
            if unzip.eof:
                unzip = zlib.decompressobj(wbits=31)
            *whole, rest = (rest + data).split(b"\n")
            yield from (line.decode(errors="replace").rstrip() for line in whole)
    if rest:
        yield rest.decode(errors="replace").rstrip()


def driver(aws: Aws, folder: str) -> list[str]:
    """What the driver said at last, waited for; empty where nothing comes.

    Spark's own log is its standard error. The words of a Python program, its traceback too, are its standard
    output: spark-submit joins them there. So these come last.
    """
    until = time.monotonic() + LATE_SECONDS
    while (spark := tail(aws, f"{folder}/stderr.gz")) is None and time.monotonic() < until:
        time.sleep(3)
    said = tail(aws, f"{folder}/stdout.gz") or []
    return [*(spark or []), *(line for line in said if not line.startswith("progress "))]


def executors(aws: Aws, folder: str) -> list[str]:
    """The ends of the newest executors' logs below a folder, each under its file's name."""
    bucket, prefix = bucket_and_key(folder)
    with told(f"listing {folder}"):
        pages = aws.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        found = [item for page in pages for item in page.get("Contents", [])]
    logs = [item for item in found if item["Key"].endswith("/stderr.gz")]
    newest = sorted(logs, key=lambda item: item["LastModified"])[-EXECUTORS:]
    said: list[str] = []
    for item in newest:
        said.append(f"--- {item['Key']}")
        said += tail(aws, f"s3://{bucket}/{item['Key']}", EXECUTOR_LINES) or []
    return said
