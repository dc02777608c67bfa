"""Files of the store, here or in a bucket, by one interface: whole writes, listings, Parquet.

On this machine every function is what the standard library and pyarrow do anyway, without another import.
"""

import io
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from flows.errors import WatchkeeperError
from flows.s3_path import SCHEME, AnyPath, S3Error, S3Path

if TYPE_CHECKING:
    import pyarrow.dataset as pads

T = TypeVar("T")
AT_ONCE = 16
"""Requests to S3 that wait side by side: each takes tens of milliseconds, whatever it asks."""


def path_of(location: str) -> AnyPath:
    """The path that a location of the lake means, which Iceberg takes letter by letter: nothing is quoted."""
    return S3Path(location) if location.startswith(SCHEME) else Path(location.removeprefix("file://"))


def mapped(work: Callable[[AnyPath], T], paths: Sequence[AnyPath]) -> list[T]:
    """The work of each path, side by side where they are in a bucket."""
    if not paths or isinstance(paths[0], Path):
        return [work(path) for path in paths]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, paths))


def refuse_outage(path: AnyPath, error: Exception) -> None:
    """Stop where the store, and not what it holds, is to blame for an error: nothing is said of the file.

    Raises:
        WatchkeeperError: so it is.
    """
    outage = isinstance(error, S3Error | PermissionError | FileNotFoundError) or "AWS Error" in str(error)
    if isinstance(path, S3Path) and outage:
        raise WatchkeeperError(f"{path} cannot be read: {error}") from None


def write_whole(path: AnyPath, data: bytes) -> None:
    """Write a file that appears whole or not at all."""
    if isinstance(path, S3Path):
        path.write_bytes(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def files_below(folder: AnyPath) -> Iterator[AnyPath]:
    """Every file below a folder; none where it is not there."""
    if isinstance(folder, S3Path):
        yield from folder.walk()
        return
    for base, _, names in os.walk(folder):
        yield from (Path(base, name) for name in names)


def json_in(folder: AnyPath) -> list[AnyPath]:
    """The JSON files of a folder, in order."""
    return sorted((path for path in files_below(folder) if path.suffix == ".json"), key=str)


def remove_folder(folder: AnyPath) -> None:
    """Remove a folder with all that is in it, as far as it can be."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        mapped(lambda path: path.unlink(missing_ok=True), list(folder.walk()))
    except OSError:
        pass  # maintenance removes what is left


def in_arrow(path: AnyPath) -> tuple[str, pafs.FileSystem | None]:
    """A path and its file system, as pyarrow takes them."""
    if isinstance(path, Path):
        return str(path), None
    from flows.s3 import connect

    return path.in_arrow, connect().files


def read_footer(path: AnyPath) -> pq.FileMetaData:
    """What a Parquet file says of itself."""
    return pq.read_metadata(path) if isinstance(path, Path) else _footer_in_bucket(str(path))


@lru_cache(maxsize=2048)
def _footer_in_bucket(location: str) -> pq.FileMetaData:
    """Asked once: a run asks a file's footer four times, and none of the lake's files ever changes."""
    name, files = in_arrow(S3Path(location))
    return pq.read_metadata(name, filesystem=files)


def read_rows(path: AnyPath, columns: list[str] | None = None, **more: Any) -> pa.Table:  # noqa: ANN401
    """The rows of one Parquet file; the names of its folders are none of its columns."""
    name, files = in_arrow(path)
    return pq.read_table(name, columns=columns, partitioning=None, filesystem=files, **more)


def rows_of(paths: Sequence[AnyPath], schema: pa.Schema) -> "pads.Dataset":
    """Parquet files as one data set, of which nothing is read yet; all are here, or all in one store."""
    import pyarrow.dataset as pads

    found = [in_arrow(path) for path in paths]
    files = found[0][1] if found else None
    return pads.dataset([name for name, _ in found], schema=schema, format="parquet", filesystem=files)


def write_rows(rows: pa.Table, path: AnyPath) -> None:
    """Write a Parquet file that appears whole or not at all."""
    whole = io.BytesIO()
    pq.write_table(rows, whole, compression="zstd")
    write_whole(path, whole.getvalue())


def total(paths: Iterable[AnyPath]) -> int:
    """Bytes of the files."""
    return sum(path.stat().st_size for path in paths)
