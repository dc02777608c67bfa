"""The raw zone: whatever landed, once, under its sha256, whole and read-only."""

import hashlib
import re
import uuid
from pathlib import Path
from typing import IO

from flows.errors import WatchkeeperError
from flows.etl.source_files import CHUNK, Source
from flows.s3_path import AnyPath, S3Path


def raw_path(raw_zone: AnyPath, sha256: str, name: str) -> AnyPath:
    """Where the raw zone keeps a content; the ending stays, since Spark picks the codec by it."""
    suffixes = Path(name.lower()).suffixes
    ending = "".join(suffixes[-2:] if suffixes[-1:] == [".gz"] else suffixes[-1:])
    return raw_zone / sha256[:2] / (sha256 + re.sub(r"[^a-z0-9.]", "", ending))


class Verified:
    """A stream that raises at its end where it was not what `sha256` says, so that its copier stops."""

    def __init__(self, stream: IO[bytes], path: str, sha256: str) -> None:
        self._stream, self._path, self._sha256 = stream, path, sha256
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """So many bytes, fewer only at the end (an uploader takes a short read for the last); else all.

        Raises:
            WatchkeeperError: this is the end, and the content is another.
        """
        data = self._stream.read() if size < 0 else self._stream.read(size)
        while len(data) < size and (more := self._stream.read(size - len(data))):
            data += more
        self._digest.update(data)
        if (size < 0 or len(data) < size) and self._digest.hexdigest() != self._sha256:
            raise WatchkeeperError(
                f"file {self._path} changed while it was landed; run again when its writer is done"
            )
        return data


def copy_to_raw(source: Source, path: str, sha256: str, target: AnyPath) -> None:
    """Copy once, verified, whole or not at all, read-only.

    Always a copy: a hard link would change with its source when that is overwritten in place.
    """
    try:
        if target.exists():
            return
        with source.open(path) as stream:
            verified = Verified(stream, path, sha256)
            target.upload(verified) if isinstance(target, S3Path) else store_read_only(verified, target)
    except OSError as error:
        raise WatchkeeperError(f"file {path} cannot be copied into the raw zone: {error}") from None


def store_read_only(stream: Verified, target: Path) -> None:
    """Write a file of this machine, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as out:
            while chunk := stream.read(CHUNK):
                out.write(chunk)
        temporary.chmod(0o444)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
