"""A file is read whole before Spark sees it; what is wrong with it is said in a sentence."""

import gzip
import io
import json
import random
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.etl import inspect_file
from flows.etl.contract import Contract
from flows.etl.inspect_file import Finding, inspect_index, inspect_table_file, jsonl, picture_facts, safe
from tests.factories import contract_in, shipped

CSV = b"id,name,extra\n1,one,x\n2,two,y\n"
WHOLE = (("id", "name", "extra"), "id,name,extra", 2)
PICTURES = shipped("garments.articles")


def table(folder: Path, form: str = "csv", **source: str) -> Contract:
    """A table of `id` and `name`, and of `age` where a file has it."""
    columns = {"id": {"type": "int"}, "title": {"type": "string", "source": "name"}}
    columns["age"] = {"type": "int", "optional": True}  # type: ignore[dict-item]
    text = {
        "description": "x",
        "source": {"pattern": "*", "format": form, **source},
        "columns": columns,
        "duplicates": "keep",
    }
    return contract_in(folder / "contracts", "d", "t", text)


def inspected(folder: Path, content: bytes, name: str = "a.csv", form: str = "csv", **source: str) -> Finding:
    """The finding on a file of this content."""
    (folder / name).write_bytes(content)
    return inspect_table_file(folder / name, table(folder, form, **source))


def told(finding: Finding) -> tuple[tuple[str, ...], str, int]:
    """What is found of a file that is whole."""
    assert finding.reason is None
    return finding.header, finding.header_line, finding.rows


def picture(kind: str = "PNG", size: tuple[int, int] = (24, 16)) -> bytes:
    """A small picture of noise, the same every time."""
    noise = np.random.default_rng(7).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    {
        "plain": ("a.csv", CSV),
        "without a last line ending": ("a.csv", CSV.rstrip()),
        "with a byte order mark": ("a.csv", b"\xef\xbb\xbf" + CSV),
        "from Windows": ("a.csv", CSV.replace(b"\n", b"\r\n")),
        "gzipped": ("a.csv.gz", gzip.compress(CSV, mtime=0)),
        "gzipped in two members": (
            "a.csv.gz",
            gzip.compress(CSV[:20], mtime=0) + gzip.compress(CSV[20:], mtime=0),
        ),
        "gzipped, its name in capitals in the source": ("a.CSV.gz", gzip.compress(CSV, mtime=0)),
        "in other letters": ("a.csv", CSV.replace(b"one", "naïve 東京 😀".encode())),
        "from an old Mac": ("a.csv", CSV.replace(b"\n", b"\r")),
        "of joined files, each with the header": ("a.csv", CSV.replace(b"2,", b"id,name,extra\n2,")),
        "with lines of spaces": ("a.csv", CSV.replace(b"\n", b"\n  \n") + b"\n\n"),
        "with an empty line below the header": ("a.csv", CSV.replace(b"\n", b"\n\n", 1)),
    }.values(),
)
def test_a_whole_file_is_known_by_its_header(tmp_path: Path, name: str, content: bytes) -> None:
    assert told(inspected(tmp_path, content, name)) == WHOLE


def test_a_letter_on_the_border_of_two_reads_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = CSV.replace(b"one", "é😀".encode() * 20)
    for size in (1, 2, 3, 7):
        monkeypatch.setattr(inspect_file, "CHUNK", size)
        assert told(inspected(tmp_path, content)) == WHOLE
        assert told(inspected(tmp_path, gzip.compress(content, mtime=0), "a.csv.gz")) == WHOLE


def test_a_header_is_split_as_the_contract_says_and_quotes_are_read(tmp_path: Path) -> None:
    finding = inspected(tmp_path, b'id;"name";"of; both"\n1;2;3\n', delimiter=";")
    assert finding.header == ("id", "name", "of; both")
    assert finding.header_line == 'id;"name";"of; both"'


def test_columns_may_be_in_any_order_with_others_between_them(tmp_path: Path) -> None:
    assert inspected(tmp_path, b"x,name,,id,\n1,2,3,4,5\n").header == ("x", "name", "", "id", "")


def test_a_column_may_be_lacking_where_it_is_optional(tmp_path: Path) -> None:
    assert inspected(tmp_path, b"id,name\n1,2\n").reason is None
    assert inspected(tmp_path, b"id,age\n1,2\n").reason == "its header lacks name; it has id, age"


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n  \n", b"\xef\xbb\xbf"])
def test_a_file_without_text_is_empty_and_no_fault(tmp_path: Path, content: bytes) -> None:
    for finding in (
        inspected(tmp_path, content),
        inspected(tmp_path, gzip.compress(content, mtime=0), "a.csv.gz"),
    ):
        assert finding == Finding()
        assert finding.empty


@pytest.mark.parametrize("content", [b"id,name\n", b"id,name", b"id,name\r\n\r\n  \n"])
def test_a_file_of_a_header_only_is_empty_and_no_fault(tmp_path: Path, content: bytes) -> None:
    finding = inspected(tmp_path, content)
    assert told(finding) == (("id", "name"), "id,name", 0)
    assert finding.empty


ZIPPED = gzip.compress(CSV * 500, mtime=0)
DAMAGED = {
    "gzip without its end": ("a.csv.gz", ZIPPED[:-9], "truncated or damaged gzip: it ends before"),
    "gzip without its checksum's last byte": (
        "a.csv.gz",
        ZIPPED[:-1],
        "truncated or damaged gzip: it ends before",
    ),
    "gzip cut in its header": ("a.csv.gz", ZIPPED[:5], "truncated or damaged gzip: it ends before"),
    "gzip with another byte inside": (
        "a.csv.gz",
        ZIPPED[:40] + bytes([ZIPPED[40] ^ 255]) + ZIPPED[41:],
        "truncated or damaged gzip: ",
    ),
    "gzip with the checksum of another file": (
        "a.csv.gz",
        ZIPPED[:-8] + bytes([ZIPPED[-8] ^ 1]) + ZIPPED[-7:],
        "truncated or damaged gzip: Error -3 while decompressing data: incorrect data check",
    ),
    "gzip followed by text": ("a.csv.gz", ZIPPED + b"more", "truncated or damaged gzip: "),
    # Python's gzip passes over these; Spark ends its whole job at them.
    "gzip followed by zeros": ("a.csv.gz", ZIPPED + bytes(512), "truncated or damaged gzip: "),
    "gzip followed by half a member": (
        "a.csv.gz",
        ZIPPED + ZIPPED[:30],
        "truncated or damaged gzip: it ends",
    ),
    "text that is named gzip": ("a.csv.gz", CSV, "truncated or damaged gzip: "),
    "gzip that is named text": ("a.csv", ZIPPED, "binary data, not text: it has NUL bytes"),
    "binary data": ("a.csv", CSV + b"\0\0", "binary data, not text: it has NUL bytes"),
    "UTF-16": ("a.csv", CSV.decode().encode("utf-16"), "binary data, not text: it has NUL bytes"),
    "Latin-1": ("a.csv", CSV + "3,naïve,z\n".encode("latin-1"), "not UTF-8 text: byte 0xef"),
    "half a letter at the end": ("a.csv", CSV + "é".encode()[:1], "not UTF-8 text: byte 0xc3"),
    "a header of another table": ("a.csv", b"a,b\n1,2\n", "its header lacks id, name; it has a, b"),
    "a header in other letters": ("a.csv", b"ID,name\n1,2\n", "its header lacks id; it has ID, name"),
    "no header": ("a.csv", b"1,one,x\n", "its header lacks id, name; it has 1, one, x"),
    "an empty line before the header": ("a.csv", b"\n" + CSV, "its header lacks id, name; it has "),
    "a column twice": ("a.csv", b"id,name,x,id,x\n", "its header names id, x twice"),
    "one endless line": ("a.csv", b"x" * 200_000, "its first line is not a header: field larger than"),
}


@pytest.mark.parametrize(("name", "content", "said"), DAMAGED.values(), ids=DAMAGED.keys())
def test_what_cannot_be_read_whole_is_refused_with_the_reason(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    finding = inspected(tmp_path, content, name)
    assert finding.reason is not None
    assert finding.reason.startswith(said)
    assert "\n" not in finding.reason


def test_damage_far_below_the_header_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_file, "CHUNK", 64)
    for fault in (b"\0", b"\xff"):
        assert inspected(tmp_path, CSV + b"3,three,z\n" * 100 + fault).reason is not None


def test_what_gzip_inflates_is_read_in_pieces() -> None:
    content = bytes(10 * inspect_file.CHUNK)
    pieces = list(inspect_file.unzip([gzip.compress(content, mtime=0)]))
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= inspect_file.CHUNK


def test_unzipping_is_undone_zipping_wherever_the_bytes_are_cut() -> None:
    rng = random.Random(11)
    parts = [rng.randbytes(rng.randrange(200)) for _ in range(5)]
    zipped = b"".join(map(gzip.compress, parts))
    for size in (1, 2, 13, 64, len(zipped)):
        blocks = [zipped[start : start + size] for start in range(0, len(zipped), size)]
        assert b"".join(inspect_file.unzip(blocks)) == b"".join(parts)
    with pytest.raises((EOFError, zlib.error)):
        list(inspect_file.unzip([zipped, b"\0"]))


def test_lines_of_json_need_no_header(tmp_path: Path) -> None:
    lines = b'{"id": 1}\n\n{"id": 1}\r\n   \n{"id": 2}'
    assert told(inspected(tmp_path, lines, "a.jsonl", "jsonl")) == (("id", "name", "age"), "", 3)
    assert inspected(tmp_path, b"\n\n", "a.jsonl", "jsonl").empty
    assert inspected(tmp_path, b'{"id": "\xe9"}\n', "a.jsonl", "jsonl").reason == "not UTF-8 text: byte 0xe9"


def parquet(**columns: object) -> bytes:
    """A Parquet file as a careful writer makes it."""
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream, write_page_checksum=True, compression="none")
    return stream.getvalue()


def test_a_parquet_file_is_known_by_its_schema(tmp_path: Path) -> None:
    finding = inspected(tmp_path, parquet(id=[1, 2], name=["a", "b"]), "a.parquet", "parquet")
    assert (finding.header, finding.rows, finding.reason) == (("id", "name"), 2, None)


def test_parquet_files_of_other_types_have_other_header_lines(tmp_path: Path) -> None:
    # Spark reads the files of one header line together, which it can only where their types agree.
    whole = inspected(tmp_path, parquet(id=[1], name=["a"]), "a.parquet", "parquet")
    text = inspected(tmp_path, parquet(id=["1"], name=["a"]), "a.parquet", "parquet")
    assert whole.header == text.header
    assert whole.header_line != text.header_line


def test_a_parquet_file_without_rows_is_empty_and_no_fault(tmp_path: Path) -> None:
    content = parquet(id=pa.array([], pa.int32()), name=pa.array([], pa.string()))
    finding = inspected(tmp_path, content, "a.parquet", "parquet")
    assert (finding.empty, finding.reason) == (True, None)


def test_a_parquet_file_is_damaged_wherever_a_byte_is_another(tmp_path: Path) -> None:
    whole = parquet(id=list(range(5000)), name=[f"name {n}" for n in range(5000)])
    for place in (len(whole) // 4, len(whole) // 2):
        spoilt = whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :]
        reason = inspected(tmp_path, spoilt, "a.parquet", "parquet").reason
        assert reason is not None
        assert "\n" not in reason


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Parquet file size is 0 bytes"),
        (b"PAR1 but not really", "Parquet magic bytes not found"),
        (parquet(id=[1], name=["a"])[:-20], "Parquet magic bytes not found"),
        (parquet(id=[1]), "its header lacks name; it has id"),
    ],
)
def test_what_is_no_parquet_of_the_table_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    assert (inspected(tmp_path, content, "a.parquet", "parquet").reason or "").startswith(said)


@pytest.mark.parametrize(
    "path", ["a.jpg", "images/010/0108.jpg", "a..b.jpg", " a.jpg ", "ä/😀.jpg", "x" * 251 + ".jpg"]
)
def test_a_picture_below_its_index_may_be_read(path: str) -> None:
    assert safe(path)


@pytest.mark.parametrize(
    "path",
    [
        *("../secret.jpg", "images/../../secret.jpg", "..", "a/.."),
        *("/etc/passwd", "//host/share"),
        # The text is stripped before it is used.
        *(" ../secret.jpg", "\t../secret.jpg", " /etc/passwd"),
        *("", "  ", None, 7, ["a"]),
        # What no disk can have would stop the run, not the row.
        *("a\0.jpg", "x" * 256, "é" * 128, "a/" * 600),
    ],
)
def test_no_other_picture_is(path: object) -> None:
    assert not safe(path)


INDEX = b"""\
article_id,product_group_name,image_path
1,Shoes,a.jpg
2,Shoes, b.jpg \n3,Shoes,
4,Hats,../c.jpg
5
"""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("articles.csv", INDEX),
        ("articles.csv", b"\xef\xbb\xbf" + INDEX.replace(b"\n", b"\r\n")),
        ("articles.csv.gz", gzip.compress(INDEX, mtime=0)),
    ],
)
def test_an_index_names_its_safe_pictures(name: str, content: bytes) -> None:
    assert inspect_index(name, lambda: io.BytesIO(content), PICTURES) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("articles.csv", "ä".encode("latin-1")),
        ("articles.csv", b"a,b\n1,2\n"),
        ("articles.csv", b""),
        ("articles.csv", b"image_path\n" + b"x" * 200_000),
        ("articles.csv.gz", gzip.compress(INDEX, mtime=0)[:-9]),
        ("articles.csv.gz", INDEX),
    ],
)
def test_an_index_that_cannot_be_read_names_none(name: str, content: bytes) -> None:
    assert inspect_index(name, lambda: io.BytesIO(content), PICTURES) == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_a_picture_has_a_width_a_height_and_bytes(tmp_path: Path, kind: str) -> None:
    content = picture(kind, (24, 16))
    (tmp_path / "p").write_bytes(content)
    facts = picture_facts(("a.jpg", "digest", tmp_path / "p"))
    assert facts == {"path": "a.jpg", "sha256": "digest", "width": 24, "height": 16, "bytes": len(content)}


def test_a_picture_that_is_not_there_is_missing() -> None:
    assert picture_facts(("a.jpg", None, None)) == {"path": "a.jpg", "sha256": None, "error": "missing"}


@pytest.mark.parametrize("content", [b"", b"not a picture", picture("JPEG")[:-100], picture("PNG")[:60]])
def test_a_picture_that_cannot_be_decoded_has_an_error_and_no_size(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p").write_bytes(content)
    facts = picture_facts(("a.jpg", "digest", tmp_path / "p"))
    assert facts["error"] not in ("", "missing")
    assert facts["bytes"] == len(content)
    assert "width" not in facts


def test_a_picture_that_would_fill_the_memory_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    (tmp_path / "p").write_bytes(picture())
    assert "decompression bomb" in str(picture_facts(("a.jpg", "digest", tmp_path / "p"))["error"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_no_damage_of_a_picture_stops_the_run(tmp_path: Path, kind: str) -> None:
    rng, whole = random.Random(3), picture(kind)
    broken = 0
    for _ in range(150):
        spoilt = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.4 else whole)
        for _ in range(rng.randrange(1, 6)):
            if spoilt:
                spoilt[rng.randrange(min(len(spoilt), 80))] = rng.randrange(256)
        (tmp_path / "p").write_bytes(spoilt)
        facts = picture_facts(("a.jpg", "digest", tmp_path / "p"))
        assert ("error" in facts) != ("width" in facts)
        broken += "error" in facts
    assert broken > 30


def test_records_are_a_line_each() -> None:
    records: list[dict[str, object]] = [{"a": "x\ny", "b": None}, {"a": "ü", "b": 1}]
    assert [json.loads(line) for line in jsonl(records).splitlines()] == records
