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
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from flows.etl.contract import Contract

CHUNK = 1 << 20
Held = tuple[str, str | None, Path | None]


@dataclass(frozen=True)
class Finding:
    """What a file is: its columns in their order, or the reason why it cannot be read."""

    header: tuple[str, ...] = ()
    header_line: str = ""
    empty: bool = False
    reason: str | None = None
    pictures: tuple[dict[str, object], ...] = ()


def inspect_table_file(raw: Path, contract: Contract, pictures: Iterable[Held] = ()) -> Finding:
    """Read the whole file once; `pictures` are (path in the index, sha256, place in the raw zone)."""
    try:
        if contract.source.format == "parquet":
            return inspect_parquet(raw, contract)
        first, more = read_text(raw)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, ValueError, pa.ArrowException) as error:
        return Finding(reason=why(error))
    if contract.source.format == "jsonl":
        return Finding(header=tuple(wanted_columns(contract)), empty=not (first.strip() or more))
    if not (first.strip() or more):
        return Finding(empty=True)
    header = tuple(next(csv.reader([first], delimiter=contract.source.delimiter)))
    if reason := header_fault(header, contract):
        return Finding(reason=reason)
    facts = tuple(picture_facts(held) for held in pictures)
    return Finding(header, first, not more, pictures=facts)


def why(error: Exception) -> str:
    """The reason as a person would say it."""
    if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
        return f"truncated or damaged gzip: {error}"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text: byte 0x{error.object[error.start]:02x}"
    return str(error).splitlines()[0]


def open_text(raw: Path) -> IO[bytes]:
    """The file's bytes, decompressed."""
    return gzip.open(raw) if raw.suffix == ".gz" else raw.open("rb")  # type: ignore[return-value]


def read_text(raw: Path) -> tuple[str, bool]:
    """First line (without its ending and byte order mark), and whether there is text after it.

    Raises:
        UnicodeDecodeError: not UTF-8.
        ValueError: a NUL byte, which text does not have.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    first, more, rest = None, False, ""
    with open_text(raw) as stream:
        while chunk := stream.read(CHUNK):
            if b"\0" in chunk:
                raise ValueError("binary data, not text: it has NUL bytes")
            text = decoder.decode(chunk)
            if first is None:
                rest += text
                if "\n" not in rest:
                    continue
                first, _, text = rest.partition("\n")
            more = more or bool(text.strip())
        decoder.decode(b"", final=True)
    return (rest if first is None else first).removeprefix("\ufeff").rstrip("\r"), more


def wanted_columns(contract: Contract) -> Iterator[str]:
    """Names that the contract looks for in the files."""
    for name, column in contract.columns.items():
        if column.expression is None and column.picture is None:
            yield column.source or name


def header_fault(header: tuple[str, ...], contract: Contract) -> str | None:
    """Why a header cannot serve the contract; None where it can."""
    optional = {c.source or name for name, c in contract.columns.items() if c.optional}
    missing = [name for name in wanted_columns(contract) if name not in header and name not in optional]
    if missing:
        return f"its header lacks {', '.join(missing)}; it has {', '.join(header)[:200]}"
    twice = sorted({name for name in header if header.count(name) > 1})
    return f"its header names {', '.join(twice)} twice" if twice else None


def inspect_parquet(raw: Path, contract: Contract) -> Finding:
    """Read every page: a footer alone does not show damage further up."""
    with pq.ParquetFile(raw, page_checksum_verification=True) as file:
        for _ in file.iter_batches():
            pass
        header = tuple(file.schema_arrow.names)
        return Finding(
            header, str(file.schema_arrow), file.metadata.num_rows == 0, header_fault(header, contract)
        )


def inspect_index(open_file: Callable[[], IO[bytes]], contract: Contract) -> list[str]:
    """Picture paths that an image index names; none where it cannot be read (landing says why)."""
    assert contract.images
    column = contract.columns[contract.images.path].source or contract.images.path
    try:
        with open_file() as stream:
            text = io.TextIOWrapper(io.BytesIO(stream.read()), encoding="utf-8-sig", newline="")
        rows = csv.DictReader(text, delimiter=contract.source.delimiter)
        return [row[column].strip() for row in rows if safe(row.get(column))]
    except (UnicodeDecodeError, csv.Error):
        return []


def safe(path: object) -> bool:
    """A picture's path stays below its index: no absolute paths, no way up."""
    return (
        isinstance(path, str)
        and bool(path.strip())
        and not path.startswith("/")
        and ".." not in path.split("/")
    )


def picture_facts(held: Held) -> dict[str, object]:
    """Size in pixels and bytes of a picture in the raw zone; `error` where it is missing or undecodable."""
    name, digest, raw = held
    facts: dict[str, object] = {"path": name, "sha256": digest}
    if raw is None:
        return facts | {"error": "missing"}
    try:
        with Image.open(raw) as picture:
            picture.load()
            facts |= {"width": picture.width, "height": picture.height}
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        facts["error"] = str(error).splitlines()[0]
    return facts | {"bytes": raw.stat().st_size}


def jsonl(records: Iterable[dict[str, object]]) -> str:
    """JSON lines, as Spark reads them."""
    return "".join(json.dumps(record) + "\n" for record in records)
