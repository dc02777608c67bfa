"""Which source files a table holds, and what of them a commit replaces."""

from pathlib import Path

import pytest

from flows.etl.sources import Entry, Sources

A1, A2, B1 = (Entry(sha256=name, version=name) for name in ("a1", "a2", "b1"))
BROKEN = Entry(sha256="bad", version="bad", reason="truncated")


def test_a_new_file_joins_what_is_held() -> None:
    after = Sources(committed={"a": A1}).after(Sources(committed={"b": B1}))
    assert after.committed == {"a": A1, "b": B1}


def test_a_correction_replaces_its_path() -> None:
    after = Sources(committed={"a": A1, "b": B1}).after(Sources(committed={"a": A2}))
    assert after.committed == {"a": A2, "b": B1}


def test_a_file_that_is_mended_is_no_longer_refused() -> None:
    after = Sources(rejected={"a": BROKEN, "b": BROKEN}).after(Sources(committed={"a": A1}))
    assert after.rejected == {"b": BROKEN}


def test_a_correction_that_cannot_be_read_leaves_what_was_committed() -> None:
    after = Sources(committed={"a": A1}, quarantined={"a": "run1"}).after(Sources(rejected={"a": BROKEN}))
    assert after == Sources(committed={"a": A1}, rejected={"a": BROKEN}, quarantined={"a": "run1"})


def test_a_mended_file_leaves_the_quarantine_and_a_bad_one_enters_it() -> None:
    before = Sources(committed={"a": A1, "b": B1}, quarantined={"a": "run1", "b": "run1"})
    assert before.after(Sources(committed={"a": A2})).quarantined == {"b": "run1"}
    again = before.after(Sources(committed={"a": A2}, quarantined={"a": "run2"}))
    assert again.quarantined == {"a": "run2", "b": "run1"}


def test_what_is_stored_is_loaded(tmp_path: Path) -> None:
    pictures = (("a.jpg", "d1"), ("gone.jpg", None))
    sources = Sources(
        committed={"Übersicht/ä.csv": Entry(sha256="s", version="v", pictures=pictures)},
        rejected={"b": BROKEN},
        quarantined={"Übersicht/ä.csv": "run1"},
    )
    assert Sources.load(tmp_path, sources.store(tmp_path)) == sources


def test_nothing_is_loaded_for_a_table_without_sources(tmp_path: Path) -> None:
    assert Sources.load(tmp_path, None) == Sources()


def test_the_name_of_the_file_is_the_digest_of_its_content(tmp_path: Path) -> None:
    one = Sources(committed={"a": A1}).store(tmp_path / "sources")
    same = Sources(committed={"a": A1}).store(tmp_path / "sources")
    other = Sources(committed={"a": A2}).store(tmp_path / "sources")
    assert one == same != other
    assert sorted(path.name for path in (tmp_path / "sources").iterdir()) == sorted(
        {f"{one}.json", f"{other}.json"}
    )


def test_a_file_of_sources_that_is_gone_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Sources.load(tmp_path, "0" * 64)
