"""The watch goes on where the disk is full and where a part cannot begin."""

import errno
import sys
from pathlib import Path

import pytest

from flows.config import Settings
from flows.health import kept as kept_module
from flows.health import watch as watch_module
from flows.health.kept import Kept
from flows.health.parts import Part
from flows.health.watch import Watch


def test_a_full_disk_is_said_once_and_the_targets_are_written_when_there_is_room(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full, written = True, list[object]()

    def write(_folder: Path, _settings: Settings, found: object, *_: object) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(found)

    monkeypatch.setattr(watch_module, "watched", lambda _settings: [])
    monkeypatch.setattr(watch_module, "targets", lambda _settings, _parts: {"prefect": "127.0.0.1:4200"})
    monkeypatch.setattr("flows.health.watch.files.write", write)
    watch = Watch(settings, 1.0)
    for _ in range(3):
        watch.look_for_work()
    assert capsys.readouterr().err.count("cannot be written: No space left on device") == 1
    full = False
    watch.look_for_work()
    watch.look_for_work()
    assert written == [{"prefect": "127.0.0.1:4200"}]


def test_a_part_that_cannot_begin_again_is_tried_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 1000.0
    monkeypatch.setattr(kept_module.time, "monotonic", lambda: clock)  # type: ignore[attr-defined]
    folder = tmp_path / "logs"
    folder.mkdir()
    part = Kept(Part("exporter", [sys.executable, "-c", ""]), folder / "exporter.log")
    part._process.wait(30)
    assert "exporter ended with 0; again in 2 s" in str(part.look())
    (folder / "exporter.log").unlink()
    folder.rmdir()
    clock += 2.0
    assert "exporter cannot begin: " in str(part.look())
    assert part.look() is None, "before its time"
    folder.mkdir()
    clock += 4.0
    assert part.look() == "exporter begins again"
    part.end()
