"""A source is whatever a person may point at: a folder, a file, a glob."""

from pathlib import Path

import pytest

from flows.errors import WatchkeeperError
from flows.etl.source_files import open_source, refuse_empty_source
from tests.factories import shipped


def put(folder: Path, *names: str) -> Path:
    """Empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


@pytest.mark.parametrize(
    ("source", "found"),
    {
        "a folder": ("{in}", ["2010/c.csv", "a.csv", "b.csv", "n.txt"]),
        "a folder with a slash": ("{in}/", ["2010/c.csv", "a.csv", "b.csv", "n.txt"]),
        "a file": ("{in}/a.csv", ["a.csv"]),
        "a file further down": ("{in}/2010/c.csv", ["c.csv"]),
        "a glob": ("{in}/*.csv", ["2010/c.csv", "a.csv", "b.csv"]),
        "a glob of one letter": ("{in}/?.csv", ["a.csv", "b.csv"]),
        "a glob of letters": ("{in}/[ab].*", ["a.csv", "b.csv"]),
        "a glob of folders": ("{in}/20*/c.csv", ["2010/c.csv"]),
        "a glob without a folder": ("*.csv", ["2010/c.csv", "a.csv", "b.csv"]),
        "a glob in this folder": ("./b*", ["b.csv"]),
        "a relative file": ("a.csv", ["a.csv"]),
        "this folder": (".", ["2010/c.csv", "a.csv", "b.csv", "n.txt"]),
        "a glob of nothing": ("{in}/z*", []),
    }.values(),
)
def test_a_source_is_a_folder_a_file_or_a_glob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, found: list[str]
) -> None:
    folder = put(tmp_path / "in", "a.csv", "b.csv", "2010/c.csv", "n.txt")
    monkeypatch.chdir(folder)
    assert open_source(source.replace("{in}", str(folder))).list("*") == found


def test_the_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "in", "a.csv")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_source("~/in").list("*") == open_source("~/in/*.csv").list("*") == ["a.csv"]


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WatchkeeperError, match="nowhere does not exist; --source takes a folder, a glob"):
        open_source(str(tmp_path / "nowhere"))


def test_a_source_without_a_file_of_the_data_set_says_what_was_looked_for(
    tmp_path: Path,
) -> None:
    folder = put(tmp_path / "in", "notes.txt")
    contract = shipped("garments.articles")
    with pytest.raises(WatchkeeperError, match=r"no file of .*in matches .*: articles\.csv \(articles\)"):
        refuse_empty_source([contract], str(folder))
    refuse_empty_source([contract], str(put(folder, "articles.csv")))
