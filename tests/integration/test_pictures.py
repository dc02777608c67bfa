"""An index of pictures: the facts of each, and the pixels that a snapshot was made of."""

import csv
import io
import random
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl.plan import Again
from flows.etl.raw_zone import raw_path
from tests.factories import (
    ask,
    bad_rows,
    data_files,
    run_table,
    shipped,
    sources_of,
    table_of,
    write_csv,
)

CONTRACT = shipped("garments.articles")
TABLE = CONTRACT.identifier
HEADER = ["article_id", "product_group_name", "image_path"]
LENIENT = CONTRACT.model_copy(
    update={"table_rules": CONTRACT.table_rules.model_copy(update={"max_quarantined_ratio": 1})}
)


def jpeg(seed: int, width: int = 24, height: int = 16) -> bytes:
    """A small picture, another one for each seed."""
    chance = random.Random(seed)
    picture = Image.new("RGB", (width, height), tuple(chance.randrange(256) for _ in range(3)))
    ImageDraw.Draw(picture).ellipse([2, 2, 2 + chance.randrange(4, 20), 14], fill="white")
    stream = io.BytesIO()
    picture.save(stream, "JPEG")
    return stream.getvalue()


def draw(folder: Path, *names: str) -> list[list[str]]:
    """Draw pictures; returns the rows of an index that names them."""
    rows = []
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(number))
        rows.append([f"{number:04}", "shirt" if number % 2 else "dress", name])
    return rows


def pixels_of(settings: Settings, row: tuple[str, str]) -> bytes:
    """The picture that a row's path and sha256 stand for, from the raw zone."""
    path, sha256 = row
    return raw_path(settings.raw, sha256, path).read_bytes()


def test_each_row_has_the_facts_of_its_picture(settings: Settings, tmp_path: Path) -> None:
    rows = draw(tmp_path / "in", "images/a.jpg", "images/b.JPG", "c d#é.jpg")
    (tmp_path / "in" / "images" / "b.JPG").write_bytes(jpeg(7, width=40, height=32))
    write_csv(tmp_path / "in" / "articles.csv", rows, HEADER)
    result = run_table(settings, CONTRACT, tmp_path / "in")
    assert (result.rows_committed, result.rows_quarantined) == (3, 0)
    columns = "article_id, image_width, image_height, image_bytes"
    sizes = {name: (tmp_path / "in" / name).stat().st_size for _, _, name in rows}
    assert ask(settings, f"SELECT {columns} FROM {TABLE} ORDER BY 1") == [
        ("0000", 24, 16, sizes["images/a.jpg"]),
        ("0001", 40, 32, sizes["images/b.JPG"]),
        ("0002", 24, 16, sizes["c d#é.jpg"]),
    ]
    for row in ask(settings, f"SELECT image_path, image_sha256 FROM {TABLE}"):
        assert pixels_of(settings, row) == (tmp_path / "in" / row[0]).read_bytes()
    groups = {file.partition[0] for file in data_files(settings, TABLE).values()}
    assert groups == {"shirt", "dress"}
    assert run_table(settings, CONTRACT, tmp_path / "in").outcome == "unchanged"


def test_a_row_without_a_picture_that_can_be_seen_is_quarantined(settings: Settings, tmp_path: Path) -> None:
    rows = draw(tmp_path / "in", "a.jpg", "cut.jpg", "text.jpg", "bomb.png", "gone.jpg")
    source = tmp_path / "in"
    (source / "cut.jpg").write_bytes(jpeg(1, 400, 300)[:-200])
    (source / "text.jpg").write_text("not a picture")
    (source / "bomb.png").write_bytes(a_png_that_claims_to_be(60_000, 60_000))
    (source / "gone.jpg").unlink()
    outside = write_csv(tmp_path / "secret.jpg", [])
    paths = ["", "../secret.jpg", str(outside), "sub/../../secret.jpg", "x" * 3000, "."]
    rows += [[f"x{number}", "shirt", path] for number, path in enumerate(paths)]
    write_csv(source / "articles.csv", rows, HEADER)
    result = run_table(settings, LENIENT, source)
    assert [row[0] for row in ask(settings, f"SELECT article_id FROM {TABLE}")] == ["0000"]
    assert result.quarantined_by_rule == {"picture_unreadable": 3, "picture_missing": 7}
    found = {row[3].split(",")[0]: (row[1], row[2]) for row in bad_rows(settings, CONTRACT)}
    assert found["0001"] == (3, "picture_unreadable")
    assert found["0004"] == (6, "picture_missing")


def a_png_that_claims_to_be(width: int, height: int) -> bytes:
    """A decompression bomb's first bytes."""
    stream = io.BytesIO()
    Image.new("1", (1, 1)).save(stream, "PNG")
    content = bytearray(stream.getvalue())
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return bytes(content)


def test_too_many_missing_pictures_stop_the_run(settings: Settings, tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "articles.csv", [["1", "shirt", ""], ["2", "shirt", ""]], HEADER)
    with pytest.raises(WatchkeeperError, match="picture_missing 2"):
        run_table(settings, CONTRACT, tmp_path / "in")


def test_a_picture_overwritten_in_place_is_a_new_snapshot_and_the_old_one_keeps_its_pixels(
    settings: Settings, tmp_path: Path
) -> None:
    rows = draw(tmp_path / "in", "a.jpg", "b.jpg")
    write_csv(tmp_path / "in" / "articles.csv", rows, HEADER)
    first = run_table(settings, CONTRACT, tmp_path / "in")
    with (tmp_path / "in" / "a.jpg").open("r+b") as stream:
        stream.write(jpeg(99, 30, 30))
        stream.truncate()
    second = run_table(settings, CONTRACT, tmp_path / "in")
    assert second.outcome == "committed"
    assert run_table(settings, CONTRACT, tmp_path / "in").outcome == "unchanged"
    sql = f"SELECT image_path, image_sha256 FROM {TABLE} ORDER BY 1"
    old, new = (ask(settings, sql, str(result.snapshot_id)) for result in (first, second))
    assert old[1] == new[1]
    assert pixels_of(settings, old[0]) == jpeg(0)
    assert pixels_of(settings, new[0]) == jpeg(99, 30, 30)
    assert len(table_of(settings, TABLE).snapshots()) == 2


def test_a_picture_that_arrives_later_brings_its_row_in(settings: Settings, tmp_path: Path) -> None:
    rows = draw(tmp_path / "in", "a.jpg", "late.jpg")
    (tmp_path / "in" / "late.jpg").unlink()
    write_csv(tmp_path / "in" / "articles.csv", rows, HEADER)
    assert run_table(settings, LENIENT, tmp_path / "in").rows_quarantined == 1
    (tmp_path / "in" / "late.jpg").write_bytes(jpeg(1))
    result = run_table(settings, LENIENT, tmp_path / "in")
    assert (result.rows_committed, result.rows_quarantined) == (2, 0)
    assert bad_rows(settings, CONTRACT) == []


def test_an_index_may_be_gzipped_and_its_pictures_are_found_beside_it(
    settings: Settings, tmp_path: Path
) -> None:
    contract = shipped("hm.articles")
    rows = draw(tmp_path / "in" / "2020", "images/010/0.jpg")
    columns = [column.source or name for name, column in contract.columns.items() if column.is_read]
    row = dict.fromkeys(columns, "") | {"product_group_name": "Shoes", "image_path": rows[0][2]}
    write_csv(
        tmp_path / "in" / "2020" / "articles.csv.gz",
        [list((row | {"article_id": "0123456789"}).values())],
        columns,
    )
    loose = contract.model_copy(
        update={"source": contract.source.model_copy(update={"pattern": "*/articles*.csv*"})}
    )
    assert run_table(settings, loose, tmp_path / "in").rows_committed == 1
    assert ask(settings, "SELECT image_width, image_height FROM hm.articles") == [(24, 16)]


def test_a_refused_index_that_is_replayed_finds_its_pictures(settings: Settings, tmp_path: Path) -> None:
    draw(tmp_path / "in", "a.jpg", "b.jpg")
    write_csv(tmp_path / "in" / "1" / "articles.csv", [["1", "shirt", "a.jpg"]], HEADER)
    (tmp_path / "in" / "1" / "a.jpg").write_bytes(jpeg(1))
    write_csv(tmp_path / "in" / "2" / "articles.csv", [["2", "b.jpg"]], [HEADER[0], HEADER[2]])
    (tmp_path / "in" / "2" / "b.jpg").write_bytes(jpeg(2))
    loose = CONTRACT.model_copy(
        update={"source": CONTRACT.source.model_copy(update={"pattern": "*articles.csv"}), "rules": []}
    )
    assert run_table(settings, loose, tmp_path / "in").files_quarantined == 1
    (tmp_path / "in" / "2" / "b.jpg").unlink()
    label = loose.columns["product_group_name"].model_copy(update={"optional": True})
    patient = loose.model_copy(update={"columns": loose.columns | {"product_group_name": label}})
    run_table(settings, patient, None, Again(quarantined=True))
    assert sources_of(settings, CONTRACT).rejected == {}
    [row] = ask(settings, f"SELECT image_path, image_sha256 FROM {TABLE} WHERE article_id = '2'")
    assert pixels_of(settings, row) == jpeg(2)


def test_a_path_with_spaces_and_quotes_in_the_index_is_the_same_path(
    settings: Settings, tmp_path: Path
) -> None:
    draw(tmp_path / "in", 'a "b", c.jpg')
    with (tmp_path / "in" / "articles.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([HEADER, ["1", "shirt", ' a "b", c.jpg ']])
    assert run_table(settings, CONTRACT, tmp_path / "in").rows_committed == 1
