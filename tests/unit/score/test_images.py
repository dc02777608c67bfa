import os
from pathlib import Path

import pytest

from flows.errors import WatchkeeperError
from flows.etl.land import Landing
from flows.etl.source_files import open_source
from flows.etl.sources import Entry, Sources
from flows.score.images import Mark, article_ids, images_of, land_images
from services.bento.verify import sha256


@pytest.mark.parametrize(
    ("paths", "ids"),
    [
        (["a.jpg", "b/c.d.png"], ["a", "c.d"]),
        (["x/1.jpg", "y/1.jpg", "2.jpg"], ["x/1.jpg", "y/1.jpg", "2"]),
        (["1.jpg", "1.png"], ["1.jpg", "1.png"]),
        (["1.jpg", "1.png", "1.jpg.png"], ["1.jpg", "1.png", "1.jpg.png"]),
    ],
)
def test_an_id_is_the_stem_unless_two_pictures_would_share_it(paths: list[str], ids: list[str]) -> None:
    assert list(article_ids(paths).values()) == ids
    assert article_ids(reversed(paths)) == article_ids(paths)


def test_a_mark_can_be_read_back_whatever_the_id() -> None:
    mark = Mark("v1", 12, 1795277713915251041, "a folder/with a  name\n.jpg")
    assert Mark.parse(str(mark)) == mark


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two pictures, and what is none."""
    for name in ("a.jpg", "deep/b.WEBP", "notes.txt", ".hidden.jpg"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "in"


def land(source: Path, known: Sources, version: str = "v1", replay: bool = False) -> Landing:
    return land_images(open_source(str(source)), known, version, replay)


def paths(landing: Landing) -> list[str]:
    return [arrival.path for arrival in landing.arrivals]


def committed(source: Path, landing: Landing) -> Sources:
    """What the table would say once these are scored."""
    entries = {a.path: Entry(sha256=sha256(source / a.path), version=a.version) for a in landing.arrivals}
    return Sources(committed=entries)


def test_pictures_are_told_by_their_ending_in_any_case(source: Path) -> None:
    assert sorted(images_of(open_source(str(source)))) == ["a.jpg", "deep/b.WEBP"]


def test_a_source_without_a_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(WatchkeeperError, match=rf"no picture .* below {tmp_path}"):
        images_of(open_source(str(tmp_path)))


def test_what_is_scored_is_not_scored_again(source: Path) -> None:
    first = land(source, Sources())
    assert paths(first) == ["a.jpg", "deep/b.WEBP"]
    again = land(source, committed(source, first))
    assert (paths(again), again.skipped) == ([], 2)


def test_another_version_or_other_content_is(source: Path) -> None:
    known = committed(source, land(source, Sources()))
    assert paths(land(source, known, "v2")) == ["a.jpg", "deep/b.WEBP"]
    (source / "a.jpg").write_bytes(b"other")
    assert paths(land(source, known)) == ["a.jpg"]


def test_another_time_alone_is_no_change(source: Path) -> None:
    known = committed(source, land(source, Sources()))
    os.utime(source / "a.jpg", (1, 1))
    assert paths(land(source, known)) == []
    assert paths(land(source, known, "v2")) == ["a.jpg", "deep/b.WEBP"]


def test_a_picture_whose_id_is_no_longer_its_own_is_scored_again(source: Path) -> None:
    known = committed(source, land(source, Sources()))
    (source / "deep" / "a.png").write_bytes(b"new")
    landing = land(source, known)
    assert [Mark.parse(a.version).article_id for a in landing.arrivals] == ["a.jpg", "deep/a.png"]


def test_an_id_is_not_that_of_a_picture_of_an_earlier_source(source: Path, tmp_path: Path) -> None:
    known = committed(source, land(source, Sources()))
    (tmp_path / "other" / "shop").mkdir(parents=True)
    (tmp_path / "other" / "shop" / "a.jpg").write_bytes(b"another article")
    (arrival,) = land(tmp_path / "other", known).arrivals
    assert Mark.parse(arrival.version).article_id == "shop/a.jpg"


def test_a_quarantined_picture_is_tried_again_when_asked(source: Path) -> None:
    known = committed(source, land(source, Sources()))
    known = known.model_copy(update={"quarantined": {"a.jpg": "run"}})
    assert paths(land(source, known)) == []
    assert paths(land(source, known, replay=True)) == ["a.jpg"]
