"""SIGKILL at every step boundary, while writing and while committing: nothing half, lost or twice.

Each case starts from a lake with an older snapshot; the run that dies brings a corrected day and new days.
"""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from flows.config import Settings
from tests.everything import EVERYTHING
from tests.factories import (
    content_hash,
    data_files,
    environment_of,
    processes_of,
    retail_days,
    run_table,
    settings_of,
    shipped,
    table_of,
    wait_until,
)

TABLE = "online_retail.transactions"
CONTRACT = shipped(TABLE)
SAMPLE = ["while Spark writes"]
POINTS = [
    "before the first copy",
    "in the middle of a copy",
    "after land",
    "before Spark",
    "while Spark starts",
    "while Spark writes",
    "after Spark",
    "before the verdict",
    "after the quarantine is stored",
    "after the verdict",
    "before the sources are stored",
    "after the sources are stored",
    "while manifests are written",
    "before the manifest list",
    "before the table's metadata",
    "before the catalog's row",
    "after the catalog's row",
    "after the commit",
    "before staging is cleared",
    "before the report",
]
COMMITTED = POINTS.index("after the catalog's row")


def first_days(folder: Path, month: str) -> tuple[Path, list[Path]]:
    """A source with the older half of the days; the newer half, held back."""
    source = retail_days(folder / "in", month)
    days = sorted(source.iterdir())
    later = [day.rename(folder / day.name) for day in days[len(days) // 2 :]]
    return source, later


def bring_the_rest(source: Path, later: list[Path]) -> None:
    """New days, and one old day that lost its last five lines."""
    day = sorted(source.iterdir())[3]
    lines = gzip.decompress(day.read_bytes()).splitlines(keepends=True)
    day.write_bytes(gzip.compress(b"".join(lines[:-5]), mtime=0))
    for path in later:
        path.rename(source / path.name)


def kill(settings: Settings, prefect_url: str, point: str, source: Path) -> None:
    """Run the flow in a process that dies at the point, and wait until its children are gone."""
    environment = environment_of(settings, WATCHKEEPER_PREFECT_API_URL=prefect_url)
    command = [sys.executable, "-m", "tests.faults.killed_etl", point, "online_retail", str(source)]
    died = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert died.returncode == -9, f"{point}: exit {died.returncode}\n{died.stderr[-3000:]}"
    wait_until(lambda: not processes_of(settings.home), "the killed run's children to end")


def survives(tmp_path: Path, prefect_url: str, point: str, month: str) -> None:
    """The promise, for one point."""
    settings = settings_of(tmp_path / "home")
    source, later = first_days(tmp_path, month)
    run_table(settings, CONTRACT, source)
    old = content_hash(settings, TABLE)
    bring_the_rest(source, later)

    kill(settings, prefect_url, point, source)

    undisturbed = settings_of(tmp_path / "undisturbed")
    result = run_table(undisturbed, CONTRACT, source)
    new = content_hash(undisturbed, TABLE)
    committed = POINTS.index(point) >= COMMITTED
    assert content_hash(settings, TABLE) == (new if committed else old)
    again = run_table(settings, CONTRACT, source)
    assert again.outcome == ("unchanged" if committed else "committed")
    assert content_hash(settings, TABLE) == new != old
    assert len(table_of(settings, TABLE).snapshots()) == 2
    assert sum(file.record_count for file in data_files(settings, TABLE).values()) == result.rows_committed


@pytest.mark.parametrize("point", POINTS if EVERYTHING else SAMPLE)
def test_a_reader_sees_old_or_new_and_a_rerun_converges(tmp_path: Path, prefect_url: str, point: str) -> None:
    survives(tmp_path, prefect_url, point, "2010-12" if EVERYTHING else "2010-12-0")


@pytest.mark.slow
def test_the_same_at_full_size(tmp_path: Path, prefect_url: str) -> None:
    survives(tmp_path, prefect_url, "while manifests are written", "201")


def test_every_point_can_be_reached_by_its_name() -> None:
    text = (Path(__file__).parent / "killed_etl.py").read_text()
    assert all(f'"{point}"' in text for point in POINTS)
