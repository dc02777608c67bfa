"""Paths in a bucket: as much of pathlib's interface as the store's users need, so that they need not know.

Objects are read and written by boto3, ranges of them by pyarrow (`flows/s3.py`); neither is imported before
there is a path in a bucket. A folder is nothing but what keys begin with.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from flows.aws_session import ABSENT, DENIED, EXPIRED, UNKNOWN_CALLER, code_of

if TYPE_CHECKING:
    from flows.s3 import Bucket

SCHEME = "s3://"
BUFFER = 4 << 20
"""Bytes that one request brings of a file that is read from its beginning to its end."""
NOT_THERE = ABSENT | {"NoSuchBucket"}
NOT_ALLOWED = DENIED | EXPIRED | UNKNOWN_CALLER


class S3Error(OSError):
    """What the server, or the way to it, refused; nothing that the object itself is guilty of."""


@dataclass(frozen=True)
class Facts:
    """Of an object, by the names that `os.stat_result` has."""

    st_size: int
    st_mtime: float


class S3Path:
    """A key of a bucket, or a folder of keys.

    Args:
        location: `s3://bucket/key`, letter by letter: nothing is quoted.
        facts: what a listing said of it, which is believed.
    """

    __slots__ = ("_facts", "_path")

    def __init__(self, location: str, facts: Facts | None = None) -> None:
        if not location.startswith(SCHEME):
            raise ValueError(f"{location!r} does not begin with {SCHEME}")
        self._path = PurePosixPath(location.removeprefix(SCHEME))
        self._facts = facts

    def __str__(self) -> str:
        return f"{SCHEME}{self._path}"

    def __repr__(self) -> str:
        return f"S3Path({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, S3Path) and self._path == other._path

    def __hash__(self) -> int:
        return hash(self._path)

    def __lt__(self, other: "S3Path") -> bool:
        return self._path < other._path

    def __truediv__(self, name: str) -> "S3Path":
        return self.joinpath(name)

    def joinpath(self, *names: str) -> "S3Path":
        """The path below this one."""
        return S3Path(f"{SCHEME}{self._path.joinpath(*names)}")

    def with_name(self, name: str) -> "S3Path":
        """The path beside this one."""
        return S3Path(f"{SCHEME}{self._path.with_name(name)}")

    @property
    def parent(self) -> "S3Path":
        """The folder."""
        return S3Path(f"{SCHEME}{self._path.parent}")

    @property
    def name(self) -> str:
        """The last part."""
        return self._path.name

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return self._path.stem

    @property
    def suffix(self) -> str:
        """The last part's ending."""
        return self._path.suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """The bucket, and the key's parts."""
        return self._path.parts

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.parts[0]

    @property
    def key(self) -> str:
        """What S3 calls it within the bucket."""
        return "/".join(self.parts[1:])

    @property
    def in_arrow(self) -> str:
        """What pyarrow's file system calls it."""
        return str(self._path)

    def is_relative_to(self, other: object) -> bool:
        """Whether it is below that path."""
        return isinstance(other, S3Path) and self._path.is_relative_to(other._path)

    def as_uri(self) -> str:
        """With every letter that a URI may not have quoted."""
        return SCHEME + quote(str(self._path))

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """A bucket needs no folders."""

    def exists(self) -> bool:
        """Whether there is such an object; a folder is none."""
        try:
            self._ask_facts()
        except FileNotFoundError:
            return False
        return True

    is_file = exists

    def stat(self) -> Facts:
        """Its size and age."""
        return self._facts or self._ask_facts()

    lstat = stat

    def _ask_facts(self) -> Facts:
        with self._asking() as (bucket, at):
            found = bucket.client.head_object(**at)
        return Facts(found["ContentLength"], found["LastModified"].timestamp())

    def read_bytes(self) -> bytes:
        """The whole object."""
        with self._asking() as (bucket, at):
            return bytes(bucket.client.get_object(**at)["Body"].read())

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole object, as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> int:
        """Put the object, whole or not at all; boto3 sends its checksum along, and the server compares."""
        with self._asking() as (bucket, at):
            bucket.client.put_object(**at, Body=data)
        return len(data)

    def write_text(self, data: str, encoding: str = "utf-8") -> int:
        """Put text as the object."""
        return self.write_bytes(data.encode(encoding))

    def upload(self, stream: Any) -> None:  # noqa: ANN401  # anything with `read`
        """Put what a stream has, in parts where it is large; nothing at all where its `read` raises."""
        with self._asking() as (bucket, at):
            bucket.client.upload_fileobj(stream, at["Bucket"], at["Key"], Config=bucket.transfer)

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Read the object from any place on."""
        if mode != "rb":
            raise ValueError(f"{self} cannot be opened as {mode!r}: an object is put whole")
        with self._asking() as (bucket, _):
            return io.BufferedReader(bucket.files.open_input_file(self.in_arrow), BUFFER)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object; S3 does not say whether there was one."""
        with self._asking() as (bucket, at):
            bucket.client.delete_object(**at)

    def walk(self) -> Iterator["S3Path"]:
        """Every object below this folder, with its facts, in the order of their keys."""
        with self._asking() as (bucket, at):
            pages = bucket.client.get_paginator("list_objects_v2").paginate(
                Bucket=at["Bucket"], Prefix=f"{at['Key']}/" if at["Key"] else ""
            )
            for page in pages:
                for item in page.get("Contents", []):
                    facts = Facts(item["Size"], item["LastModified"].timestamp())
                    if not item["Key"].endswith("/"):  # a console's idea of a folder
                        yield S3Path(f"{SCHEME}{self.bucket}/{item['Key']}", facts)

    def end_uploads(self, before: float) -> None:
        """Give up uploads in parts below this path that began before a moment and have not ended."""
        with self._asking() as (bucket, at):
            pages = bucket.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=at["Bucket"], Prefix=at["Key"]
            )
            for page in pages:
                for upload in page.get("Uploads", []):
                    if upload["Initiated"].timestamp() < before:
                        bucket.client.abort_multipart_upload(
                            Bucket=at["Bucket"], Key=upload["Key"], UploadId=upload["UploadId"]
                        )

    @contextmanager
    def _asking(self) -> Iterator[tuple["Bucket", dict[str, str]]]:
        """The way to the bucket, and the arguments that name the key; refusals become pathlib's errors.

        Raises:
            FileNotFoundError: no such object or bucket.
            PermissionError: the credentials do not suffice.
            S3Error: the server is not there, or cannot.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        from flows.s3 import connect

        try:
            yield connect(), {"Bucket": self.bucket, "Key": self.key}
        except ClientError as error:
            code = code_of(error)
            kind: type[OSError] = S3Error
            if code in NOT_THERE:
                kind = FileNotFoundError
            elif code in NOT_ALLOWED:
                kind = PermissionError
            raise kind(f"{self}: {error}; check the bucket and the credentials") from None
        except BotoCoreError as error:
            raise S3Error(f"{self}: {error}; check network and credentials") from None


AnyPath = Path | S3Path
"""Of the store, wherever that is."""
