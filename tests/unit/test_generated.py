"""Generated files are written by one command, and another finds those that are stale."""

import sys
from pathlib import Path

import pytest

from flows import generated
from flows.errors import WatchkeeperError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "folder" / "made.txt"
    path.parent.mkdir()
    monkeypatch.setattr(generated, "CHECKOUT", tmp_path)
    monkeypatch.setattr(generated, "FILES", {path: lambda: "what the code says"})
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["generated", *arguments])
    return generated.main()


def test_the_files_of_the_checkout_are_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--check") == 0


def test_a_missing_and_a_stale_file_are_found_and_written(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = r"folder/made\.txt is stale; `task fix` writes it anew"
    with pytest.raises(WatchkeeperError, match=stale):
        run(monkeypatch, "--check")
    assert run(monkeypatch) == 0
    assert file.read_text() == "what the code says"
    assert run(monkeypatch, "--check") == 0
    file.write_text("another text")
    with pytest.raises(WatchkeeperError, match=stale):
        run(monkeypatch, "--check")
