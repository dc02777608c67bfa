"""The prediction log's files: whole, of bounded size and age, and never waited for."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prometheus_client import REGISTRY

from services.bento.landing_log import HELD, LandingLog
from tests.factories import wait_until

LONG = 1000.0


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[int, float], LandingLog]]:
    """Makes logs of `tmp_path/log` that are closed in the end."""
    logs = []

    def make(rows: int, seconds: float = LONG) -> LandingLog:
        logs.append(LandingLog(tmp_path / "log", rows, seconds, joined))
        return logs[-1]

    yield make
    for log in logs:
        log.close()


def table(first: int, rows: int = 1) -> Callable[[], pa.Table]:
    return lambda: pa.table({"number": list(range(first, first + rows))})


def joined(parts: list[Callable[[], pa.Table]]) -> pa.Table:
    return pa.concat_tables([make() for make in parts])


def visible(folder: Path) -> list[Path]:
    """The files that the ETL sees: not those whose names start with a point."""
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))


def numbers(folder: Path) -> list[int]:
    return sorted(n for path in visible(folder) for n in pq.read_table(path)["number"].to_pylist())


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("watchkeeper_serve_log_rows_total", {"outcome": outcome}) or 0.0


Opened = Callable[..., LandingLog]


def test_a_file_appears_when_it_has_its_rows(opened: Opened, tmp_path: Path) -> None:
    log, written = opened(10), counted("written")
    for number in range(10):
        assert not (tmp_path / "log").exists(), "a file before its time"
        log.offer(1, table(number))
    wait_until(lambda: bool(visible(tmp_path / "log")), "the file")
    assert numbers(tmp_path / "log") == list(range(10))
    wait_until(lambda: counted("written") == written + 10, "the count")


def test_no_file_has_many_more_rows_than_it_may(opened: Opened, tmp_path: Path) -> None:
    log = opened(10)
    for number in range(0, 80, 4):
        log.offer(4, table(number, 4))
    log.close()
    sizes = [pq.read_metadata(path).num_rows for path in visible(tmp_path / "log")]
    assert sum(sizes) == 80
    assert max(sizes) <= 12, "the last part may go beyond, as parts are kept whole"
    assert numbers(tmp_path / "log") == list(range(80))


def test_a_file_appears_when_it_has_its_age(opened: Opened, tmp_path: Path) -> None:
    opened(1000, 0.05).offer(1, table(7))
    wait_until(lambda: bool(visible(tmp_path / "log")), "the file")
    assert numbers(tmp_path / "log") == [7]


def test_files_appear_whole(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[Path]] = []
    write = pq.write_table

    def watched(made: pa.Table, where: Path, **more: Any) -> None:
        write(made, where, **more)
        seen.append(visible(tmp_path / "log"))

    monkeypatch.setattr(pq, "write_table", watched)
    log = opened(1)
    log.offer(1, table(1))
    wait_until(lambda: bool(visible(tmp_path / "log")), "the file")
    assert seen == [[]], "it was seen before it was whole"
    log.close()
    assert [path.name for path in (tmp_path / "log").iterdir()] == [visible(tmp_path / "log")[0].name]


def test_closing_writes_what_is_held(opened: Opened, tmp_path: Path) -> None:
    log = opened(1000)
    for number in range(5):
        log.offer(1, table(number))
    log.close()
    assert numbers(tmp_path / "log") == [0, 1, 2, 3, 4]


def test_an_empty_log_leaves_no_file(opened: Opened, tmp_path: Path) -> None:
    opened(10).close()
    assert not (tmp_path / "log").exists()


def test_what_memory_cannot_hold_is_dropped_and_counted(opened: Opened, tmp_path: Path) -> None:
    log, dropped = opened(2), counted("dropped")
    go, begun = threading.Event(), threading.Event()

    def slow() -> pa.Table:
        begun.set()
        assert go.wait(30)
        return table(0, 2)()

    log.offer(2, slow)
    assert begun.wait(30)
    for number in range(1, 2 * HELD + 10):  # nobody waits: the disk has not moved
        log.offer(1, table(10 + number))
    kept = 2 * HELD - 2
    assert counted("dropped") == dropped + 2 * HELD + 9 - kept
    go.set()
    log.close()
    assert numbers(tmp_path / "log") == [0, 1, *range(11, 11 + kept)]


def test_a_folder_that_cannot_be_written_costs_its_rows_and_nothing_more(
    opened: Opened, tmp_path: Path
) -> None:
    (tmp_path / "log").write_text("in the way")
    log, dropped, written = opened(1), counted("dropped"), counted("written")
    for number in range(3):
        log.offer(1, table(number))
    wait_until(lambda: counted("dropped") == dropped + 3, "the rows to be counted")
    (tmp_path / "log").unlink()
    log.offer(1, table(3))
    wait_until(lambda: counted("written") == written + 1, "the log to go on")
    assert numbers(tmp_path / "log") == [3]


def test_rows_that_cannot_be_made_leave_no_half_file(opened: Opened, tmp_path: Path) -> None:
    def broken() -> pa.Table:
        raise pa.ArrowInvalid("no table")

    log, dropped = opened(1), counted("dropped")
    log.offer(1, broken)
    wait_until(lambda: counted("dropped") == dropped + 1, "the row to be counted")
    log.offer(1, table(1))
    log.close()
    assert [path.suffix for path in (tmp_path / "log").iterdir()] == [".parquet"]
    assert numbers(tmp_path / "log") == [1]
