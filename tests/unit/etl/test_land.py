"""What arrived is kept under its content, once; what the table holds is not brought again."""

import gzip
import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flows.errors import WatchkeeperError
from flows.etl import land as landing
from flows.etl import source_files
from flows.etl.contract import Contract
from flows.etl.land import Arrival, Landing, arrive, land
from flows.etl.raw_zone import raw_path
from flows.etl.source_files import open_source
from flows.etl.sources import Entry, Sources
from tests.factories import contract_in, shipped

PICTURES = shipped("garments.articles")
INDEX = "article_id,product_group_name,image_path\n"


@pytest.fixture
def contract(tmp_path: Path) -> Contract:
    text = {
        "description": "x",
        "source": {"pattern": "*.csv*", "format": "csv"},
        "columns": {"id": {"type": "int"}},
        "duplicates": "keep",
    }
    return contract_in(tmp_path / "contracts", "d", "t", text)


def put(folder: Path, **files: str | bytes) -> Path:
    """Write CSV files of a column `id`; `a="1"` is `a.csv` with one row, bytes are written as they are."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.csv").write_bytes(
            content if isinstance(content, bytes) else f"id\n{content}\n".encode()
        )
    return folder


def bring(contract: Contract, source: Path | str, known: Sources | None = None) -> Landing:
    """Land the source in a raw zone that is beside it."""
    raw_zone = Path(source).parent / "raw"
    return land(contract, open_source(str(source)), known or Sources(), raw_zone)


def held_after(*landings: Landing) -> Sources:
    """What the table holds once each of these landings is committed."""
    known = Sources()
    for done in landings:
        entries = {
            a.path: Entry(sha256=a.sha256, version=a.version, reason=a.finding.reason) for a in done.arrivals
        }
        change = Sources(
            committed={path: e for path, e in entries.items() if not e.reason},
            rejected={path: e for path, e in entries.items() if e.reason},
        )
        known = known.after(change)
    return known


def paths(arrivals: list[Arrival]) -> list[str]:
    return [arrival.path for arrival in arrivals]


def jpeg(path: Path, colour: str = "red") -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), colour).save(path)
    return path.read_bytes()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Something happens between a file's hashing and its copying."""
    identify = landing.identify

    def and_then(*args: Any) -> Any:
        seen = identify(*args)
        happens()
        return seen

    monkeypatch.setattr(landing, "identify", and_then)


def test_a_new_file_is_kept_under_its_content(tmp_path: Path, contract: Contract) -> None:
    source = put(tmp_path / "in", a="1")
    [arrival] = bring(contract, source).arrivals
    content = (source / "a.csv").read_bytes()
    assert (arrival.path, arrival.sha256, arrival.version) == ("a.csv", digest(content), digest(content))
    assert arrival.raw.read_bytes() == content
    assert arrival.raw.parent == tmp_path / "raw" / arrival.sha256[:2]
    assert arrival.bytes == len(content)
    assert arrival.finding.header == ("id",)


def test_what_is_kept_is_read_only_and_no_link_to_its_source(tmp_path: Path, contract: Contract) -> None:
    source = put(tmp_path / "in", a="1")
    [arrival] = bring(contract, source).arrivals
    before = arrival.raw.read_bytes()
    with (source / "a.csv").open("r+b") as stream:  # in place: the same inode
        stream.write(b"xx\n9")
    assert arrival.raw.read_bytes() == before
    assert Path(str(arrival.raw)).stat().st_mode & 0o222 == 0


def test_files_come_in_the_order_of_their_paths_with_progress(tmp_path: Path, contract: Contract) -> None:
    source, seen = put(tmp_path / "in", c="3", a="1", b="2"), []
    done = land(
        contract, open_source(str(source)), Sources(), tmp_path / "raw", lambda n, of: seen.append((n, of))
    )
    assert paths(done.arrivals) == ["a.csv", "b.csv", "c.csv"]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_what_the_table_holds_is_skipped(tmp_path: Path, contract: Contract) -> None:
    source = put(tmp_path / "in", a="1")
    first = bring(contract, source)
    put(source, b="2")
    second = bring(contract, source, held_after(first))
    assert (paths(second.arrivals), second.skipped) == (["b.csv"], 1)


def test_new_content_under_a_known_path_is_a_correction(tmp_path: Path, contract: Contract) -> None:
    source = put(tmp_path / "in", a="1")
    first = bring(contract, source)
    second = bring(contract, put(source, a="2"), held_after(first))
    assert (paths(second.arrivals), second.skipped) == (["a.csv"], 0)
    assert first.arrivals[0].raw.exists()  # a rebuild of an older snapshot may need it


def test_a_copy_of_what_is_held_is_skipped_under_any_name(tmp_path: Path, contract: Contract) -> None:
    source = put(tmp_path / "in", a="1")
    first = bring(contract, source)
    put(source, copy="1")
    assert bring(contract, source, held_after(first)).skipped == 2
    (source / "a.csv").unlink()
    assert bring(contract, source, held_after(first)).skipped == 1


def test_two_new_files_of_one_content_are_one(tmp_path: Path, contract: Contract) -> None:
    done = bring(contract, put(tmp_path / "in", b="1", a="1", c="2"))
    assert (paths(done.arrivals), done.skipped) == (["a.csv", "c.csv"], 1)


def test_a_rotated_file_keeps_its_rows_under_its_new_name(tmp_path: Path, contract: Contract) -> None:
    source = put(tmp_path / "in", log="1")
    first = bring(contract, source)
    (source / "log.csv").rename(source / "log-1.csv")
    second = bring(contract, put(source, log="2"), held_after(first))
    assert (paths(second.arrivals), second.skipped) == (["log-1.csv", "log.csv"], 0)
    assert bring(contract, source, held_after(first, second)).skipped == 2


def test_a_rotated_file_is_a_copy_where_its_successor_cannot_be_read(
    tmp_path: Path, contract: Contract
) -> None:
    source = put(tmp_path / "in", log="1")
    first = bring(contract, source)
    (source / "log.csv").rename(source / "log-1.csv")
    second = bring(contract, put(source, log=b"\0"), held_after(first))
    # The table still holds the rows under the old name: under the new one they would be there twice.
    assert (paths(second.readable), paths(second.rejected), second.skipped) == ([], ["log.csv"], 1)


def test_a_copy_that_sorts_first_does_not_take_the_place_of_what_is_held(
    tmp_path: Path, contract: Contract
) -> None:
    source = put(tmp_path / "in", b="1")
    first = bring(contract, source)
    assert bring(contract, put(source, a="1"), held_after(first)).arrivals == []


def test_a_file_that_cannot_be_read_is_refused_once_and_taken_when_mended(
    tmp_path: Path, contract: Contract
) -> None:
    source = put(tmp_path / "in", a=b"\0\0", b="2")
    first = bring(contract, source)
    assert (paths(first.readable), paths(first.rejected)) == (["b.csv"], ["a.csv"])
    assert bring(contract, source, held_after(first)).arrivals == []
    third = bring(contract, put(source, a="1"), held_after(first))
    assert (paths(third.readable), third.skipped) == (["a.csv"], 1)


def test_a_correction_that_cannot_be_read_is_not_tried_again_nor_is_what_it_corrects(
    tmp_path: Path, contract: Contract
) -> None:
    source = put(tmp_path / "in", a="1")
    first = bring(contract, source)
    second = bring(contract, put(source, a=b"\0"), held_after(first))
    assert paths(second.rejected) == ["a.csv"]
    known = held_after(first, second)
    assert bring(contract, source, known).skipped == 1
    assert bring(contract, put(source, a="1"), known).skipped == 1


def test_hidden_files_and_other_patterns_are_not_seen(tmp_path: Path, contract: Contract) -> None:
    source = put(tmp_path / "in", a="1")
    for name in (".a.csv", ".half/b.csv", "sub/.c.csv", ".a.csv.tmp", "notes.txt", "_SUCCESS"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("id\n9\n")
    assert paths(bring(contract, source).arrivals) == ["a.csv"]


def test_folders_below_are_seen(tmp_path: Path, contract: Contract) -> None:
    source = put(tmp_path / "in", a="1")
    put(source / "2010", b="2")
    assert paths(bring(contract, source).arrivals) == ["2010/b.csv", "a.csv"]


def test_what_a_killed_run_left_is_neither_seen_nor_in_the_way(tmp_path: Path, contract: Contract) -> None:
    source = put(tmp_path / "in", a="1")
    sha256 = digest((source / "a.csv").read_bytes())
    left = tmp_path / "raw" / sha256[:2] / ".0123456789abcdef.tmp"
    left.parent.mkdir(parents=True)
    left.write_text("id\n7")
    [arrival] = bring(contract, source).arrivals
    assert arrival.raw.read_bytes() == (source / "a.csv").read_bytes()
    assert left.read_text() == "id\n7"  # maintenance removes it once it is old


def test_landing_leaves_nothing_but_what_arrived(tmp_path: Path, contract: Contract) -> None:
    done = bring(contract, put(tmp_path / "in", a="1", b="1", c="2"))
    files = {path for path in (tmp_path / "raw").rglob("*") if path.is_file()}
    assert files == {arrival.raw for arrival in done.arrivals}


def test_a_file_that_changes_while_it_is_landed_is_refused(
    tmp_path: Path, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = put(tmp_path / "in", a="1")
    meanwhile(monkeypatch, lambda: put(source, a="12"))
    with pytest.raises(WatchkeeperError, match=r"a\.csv changed while it was landed; run again"):
        bring(contract, source)
    assert [path for path in (tmp_path / "raw").rglob("*") if path.is_file()] == []


def test_a_file_that_vanishes_while_it_is_landed_is_named(
    tmp_path: Path, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = put(tmp_path / "in", a="1")
    meanwhile(monkeypatch, (source / "a.csv").unlink)
    with pytest.raises(WatchkeeperError, match=r"a\.csv cannot be copied into the raw zone"):
        bring(contract, source)


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: source_files.Source, path: str) -> io.BytesIO:
        raise PermissionError(13, "Permission denied")

    source = put(tmp_path / "in", a="1")
    monkeypatch.setattr(source_files.Source, "open", refuse)
    with pytest.raises(WatchkeeperError, match=r"in/a\.csv cannot be read: .*Permission denied"):
        bring(contract, source)


def test_pictures_land_beside_their_index(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    red = jpeg(folder / "images" / "a.jpg")
    (folder / "articles.csv").write_text(INDEX + "1,Shoes,images/a.jpg\n2,Shoes,images/none.jpg\n")
    [arrival] = bring(PICTURES, folder).arrivals
    assert [dict(fact) for fact in arrival.finding.pictures] == [
        {"path": "images/a.jpg", "sha256": digest(red), "width": 8, "height": 6, "bytes": len(red)},
        {"path": "images/none.jpg", "sha256": None, "error": "missing"},
    ]
    assert raw_path(tmp_path / "raw", digest(red), "a.jpg").read_bytes() == red


def test_pictures_of_a_gzipped_index_are_found(tmp_path: Path) -> None:
    folder, contract = tmp_path / "in", shipped("hm.articles")
    columns = [column.source or name for name, column in contract.columns.items() if column.is_read]
    row = ["images/a.jpg" if name == "image_path" else "0108775015" for name in columns]
    red = jpeg(folder / "images" / "a.jpg")
    (folder / "articles.csv.gz").write_bytes(
        gzip.compress(f"{','.join(columns)}\n{','.join(row)}\n".encode(), mtime=0)
    )
    [arrival] = bring(contract, folder).arrivals
    assert arrival.finding.pictures[0]["sha256"] == digest(red)


def test_one_picture_in_many_rows_is_looked_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    jpeg(folder / "a.jpg")
    (folder / "articles.csv").write_text(INDEX + "1,Shoes,a.jpg\n" * 5)
    assert len(bring(PICTURES, folder).arrivals[0].finding.pictures) == 1


def test_another_picture_under_the_same_index_is_a_correction(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    jpeg(folder / "a.jpg")
    (folder / "articles.csv").write_text(INDEX + "1,Shoes,a.jpg\n")
    first = bring(PICTURES, folder)
    assert bring(PICTURES, folder, held_after(first)).skipped == 1
    jpeg(folder / "a.jpg", "blue")
    second = bring(PICTURES, folder, held_after(first))
    assert paths(second.arrivals) == ["articles.csv"]
    assert second.arrivals[0].sha256 == first.arrivals[0].sha256
    assert second.arrivals[0].version != first.arrivals[0].version


def test_a_picture_that_arrives_late_is_a_correction(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "articles.csv").write_text(INDEX + "1,Shoes,a.jpg\n")
    first = bring(PICTURES, folder)
    jpeg(folder / "a.jpg")
    assert "error" not in bring(PICTURES, folder, held_after(first)).arrivals[0].finding.pictures[0]


def test_a_picture_outside_of_the_source_is_never_read(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    secret = jpeg(tmp_path / "secret.jpg")
    jpeg(folder / "ok.jpg", "green")
    rows = ["../secret.jpg", " ../secret.jpg", "x/../../secret.jpg", str(tmp_path / "secret.jpg"), "ok.jpg"]
    (folder / "articles.csv").write_text(INDEX + "".join(f"1,Shoes,{path}\n" for path in rows))
    [arrival] = bring(PICTURES, folder).arrivals
    assert [fact["path"] for fact in arrival.finding.pictures] == ["ok.jpg"]
    assert not raw_path(tmp_path / "raw", digest(secret), "secret.jpg").exists()


def test_a_path_that_is_a_folder_is_no_picture(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "a.jpg").mkdir(parents=True)
    (folder / "articles.csv").write_text(INDEX + "1,Shoes,a.jpg\n2,Shoes,articles.csv/b.jpg\n")
    facts = bring(PICTURES, folder).arrivals[0].finding.pictures
    assert [fact["error"] for fact in facts] == ["missing", "missing"]


def test_a_rebuild_brings_a_file_back_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    jpeg(folder / "a.jpg")
    (folder / "articles.csv").write_text(INDEX + "1,Shoes,a.jpg\n2,Hats,b.jpg\n")
    [first] = bring(PICTURES, folder).arrivals
    pictures = tuple((str(fact["path"]), fact["sha256"]) for fact in first.finding.pictures)
    for path in folder.iterdir():
        path.unlink()
    again = arrive(PICTURES, first.path, first.sha256, first.version, first.raw, pictures)  # type: ignore[arg-type]
    assert again == first


def test_a_name_may_have_spaces_commas_and_umlauts(tmp_path: Path, contract: Contract) -> None:
    source = put(tmp_path / "in", **{"ä": "1", "sp ace, comma": "2"})
    assert paths(bring(contract, source).arrivals) == ["sp ace, comma.csv", "ä.csv"]


def test_a_name_that_is_not_utf_8_is_told_as_it_is(tmp_path: Path, contract: Contract) -> None:
    source = put(tmp_path / "in", a="1")
    Path(os.fsdecode(os.fsencode(source) + b"/b\xff.csv")).write_text("id\n1\n")
    with pytest.raises(WatchkeeperError, match=r"in/b\\xff\.csv' is not UTF-8; rename that file"):
        bring(contract, source)
