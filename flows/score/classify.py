"""What the executors do with pictures: read, decode in threads, predict in batches.

Runs in Spark's Python workers. One worker keeps one ONNX Runtime session for all tasks that it is given; it
gets one thread, since there are as many workers as cores.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.fs as pafs

from services.bento.manifest import SESSION_FILES, ImageInput, read_manifest
from services.bento.predictor import Pixels, Predictor, UnreadableImageError, as_input, decode

BATCH = 32
"""Pictures given to the model at once."""
DECODERS = 2
"""Threads that read and decode: one waits for the disk or the bucket while another decodes."""
AHEAD = 3
"""Batches that are read before the model asks for them."""

SCHEMA = (
    "article_id string, label string, probability double, model_version string, _source_file string, "
    "_rule string, _raw string, _sha256 string"
)
Row = tuple[str | None, str | None, float | None, str | None, str, str | None, str | None, str]


@dataclass(frozen=True)
class Read:
    """A picture as it was read: its pixels, or the rule that it broke and why."""

    path: str
    article_id: str
    sha256: str
    pixels: Pixels | None = None
    rule: str | None = None
    reason: str | None = None


def classify(lines: Iterator[str], job: dict[str, Any]) -> Iterator[Row]:
    """Score one partition of the listing: a row of `SCHEMA` for each line, bad ones with their rule."""
    predictor, read = session(job["model"]), reader(job["root"], job["on_s3"])
    spec = predictor.manifest.input
    assert isinstance(spec, ImageInput)

    def load(batch: list[str]) -> list[Read]:
        return [load_one(line, read, spec) for line in batch]

    with ThreadPoolExecutor(DECODERS) as pool:
        for batch in ahead(pool, load, batches(lines)):
            yield from answer(predictor, spec, batch)


@cache
def session(folder: str) -> Predictor:
    """The worker's one session of a version, whose folder was verified before the job was written."""
    if not folder.startswith("s3://"):
        return predictor_of(Path(folder))
    read = reader(folder.removeprefix("s3://"), True)
    with TemporaryDirectory() as here:
        for name in SESSION_FILES:
            Path(here, name).write_bytes(read(name))
        return predictor_of(Path(here))


def predictor_of(folder: Path) -> Predictor:
    """One session, in one thread; the folder is read whole."""
    return Predictor(folder, read_manifest(folder), threads=1)


@cache
def reader(root: str, on_s3: bool) -> Callable[[str], bytes]:
    """A function that reads a file below a folder."""
    if not on_s3:
        return lambda path: Path(root, path).read_bytes()
    files, _ = pafs.FileSystem.from_uri("s3://" + root.partition("/")[0])

    def read(path: str) -> bytes:
        with files.open_input_stream(f"{root}/{path}", compression=None) as stream:
            content: bytes = stream.read()
        return content

    return read


def batches(lines: Iterator[str]) -> Iterator[list[str]]:
    """The lines, `BATCH` at a time."""
    return iter(lambda: list(islice(lines, BATCH)), [])


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[list[str]], list[Read]], items: Iterator[list[str]]
) -> Iterator[list[Read]]:
    """Results in order, of which a few are always under way."""
    waiting: deque[Future[list[Read]]] = deque(pool.submit(work, item) for item in islice(items, AHEAD))
    while waiting:
        done = waiting.popleft().result()
        waiting.extend(pool.submit(work, item) for item in islice(items, 1))
        yield done


def load_one(line: str, read: Callable[[str], bytes], spec: ImageInput) -> Read:
    """Read and decode one picture of the listing; never fails for what is wrong with it."""
    named = json.loads(line)
    path, article_id = named["path"], named["article_id"]
    try:
        data = read(path)
    except OSError as error:
        return Read(path, article_id, "", rule="file_unreadable", reason=first_line(error))
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        return Read(path, article_id, sha256, decode(data, spec.height, spec.width).pixels)
    except UnreadableImageError as error:
        return Read(path, article_id, sha256, rule="picture_unreadable", reason=first_line(error))


def answer(predictor: Predictor, spec: ImageInput, batch: list[Read]) -> Iterator[Row]:
    """The model's label for each picture that was read, the reason for each that was not."""
    good = [(one, one.pixels) for one in batch if one.pixels is not None]
    for one in batch:
        if one.pixels is None:
            yield bad(one, one.rule, one.reason)
    if not good:
        return
    manifest = predictor.manifest
    outputs = predictor.predict(as_input([pixels for _, pixels in good], spec)).outputs
    for (one, _), row in zip(good, outputs, strict=True):
        if np.isfinite(row).all():
            best = int(row.argmax())
            label, probability = manifest.classes[best], float(row[best])
            yield (one.article_id, label, probability, manifest.version, one.path, None, None, one.sha256)
        else:
            yield bad(one, "not_finite", f"version {manifest.version} gave {row.tolist()}")


def bad(one: Read, rule: str | None, reason: str | None) -> Row:
    """A row for the quarantine."""
    return (None, None, None, None, one.path, rule, reason, one.sha256)


def first_line(error: Exception) -> str:
    """The error's own words."""
    return (str(error).splitlines() or [type(error).__name__])[0]
