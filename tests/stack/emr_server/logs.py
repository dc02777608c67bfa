"""Logs of jobs, where the real services put them: gzipped below the log URI."""

import gzip
import re
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from tests.stack.emr_server.spark import S3Place

CAUSE_LINES = 3
CAUSE = re.compile(r"(Caused by: )?[\w.$]*(Exception|Error)(:|$)")


class Logs:
    """Uploads to one place in S3; with an empty URI nothing is kept, as with the real service."""

    def __init__(self, s3: S3Place, uri: str) -> None:
        self.s3, self.uri = s3, uri

    def put(self, key: str, content: bytes) -> None:
        """Keep a log; one that cannot be kept fails no job."""
        bucket, _, prefix = self.uri.partition("://")[2].partition("/")
        if not bucket:
            return
        whole = "/".join(part for part in (prefix.strip("/"), key) if part)
        try:
            self.s3.client.put_object(Bucket=bucket, Key=whole, Body=gzip.compress(content))
        except (ClientError, BotoCoreError):
            pass

    def put_file(self, key: str, path: Path) -> None:
        """Keep a log file as it is now."""
        self.put(key, path.read_bytes())


def last_words(*paths: Path) -> str:
    """The last exceptions in a driver's logs, as the service quotes them.

    Spark sends what a Python program says, its traceback too, to standard output.
    """
    text = "\n".join(path.read_text(errors="replace") for path in paths)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if CAUSE.match(line)]
    return " ".join((told or lines)[-CAUSE_LINES:])
