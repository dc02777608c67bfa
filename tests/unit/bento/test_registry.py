"""Versions that never change, one champion, a log that always agrees with it, and the way back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.bento.ledger import Entry, line_of_champions
from services.bento.manifest import ManifestError
from services.bento.registry import OvertakenError, Registry, last_promoted, models
from services.bento.store import LocalStore, RegistryError
from tests import racing
from tests.everything import EVERYTHING
from tests.versions import sign, write_version

START = datetime(2026, 11, 21, tzinfo=UTC)


class Clock:
    """An hour passes at each look."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        self.time += timedelta(hours=1)
        return self.time


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "registry")


@pytest.fixture
def registry(store: LocalStore, tmp_path: Path) -> Registry:
    """A registry with versions a, b and c, and no champion."""
    made = Registry(store, "articles", cache=tmp_path / "cache", clock=Clock())
    for number, version in enumerate("abc"):
        snapshot = {"table": "garments.articles", "snapshot_id": number}
        made.add(write_version(tmp_path / version, version=version, snapshot=snapshot))
    return made


def live(registry: Registry) -> str | None:
    champion = registry.champion()
    return champion.version if champion else None


def damage(store: LocalStore, version: str) -> None:
    with (store.root / "articles" / "versions" / version / "model.onnx").open("ab") as stream:
        stream.write(b"\0")


def test_versions_are_published_whole(registry: Registry, store: LocalStore, tmp_path: Path) -> None:
    assert registry.versions() == ["a", "b", "c"]
    assert registry.manifest("b").snapshot.snapshot_id == 1
    names = {path.name for path in registry.fetch("a").iterdir()}
    assert names == {path.name for path in (tmp_path / "a").iterdir()}
    assert not list((store.root / ".tmp").iterdir())


def test_the_same_version_again_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    assert registry.add(tmp_path / "a") == "a"


def test_a_version_never_changes(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "a" / "card.md").write_text("another card")
    sign(tmp_path / "a")
    with pytest.raises(RegistryError, match="version a of articles has other contents"):
        registry.add(tmp_path / "a")


def test_adding_again_tells_that_the_published_one_is_damaged(
    registry: Registry, store: LocalStore, tmp_path: Path
) -> None:
    damage(store, "a")
    with pytest.raises(ManifestError, match=r"registry/articles/versions/a/model\.onnx has"):
        registry.add(tmp_path / "a")


def test_a_damaged_folder_is_not_published(registry: Registry, tmp_path: Path) -> None:
    folder = write_version(tmp_path / "d", version="d")
    (folder / "model.onnx").write_bytes(b"")
    with pytest.raises(ManifestError):
        registry.add(folder)
    assert registry.versions() == ["a", "b", "c"]


def test_another_models_version_is_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="is of model hats"):
        registry.add(write_version(tmp_path / "hat", model="hats"))


def test_a_version_under_another_name_is_refused(registry: Registry, store: LocalStore) -> None:
    versions = store.root / "articles" / "versions"
    (versions / "a").rename(versions / "z")
    with pytest.raises(ManifestError, match="holds version a of articles"):
        registry.promote("z", None)


@pytest.mark.parametrize("version", ["nope", "../a", "..", ""])
def test_a_version_that_is_not_there_is_refused(registry: Registry, version: str) -> None:
    for ask in (registry.fetch, registry.manifest, lambda name: registry.promote(name, None)):
        with pytest.raises(RegistryError, match="version"):
            ask(version)
    assert registry.history() == []


@pytest.mark.parametrize("model", ["", "../x", "A", "a/b"])
def test_a_model_name_that_plays_with_paths_is_refused(store: LocalStore, model: str) -> None:
    with pytest.raises(RegistryError, match="model"):
        Registry(store, model)


def test_a_promotion_says_what_when_and_why(registry: Registry) -> None:
    assert registry.champion() is None
    verdict = {"macro_f1": {"difference": 0.02, "interval": [0.01, 0.03]}}
    made = registry.promote("a", None, flow_run="run-1", reason="the first", verdict=verdict)
    assert registry.champion() == made == registry.history()[0]
    assert (made.version, made.champion, made.before, made.snapshot_id) == ("a", "a", None, 0)
    assert (made.flow_run, made.reason, made.verdict) == ("run-1", "the first", verdict)
    assert made.when == START + timedelta(hours=1)


def test_a_promotion_against_another_champion_is_overtaken(registry: Registry) -> None:
    registry.promote("a", None)
    for expected in (None, "c"):
        with pytest.raises(OvertakenError, match=f"is a, no longer {expected or 'none'}; b was not made"):
            registry.promote("b", expected)
    with pytest.raises(OvertakenError, match="a is the champion of articles already"):
        registry.promote("a", "a")
    assert len(registry.history()) == 1


def test_a_damaged_version_is_not_promoted(registry: Registry, store: LocalStore) -> None:
    registry.promote("a", None)
    damage(store, "b")
    with pytest.raises(ManifestError, match=r"model\.onnx has"):
        registry.promote("b", "a")
    assert live(registry) == "a"


def test_other_events_keep_the_champion(registry: Registry) -> None:
    registry.append("error", None, reason="no rows")
    made = registry.promote("a", None)
    noted = registry.append("rejected", "b", reason="worse", detail={"bento": "articles:1"})
    assert (noted.champion, noted.before, noted.version) == ("a", "a", "b")
    assert registry.champion() == made
    assert [entry.event for entry in registry.history()] == ["error", "promoted", "rejected"]


@pytest.mark.parametrize("event", ["promoted", "rolled_back"])
def test_an_event_that_moves_the_champion_is_not_appended(registry: Registry, event: Any) -> None:
    with pytest.raises(RegistryError, match="call promote or rollback"):
        registry.append(event, "a")


def test_a_lost_number_is_tried_again_on_what_is_true_then(registry: Registry, store: LocalStore) -> None:
    other = Registry(store, "articles")
    create, interrupted = store.create, list[str]()

    def interrupt(key: str, data: bytes) -> bool:
        if not interrupted:
            interrupted.append(key)
            other_store = LocalStore(store.root)
            Registry(other_store, "articles").promote("a", None)
        return create(key, data)

    store.create = interrupt  # type: ignore[method-assign]
    noted = registry.append("rejected", "b")
    assert (noted.number, noted.champion) == (2, "a")
    assert [entry.event for entry in other.history()] == ["promoted", "rejected"]


def test_rolling_back_goes_further_back_each_time(registry: Registry) -> None:
    for version, expected in (("a", None), ("b", "a"), ("c", "b")):
        registry.promote(version, expected)
    registry.append("rejected", "b")
    first = registry.rollback(flow_run="night", reason="complaints")
    assert (first.event, first.version, first.before, first.snapshot_id) == ("rolled_back", "b", "c", 1)
    assert (first.flow_run, first.reason) == ("night", "complaints")
    assert registry.rollback().version == "a"
    with pytest.raises(RegistryError, match="no champion before a"):
        registry.rollback()
    assert registry.rollback(to="c").version == "c"
    assert registry.rollback().version == "a"


def test_a_promotion_after_a_rollback_has_the_right_way_back(registry: Registry) -> None:
    registry.promote("a", None)
    registry.promote("b", "a")
    registry.rollback()
    registry.promote("c", "a")
    assert registry.rollback().version == "a"


def test_a_rollback_without_a_champion_is_refused(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="no champion before the first"):
        registry.rollback()


def test_a_rollback_to_a_damaged_unknown_or_live_version_is_refused(
    registry: Registry, store: LocalStore
) -> None:
    registry.promote("a", None)
    registry.promote("b", "a")
    damage(store, "a")
    with pytest.raises(ManifestError, match=r"versions/a/model\.onnx"):
        registry.rollback()
    with pytest.raises(ManifestError):
        registry.rollback(to="a")
    with pytest.raises(RegistryError, match="has no version x; the newest are: a, b, c"):
        registry.rollback(to="x")
    with pytest.raises(RegistryError, match="b is the champion of articles already"):
        registry.rollback(to="b")
    assert live(registry) == "b"


def entry(event: Any, champion: str | None) -> Entry:
    return Entry(number=1, event=event, version=champion, champion=champion, before=None, when=START)


@pytest.mark.parametrize(
    ("moves", "line"),
    [
        ("", ""),
        ("a", "a"),
        ("a b", "a b"),
        ("a b <a", "a"),
        ("a b a <b", "a b"),
        ("a b a <b <a", "a"),
        ("a b c <a", "a"),
        ("a b <a c <a", "a"),
        ("a b <c", "a b c"),
        ("a b c <b <c", "a b c"),
    ],
)
def test_the_line_of_champions(moves: str, line: str) -> None:
    entries = [
        entry("rolled_back" if move.startswith("<") else "promoted", move.strip("<"))
        for move in moves.split()
    ]
    noise = [entry("rejected", "x"), *entries, entry("error", None)]
    assert " ".join(line_of_champions(noise)) == line


def test_who_was_champion_then(registry: Registry) -> None:
    first = registry.promote("a", None)
    second = registry.promote("b", "a")
    assert registry.champion(at=START) is None
    assert registry.champion(at=second.when - timedelta(seconds=1)) == first
    assert registry.champion(at=second.when) == second


def test_a_reader_sees_what_another_wrote(registry: Registry, store: LocalStore) -> None:
    reader = Registry(store, "articles")
    assert reader.champion() is None
    made = registry.promote("a", None)
    assert reader.champion() == made


def test_a_damaged_entry_is_named(registry: Registry, store: LocalStore) -> None:
    registry.promote("a", None)
    (store.root / "articles" / "ledger" / "00000001.json").write_text('{"number": 1')
    with pytest.raises(RegistryError, match=r"ledger/00000001\.json is damaged"):
        Registry(store, "articles").champion()


def test_foreign_files_in_the_log_are_not_read(registry: Registry, store: LocalStore) -> None:
    made = registry.promote("a", None)
    (store.root / "articles" / "ledger" / "00000009.json.orig").write_text("")
    assert Registry(store, "articles").champion() == made


def test_models_and_the_one_promoted_last(registry: Registry, store: LocalStore, tmp_path: Path) -> None:
    assert last_promoted(store) is None
    hats = Registry(store, "hats", clock=lambda: START)
    hats.add(write_version(tmp_path / "h", model="hats", version="h"))
    registry.promote("a", None)
    hats.promote("h", None)
    store.create("Not a model/ledger/00000001.json", b"")
    assert models(store) == ["articles", "hats"]
    assert last_promoted(store) == "articles"


def test_an_empty_place_has_no_models(tmp_path: Path) -> None:
    assert models(LocalStore(tmp_path / "none")) == []


SAMPLE = [(1, 16, 6), (2, 6, 5)]
FULL = [(1, 100, 100), (4, 25, 100)]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("processes", "threads", "rounds"), FULL if EVERYTHING else SAMPLE)
def test_each_race_for_the_pointer_has_one_winner(
    tmp_path: Path, processes: int, threads: int, rounds: int
) -> None:
    place = racing.Place(str(tmp_path / "registry"), tmp_path / "cache")
    racing.run(racing.Race(place, processes, threads, rounds), tmp_path / "made")
    assert not list((tmp_path / "registry" / ".tmp").iterdir())
