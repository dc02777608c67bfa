"""The registry in a bucket of S3, or of a server that speaks it and knows conditional puts."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from services.bento.files import Scratch, remove
from services.bento.manifest import MANIFEST
from services.bento.store import Keys, MissingError, RegistryError

LOST = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
ABSENT = ("NoSuchKey", "404")
WRITER = "writer"


class LostError(RegistryError):
    """A conditional put that was refused."""


class S3Store:
    """A prefix of a bucket. The atomic step is a put on the condition that nothing has the key.

    Args:
        client: boto3's S3 client.
        bucket: a bucket that exists.
        prefix: '' or names joined by '/'.
    """

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:  # noqa: ANN401  # boto3 has no types
        self._client, self._bucket = client, bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def __str__(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    def create(self, key: str, data: bytes) -> bool:
        """See `Store.create`.

        boto3 repeats a put whose answer got lost, and then loses to itself: so the winner signs the object.
        """
        writer = uuid.uuid4().hex
        try:
            with self._asking(key) as at:
                self._client.put_object(**at, Body=data, IfNoneMatch="*", Metadata={WRITER: writer})
        except LostError:
            return self._writer(key) == writer
        return True

    def _writer(self, key: str) -> str | None:
        """Who made a key; None also for a conflict that nobody won."""
        try:
            with self._asking(key) as at:
                metadata = self._client.head_object(**at)["Metadata"]
        except MissingError:
            return None
        return next((str(value) for name, value in metadata.items() if name.lower() == WRITER), "unknown")

    def read(self, key: str) -> bytes:
        """See `Store.read`."""
        with self._asking(key) as at:
            return bytes(self._client.get_object(**at)["Body"].read())

    def add_folder(self, key: str, folder: Path) -> bool:
        """See `Store.add_folder`: the manifest goes last, and a folder without one is not there."""
        if self._writer(f"{key}/{MANIFEST}") is not None:
            return False
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and name != MANIFEST:
                with self._asking(f"{key}/{name}") as at, path.open("rb") as stream:
                    self._client.put_object(**at, Body=stream)
        return self.create(f"{key}/{MANIFEST}", (folder / MANIFEST).read_bytes())

    def fetch_folder(self, key: str, to: Path) -> Path:
        """See `Store.fetch_folder`; a copy that is here serves if its manifest is the bucket's."""
        manifest = self.read(f"{key}/{MANIFEST}")
        if (to / MANIFEST).is_file() and (to / MANIFEST).read_bytes() == manifest:
            return to
        scratch = Scratch(to.parent)
        scratch.sweep()
        with scratch.path() as half:
            self._download(key, half)
            remove(to)
            try:
                half.rename(to)
            except OSError:
                if not to.is_dir():  # else another was first
                    raise
        return to

    def _download(self, key: str, to: Path) -> None:
        for name in self.list(key):
            target = to / name.removeprefix(f"{key}/")
            if not target.resolve().is_relative_to(to.resolve()):
                raise RegistryError(f"{self._url(name)} is no file of a version; remove it")
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._asking(name) as at:
                self._client.download_file(at["Bucket"], at["Key"], str(target))

    def sweep(self) -> None:
        """See `Store.sweep`: what a killed upload left has no manifest, and the next upload goes over it."""

    def list(self, prefix: str, after: str = "") -> Keys:
        """See `Store.list`."""
        with self._asking(f"{prefix}/" if prefix else "") as below:
            start = {"StartAfter": self._prefix + after} if after else {}
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=below["Key"], **start
            )
            keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return sorted(key.removeprefix(self._prefix) for key in keys)

    @contextmanager
    def _asking(self, key: str) -> Iterator[dict[str, str]]:
        """The arguments that name a key; what the server or the way to it refuses gets a remedy."""
        try:
            yield {"Bucket": self._bucket, "Key": self._prefix + key}
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in LOST:
                raise LostError(f"{self._url(key)} is there already") from None
            if code in ABSENT:
                raise MissingError(f"{self._url(key)} is not there") from None
            raise RegistryError(f"{self._url(key)}: {error}; check the bucket and the credentials") from error
        except BotoCoreError as error:
            raise RegistryError(f"{self._url(key)}: {error}; check network and credentials") from error

    def _url(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{key}"
