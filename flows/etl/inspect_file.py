"""Can this file be read whole, and what columns has it? Land asks before any row reaches Spark.

A file that ends early, is not text, or lacks columns is quarantined as a file, with the reason.
"""

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from flows.etl.contract import Contract
from flows.paths import in_arrow, refuse_outage
from flows.s3_path import AnyPath

CHUNK = 1 << 20
LONGEST_NAME, LONGEST_PATH = 255, 1024
"""In bytes; of Linux's file systems, and of S3's keys."""
Held = tuple[str, str | None, AnyPath | None]


@dataclass(frozen=True)
class Finding:
    """What a file is: its columns in their order, or the reason why it cannot be read.

    `size` is that of its text in bytes, decompressed.
    """

    header: tuple[str, ...] = ()
    header_line: str = ""
    rows: int = 0
    size: int = 0
    reason: str | None = None
    pictures: tuple[dict[str, object], ...] = ()
    nanoseconds: tuple[str, ...] = ()
    """Columns of a Parquet file whose times are finer than Spark knows."""

    @property
    def empty(self) -> bool:
        """Whether Spark need not look."""
        return self.rows == 0


def inspect_table_file(raw: AnyPath, contract: Contract, pictures: Iterable[Held] = ()) -> Finding:
    """Read the whole file once; `pictures` are (path in the index, sha256, place in the raw zone)."""
    try:
        if contract.source.format == "parquet":
            return inspect_parquet(raw, contract)
        first, rows, size = read_text(raw)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, ValueError, pa.ArrowException) as error:
        refuse_outage(raw, error)
        return Finding(reason=why(error))
    if contract.source.format == "jsonl":
        return Finding(header=tuple(wanted_columns(contract)), rows=count_records(raw), size=size)
    if not first.strip() and rows == 0:
        return Finding()
    try:
        header = tuple(next(csv.reader([first], delimiter=contract.source.delimiter)))
    except csv.Error as error:
        return Finding(reason=f"its first line is not a header: {error}")
    if reason := header_fault(header, contract):
        return Finding(reason=reason)
    facts = tuple(picture_facts(held) for held in pictures)
    return Finding(header, first, rows, size=size, pictures=facts)


def why(error: Exception) -> str:
    """The reason as a person would say it."""
    if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
        return f"truncated or damaged gzip: {error}"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text: byte 0x{error.object[error.start]:02x}"
    return str(error).splitlines()[0]


@contextmanager
def open_text(raw: AnyPath) -> Iterator[IO[bytes]]:
    """The file's bytes, decompressed."""
    with raw.open("rb") as stream:
        yield gzip.GzipFile(fileobj=stream) if raw.suffix == ".gz" else stream  # type: ignore[misc]


def chunks(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """The bytes of a file, decompressed where its name ends in `.gz`."""
    blocks = iter(lambda: stream.read(CHUNK), b"")
    return unzip(blocks) if name.endswith(".gz") else blocks


def unzip(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The members of a gzip file, one after another.

    As strict as Spark: Python's own `gzip` passes over zeros after the last member.

    Raises:
        EOFError: the last member ends early.
        zlib.error: damaged, or something else follows a member.
    """
    member, inside = zlib.decompressobj(wbits=31), False
    for block in blocks:
        while block:
            yield member.decompress(block, CHUNK)
            inside, block = not member.eof, member.unconsumed_tail or member.unused_data
            if member.eof:
                member = zlib.decompressobj(wbits=31)
    if inside:
        raise EOFError("it ends before its end-of-stream marker")


def read_text(raw: AnyPath) -> tuple[str, int, int]:
    """First line (without its ending and byte order mark), how many other lines have text, bytes of text.

    Lines that repeat the first are not counted: files that were joined repeat their header. Counts what
    Spark will read, in another program than Spark, so that a row that gets lost is missed.

    Raises:
        UnicodeDecodeError: not UTF-8.
        ValueError: a NUL byte, which text does not have.
    """
    first, rows, size = None, 0, 0
    with raw.open("rb") as stream:
        for lines in blocks_of_lines(text_only(chunks(stream, raw.name))):
            size += sum(map(len, lines))
            if first is None:
                first = lines[0].removeprefix(codecs.BOM_UTF8)
                lines = lines[1:]
            blank = sum(1 for line in lines if not line.strip(b" "))
            rows += len(lines) - blank - (lines.count(first) if first.strip(b" ") else 0)
    return (first or b"").decode(), rows, size


def count_records(raw: AnyPath) -> int:
    """Lines with text, of a format without a header."""
    with raw.open("rb") as stream:
        blocks = blocks_of_lines(chunks(stream, raw.name))
        lines = (line for block in blocks for line in block)
        first = next(lines, b"").removeprefix(codecs.BOM_UTF8)
        return sum(1 for line in chain([first], lines) if line.strip(b" "))


def text_only(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same blocks, as long as they are UTF-8 without NUL."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for block in blocks:
        if b"\0" in block:
            raise ValueError("binary data, not text: it has NUL bytes")
        decoder.decode(block)
        yield block
    decoder.decode(b"", final=True)


def blocks_of_lines(blocks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Whole lines, many at a time; a line ends with LF, CR LF or CR, as for Spark."""
    pending: list[bytes] = []
    for block in blocks:
        # A CR at the very end may be half of a CR LF.
        cut = max(block.rfind(b"\n"), block.rfind(b"\r", 0, -1)) + 1
        if cut:
            yield b"".join([*pending, block[:cut]]).splitlines()
            pending.clear()
        pending.append(block[cut:])
    if rest := b"".join(pending).splitlines():
        yield rest


def wanted_columns(contract: Contract) -> Iterator[str]:
    """Names that the contract looks for in the files."""
    for name, column in contract.columns.items():
        if column.is_read:
            yield column.source or name


def header_fault(header: tuple[str, ...], contract: Contract) -> str | None:
    """Why a header cannot serve the contract; None where it can."""
    optional = {c.source or name for name, c in contract.columns.items() if c.optional}
    missing = [name for name in wanted_columns(contract) if name not in header and name not in optional]
    if missing:
        return f"its header lacks {', '.join(missing)}; it has {', '.join(header)[:200]}"
    twice = sorted({name for name in header if name and header.count(name) > 1})
    return f"its header names {', '.join(twice)} twice" if twice else None


def inspect_parquet(raw: AnyPath, contract: Contract) -> Finding:
    """Read every page: a footer alone does not show damage further up."""
    name, files = in_arrow(raw)
    with pq.ParquetFile(name, filesystem=files, page_checksum_verification=True) as file:
        for _ in file.iter_batches():
            pass
        header = tuple(file.schema_arrow.names)
        columns = [file.schema.column(number) for number in range(len(file.schema))]
        kinds = {column.path: str(column.logical_type) for column in columns}
        return Finding(
            header,
            str(file.schema_arrow),
            file.metadata.num_rows,
            reason=header_fault(header, contract) or kind_fault(kinds),
            nanoseconds=tuple(name for name in header if is_in_nanoseconds(kinds.get(name, ""))),
        )


def is_in_nanoseconds(kind: str) -> bool:
    """Whether a Parquet type is a time as pandas writes it."""
    return kind.startswith("Timestamp(") and "timeUnit=nanoseconds" in kind


def kind_fault(kinds: dict[str, str]) -> str | None:
    """Why Spark cannot open a file of such columns, wanted or not; None where it can."""
    times = [name for name, kind in kinds.items() if kind.startswith("Time(")]
    return f"column {times[0]} is a time of day, which Spark cannot read" if times else None


def inspect_index(name: str, open_file: Callable[[], IO[bytes]], contract: Contract) -> list[str]:
    """Picture paths that an image index names; none where it cannot be read (landing says why)."""
    assert contract.images
    column = contract.columns[contract.images.path].source or contract.images.path
    try:
        with open_file() as stream:
            whole = b"".join(chunks(stream, name))
        text = io.TextIOWrapper(io.BytesIO(whole), encoding="utf-8-sig", newline="")
        rows = csv.DictReader(text, delimiter=contract.source.delimiter)
        return [row[column].strip() for row in rows if safe(row.get(column))]
    except (UnicodeDecodeError, csv.Error, EOFError, zlib.error):
        return []


def safe(path: object) -> bool:
    """A picture's path stays below its index (not absolute, no way up) and is one that a disk can have."""
    if not isinstance(path, str) or not path.strip() or "\0" in path or len(path.encode()) > LONGEST_PATH:
        return False
    parts = path.strip().split("/")
    return parts[0] != "" and ".." not in parts and all(len(part.encode()) <= LONGEST_NAME for part in parts)


def picture_facts(held: Held) -> dict[str, object]:
    """Size in pixels and bytes of a picture in the raw zone; `error` where it is missing or undecodable."""
    name, digest, raw = held
    facts: dict[str, object] = {"path": name, "sha256": digest}
    if raw is None:
        return facts | {"error": "missing"}
    try:
        with raw.open("rb") as stream, Image.open(stream) as picture:
            picture.load()
            facts |= {"width": picture.width, "height": picture.height}
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        refuse_outage(raw, error)
        facts["error"] = str(error).splitlines()[0]
    return facts | {"bytes": raw.stat().st_size}


def jsonl(records: Iterable[dict[str, object]]) -> str:
    """JSON lines, as Spark reads them."""
    return "".join(json.dumps(record) + "\n" for record in records)
