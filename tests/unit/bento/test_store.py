"""What a store promises: a key exactly once and whole, folders whole or not at all, no traces of the dead."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from services.bento import files, store
from services.bento.store import LocalStore, MissingError, RegistryError, open_store


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "registry")


def leftovers(local: LocalStore) -> list[Path]:
    return list((local.root / ".tmp").glob("*"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "v1"
    (made / "pictures").mkdir(parents=True)
    (made / "manifest.json").write_text("{}")
    (made / "pictures" / "confusion.png").write_bytes(b"png")
    return made


def test_a_key_is_made_once_and_stays(local: LocalStore) -> None:
    assert local.create("m/ledger/1.json", b"first")
    assert not local.create("m/ledger/1.json", b"second")
    assert local.read("m/ledger/1.json") == b"first"
    assert not leftovers(local)


def test_of_many_who_make_a_key_one_wins(local: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path, **_: False)  # nobody is warned: all reach the link
    with ThreadPoolExecutor(20) as pool:
        for number in range(20):
            key = f"m/{number}.json"
            won = list(pool.map(lambda racer, key=key: local.create(key, str(racer).encode()), range(20)))
            assert won.count(True) == 1
            assert int(local.read(key)) == won.index(True)
    assert not leftovers(local)


def test_a_failed_write_shows_nothing(local: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space"):
        local.create("m/1.json", b"x")
    assert local.list("") == []
    assert not leftovers(local)


def test_a_file_system_without_hard_links_is_named(
    local: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(RegistryError, match="hard links, or on s3://"):
        local.create("m/1.json", b"x")


def test_what_is_not_there_is_missing(local: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"m/1\.json is not there"):
        local.read("m/1.json")
    with pytest.raises(MissingError):
        local.fetch_folder("m/versions/v1", tmp_path / "cache")
    assert local.list("m/ledger") == []


@pytest.mark.parametrize("key", ["", "..", "a/../b", "/etc/passwd", "a//b", "a/./b", "a\0b"])
def test_a_key_that_plays_with_paths_is_refused(local: LocalStore, key: str) -> None:
    with pytest.raises(RegistryError, match="no key"):
        local.read(key)


def test_keys_are_listed_in_order_and_behind_a_key(local: LocalStore) -> None:
    for number in (2, 10, 1):
        local.create(f"m/ledger/{number:08}.json", b"")
    local.create("mm/ledger/00000001.json", b"")
    assert [key[-6] for key in local.list("m/ledger")] == ["1", "2", "0"]
    assert local.list("m/ledger", "m/ledger/00000002.json") == ["m/ledger/00000010.json"]
    assert len(local.list("")) == 4


def test_a_folder_is_added_once_and_fetched_in_place(local: LocalStore, folder: Path, tmp_path: Path) -> None:
    assert local.add_folder("m/versions/v1", folder)
    assert not local.add_folder("m/versions/v1", folder)
    fetched = local.fetch_folder("m/versions/v1", tmp_path / "cache")
    assert fetched == local.root / "m/versions/v1"
    assert (fetched / "pictures" / "confusion.png").read_bytes() == b"png"
    assert not leftovers(local)


def test_a_folder_that_another_adds_meanwhile_stays(
    local: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, other = files.copy_folder, LocalStore(local.root)

    def slow(source: Path, target: Path) -> None:
        copy(source, target)
        monkeypatch.setattr(store, "copy_folder", copy)
        assert other.add_folder("m/versions/v1", folder)

    monkeypatch.setattr(store, "copy_folder", slow)
    assert not local.add_folder("m/versions/v1", folder)
    assert not leftovers(local)


def test_a_sweep_takes_the_dead_and_leaves_the_living(local: LocalStore) -> None:
    scratch = files.Scratch(local.root)
    with scratch.path() as living:
        living.mkdir()
        (living.parent / "dead").mkdir()
        local.sweep()
        assert living.exists()
    assert [path.name for path in leftovers(local)] == ["dead"]
    local.sweep()
    assert not leftovers(local)


def test_a_location_names_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    opened: Any = open_store(tmp_path)
    assert opened.root == tmp_path
    opened = open_store("s3://bucket/some/prefix")
    assert opened._url("k") == "s3://bucket/some/prefix/k"
    with pytest.raises(RegistryError, match="no bucket"):
        open_store("s3://")
