"""A real process that hangs is ended, and never another that has its number."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from observability.slack.ending import Process, began_at, end_process, read, write


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    started = subprocess.Popen(command, start_new_session=True)
    yield started
    started.kill()
    started.wait()


def named(child: "subprocess.Popen[bytes]") -> Process:
    began = began_at(child.pid)
    assert began
    return Process("relay", child.pid, began, 1.0, "http://127.0.0.1:9/")


def test_one_that_is_stopped_is_ended(child: "subprocess.Popen[bytes]") -> None:
    process = named(child)
    child.send_signal(signal.SIGSTOP)
    assert end_process(process)
    assert child.wait(10) < 0
    assert began_at(child.pid) is None
    assert not end_process(process), "it has ended already"


def test_one_that_does_not_hear_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("observability.slack.ending.TERM_SECONDS", 0.2)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        end_process(named(child))  # it may take longer to go than was waited for
        assert child.wait(10) == -signal.SIGKILL


def test_one_that_hears_is_asked_only(child: "subprocess.Popen[bytes]") -> None:
    assert end_process(named(child))
    assert child.wait(10) == -signal.SIGTERM


def test_another_process_with_its_number_is_left_alone(child: "subprocess.Popen[bytes]") -> None:
    assert not end_process(replace(named(child), began="12"))
    assert child.poll() is None


def test_processes_are_read_as_they_were_written(child: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    path = tmp_path / "parts.json"
    assert read(path) == {}
    write(path, [named(child)])
    assert read(path) == {"relay": named(child)}


@pytest.mark.parametrize("text", ["", "null", "{}", "[1]", '[{"name": "relay"}]'])
def test_what_cannot_be_read_names_no_process(tmp_path: Path, text: str) -> None:
    path = tmp_path / "parts.json"
    path.write_text(text)
    assert read(path) == {}
