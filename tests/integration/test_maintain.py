"""Maintenance: the same rows in fewer files, and nothing removed that somebody still needs."""

import os
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl.lake import Lake
from flows.etl.maintain import Upkeep, expire, remove_abandoned, superseded_before, sweep
from flows.etl.orphans import old_files
from flows.etl.sql import Query
from tests.factories import (
    ask,
    bad_rows,
    compact_table,
    content_hash,
    data_files,
    lake_contents,
    retail_row,
    run_table,
    settings_of,
    shipped,
    table_of,
    write_csv,
)

CONTRACT = shipped("online_retail.transactions")
TABLE = CONTRACT.identifier
MOMENT = 1e-9
"""An age or a retention, in hours or days, that everything is older than."""


def load(settings: Settings, source: Path, name: str, **changes: object) -> None:
    """One more source file: rows for four cells of two months."""
    rows = [
        retail_row(StockCode=name, InvoiceDate=f"{month}-01", CustomerID=customer, **changes)
        for month in ("2010-12", "2011-01")
        for customer in (1, 7)
    ]
    write_csv(source / f"{name}.csv", rows)
    run_table(settings, CONTRACT, source)


def make_old(folder: Path, days: float = 60) -> None:
    """Set back the clock of everything below a folder."""
    then = time.time() - days * 86400
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (then, then))


def files_below(*folders: Path) -> set[Path]:
    """All files."""
    return {path for folder in folders for path in folder.rglob("*") if path.is_file()}


def swept(settings: Settings, **ages: float) -> Upkeep:
    """Sweep with other ages than the defaults."""
    upkeep = Upkeep()
    sweep(settings_of(settings.home, **ages), CONTRACT, upkeep)
    return upkeep


def test_compaction_gives_one_file_a_cell_with_the_same_rows(settings: Settings, tmp_path: Path) -> None:
    for name in "ab":
        load(settings, tmp_path / "in", name)
    write_csv(tmp_path / "in" / "single.csv", [retail_row(InvoiceDate="2011-05-01")])
    write_csv(
        tmp_path / "in" / "bad.csv", [retail_row(UnitPrice=-1), *(retail_row(StockCode=n) for n in range(20))]
    )
    run_table(settings, CONTRACT, tmp_path / "in")
    content, before, bad = (
        content_hash(settings, TABLE),
        data_files(settings, TABLE),
        bad_rows(settings, CONTRACT),
    )
    upkeep = compact_table(settings, CONTRACT)
    after = data_files(settings, TABLE)
    assert (upkeep.files_rewritten, upkeep.files_written, len(before), len(after)) == (9, 4, 10, 5)
    assert set(Counter(repr(file.partition) for file in after.values()).values()) == {1}
    assert len(before.keys() & after.keys()) == 1, "a file alone in its cell is left alone"
    assert content_hash(settings, TABLE) == content
    snapshot = table_of(settings, TABLE).current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    assert snapshot.summary["watchkeeper.kind"] == "compaction"
    assert run_table(settings, CONTRACT, tmp_path / "in").outcome == "unchanged", "the sources are known"
    assert bad_rows(settings, CONTRACT) == bad != []


def test_a_table_in_good_order_is_left_as_it_is(settings: Settings, tmp_path: Path) -> None:
    load(settings, tmp_path / "in", "a")
    before = lake_contents(settings)
    assert compact_table(settings, CONTRACT) == Upkeep()
    upkeep = Upkeep()
    expire(settings, CONTRACT, upkeep)
    sweep(settings, CONTRACT, upkeep)
    assert upkeep == Upkeep()
    assert lake_contents(settings) == before


def test_a_correction_after_a_compaction_finds_its_rows(settings: Settings, tmp_path: Path) -> None:
    for name in "ab":
        load(settings, tmp_path / "in", name)
    compact_table(settings, CONTRACT)
    load(settings, tmp_path / "in", "a", Quantity=9)
    counted = ask(settings, f"SELECT _source_file, quantity, count(*) FROM {TABLE} GROUP BY ALL ORDER BY 1")
    assert counted == [("a.csv", 9, 4), ("b.csv", 6, 4)]


def test_snapshots_go_after_the_retention_and_the_current_one_never(
    settings: Settings, tmp_path: Path
) -> None:
    for name in "abc":
        load(settings, tmp_path / "in", name)
    first, second, third = table_of(settings, TABLE).snapshots()
    upkeep = Upkeep()
    expire(settings, CONTRACT, upkeep)
    assert upkeep.snapshots_expired == 0
    expire(settings_of(settings.home, snapshot_retention_days=MOMENT), CONTRACT, upkeep)
    assert upkeep.snapshots_expired == 2
    assert [s.snapshot_id for s in table_of(settings, TABLE).snapshots()] == [third.snapshot_id]
    assert ask(settings, f"SELECT count(*) FROM {TABLE}") == [(12,)]
    for gone in (first, second):
        with pytest.raises(WatchkeeperError, match="has no snapshot"):
            ask(settings, f"FROM {TABLE}", str(gone.snapshot_id))
    expire(settings_of(settings.home, snapshot_retention_days=MOMENT), CONTRACT, upkeep)
    assert upkeep.snapshots_expired == 2
    load(settings, tmp_path / "in", "d")
    assert ask(settings, f"SELECT count(*) FROM {TABLE}") == [(16,)]


def test_a_snapshot_counts_from_when_it_was_superseded(settings: Settings, tmp_path: Path) -> None:
    for name in "abc":
        load(settings, tmp_path / "in", name)
    table = table_of(settings, TABLE)
    moments = [datetime.fromtimestamp(s.timestamp_ms / 1000, UTC) for s in table.snapshots()]
    ids = [s.snapshot_id for s in table.snapshots()]
    just_after = timedelta(milliseconds=1)
    assert superseded_before(table, moments[1]) == []
    assert superseded_before(table, moments[1] + just_after) == ids[:1]
    assert superseded_before(table, moments[2] + just_after) == ids[:2]
    assert superseded_before(table, moments[2] + timedelta(days=999)) == ids[:2]


def test_the_sweep_removes_old_orphans_and_nothing_else(settings: Settings, tmp_path: Path) -> None:
    for name in "ab":
        load(settings, tmp_path / "in", name)
    load(settings, tmp_path / "in", "a", Quantity=9)
    content = content_hash(settings, TABLE)
    history = [
        content_hash(settings, TABLE, str(s.snapshot_id)) for s in table_of(settings, TABLE).snapshots()
    ]
    folder = settings.home / "lake" / "online_retail" / "transactions"
    killed = folder / "data" / "killedrun"
    (killed / "_temporary" / "0" / "_temporary").mkdir(parents=True)
    orphans = [
        killed / "_sink=0" / "_p0=491" / "part-0.parquet",
        killed / "_temporary" / "0" / "part-1.parquet",
        folder / "metadata" / "00099-a-commit-that-lost.metadata.json",
        folder / "sources" / ".half.tmp",
    ]
    for orphan in orphans:
        orphan.parent.mkdir(parents=True, exist_ok=True)
        orphan.write_bytes(b"12345")
    needed = files_below(settings.home) - set(orphans)
    make_old(settings.home)
    young = folder / "data" / "running" / "_sink=0" / "part-0.parquet"
    (young.parent / "_p0=empty").mkdir(parents=True)
    young.write_bytes(b"x")
    upkeep = swept(settings)
    assert (upkeep.files_removed, upkeep.bytes_removed) == (4, 20)
    assert files_below(settings.home) == needed | {young}
    assert not killed.exists()
    assert (young.parent / "_p0=empty").is_dir(), "a run may be about to write into it"
    assert content_hash(settings, TABLE) == content
    snapshots = table_of(settings, TABLE).snapshots()
    assert [content_hash(settings, TABLE, str(s.snapshot_id)) for s in snapshots] == history


def test_what_a_reader_opened_within_the_age_stays_until_the_age_is_over(
    settings: Settings, tmp_path: Path
) -> None:
    for name in "ab":
        load(settings, tmp_path / "in", name)
    reader = Query(Lake(settings), f"SELECT count(*) FROM {TABLE}")
    by_iceberg = table_of(settings, TABLE)
    opened = set(data_files(settings, TABLE))
    compact_table(settings, CONTRACT)
    expire(settings_of(settings.home, snapshot_retention_days=MOMENT), CONTRACT, Upkeep())
    assert len(table_of(settings, TABLE).snapshots()) == 1
    assert not opened & data_files(settings, TABLE).keys()
    make_old(settings.home / "lake")
    assert swept(settings).files_removed == 0
    assert reader.run().fetchall() == [(8,)]
    assert by_iceberg.scan().to_arrow().num_rows == 8
    upkeep = swept(settings, orphan_age_hours=MOMENT)
    assert upkeep.files_removed >= len(opened)
    assert not any(Path(path).exists() for path in opened)
    assert ask(settings, f"SELECT count(*) FROM {TABLE}") == [(8,)]
    load(settings, tmp_path / "in", "c")
    assert ask(settings, f"SELECT count(*) FROM {TABLE}") == [(12,)]


def test_a_query_by_an_earlier_moment_is_needed_as_long_as_its_snapshot_lives(
    settings: Settings, tmp_path: Path
) -> None:
    load(settings, tmp_path / "in", "a")
    load(settings, tmp_path / "in", "a", Quantity=9)
    first = str(table_of(settings, TABLE).snapshots()[0].snapshot_id)
    make_old(settings.home / "lake")
    swept(settings, orphan_age_hours=MOMENT)
    assert ask(settings, f"SELECT DISTINCT quantity FROM {TABLE}", first) == [(6,)]
    assert ask(settings, f"SELECT DISTINCT quantity FROM {TABLE}") == [(9,)]


def test_what_is_in_quarantine_stays_while_a_snapshot_refers_to_it(
    settings: Settings, tmp_path: Path
) -> None:
    good = [retail_row(StockCode=n) for n in range(20)]
    write_csv(tmp_path / "in" / "a.csv", [*good, retail_row(UnitPrice=-1)])
    write_csv(tmp_path / "in" / "b.csv", [*good, retail_row(UnitPrice=-2)])
    run_table(settings, CONTRACT, tmp_path / "in")
    write_csv(tmp_path / "in" / "b.csv", [*good, retail_row(UnitPrice=-3)])
    run_table(settings, CONTRACT, tmp_path / "in")
    write_csv(tmp_path / "in" / "c.csv", [retail_row(UnitPrice=-4)])
    with pytest.raises(WatchkeeperError):
        run_table(settings, CONTRACT, tmp_path / "in")
    folder = settings.home / "quarantine" / "online_retail" / "transactions"
    assert len(files_below(folder)) == 3, "two commits and one that was refused"
    make_old(settings.home, days=2)
    assert swept(settings).files_removed == 0, "younger than the retention"
    make_old(settings.home, days=31)
    assert swept(settings).files_removed == 1, "the refused run's"
    assert [row[3].split(",")[5] for row in bad_rows(settings, CONTRACT)] == ["-1", "-3"]
    write_csv(tmp_path / "in" / "a.csv", good)
    write_csv(tmp_path / "in" / "b.csv", [])
    (tmp_path / "in" / "c.csv").unlink()
    run_table(settings, CONTRACT, tmp_path / "in")
    expire(settings_of(settings.home, snapshot_retention_days=MOMENT), CONTRACT, Upkeep())
    make_old(settings.home, days=31)
    swept(settings, orphan_age_hours=MOMENT)
    assert files_below(folder) == set()


def test_what_killed_runs_left_in_staging_and_the_raw_zone_goes(settings: Settings, tmp_path: Path) -> None:
    load(settings, tmp_path / "in", "a")
    raw = files_below(settings.home / "lake" / "raw")
    left = [
        settings.home / "staging" / "online_retail" / "transactions" / "killed" / "job.json",
        settings.home / "staging" / "online_retail" / "transactions" / "killed" / "spark-tmp" / "block" / "x",
        settings.home / "lake" / "raw" / "ab" / ".half.tmp",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    make_old(settings.home)
    running = settings.home / "staging" / "online_retail" / "transactions" / "running"
    (running / "spark-tmp").mkdir(parents=True)
    (running / "job.json").write_text("{}")
    remove_abandoned(settings)
    assert files_below(settings.home / "staging") == {running / "job.json"}
    assert not left[0].parent.exists()
    assert (running / "spark-tmp").is_dir()
    assert files_below(settings.home / "lake" / "raw") == raw


def test_maintenance_is_not_disturbed_by_a_run_that_cleans_up(settings: Settings) -> None:
    folder = settings.home / "staging" / "online_retail" / "transactions"
    folder.mkdir(parents=True)
    done = threading.Event()

    def run_after_run() -> None:
        while not done.is_set():
            (folder / "run" / "tmp").mkdir(parents=True)
            (folder / "run" / "tmp" / "a").touch()
            (folder / "run" / "tmp" / "a").unlink()
            (folder / "run" / "tmp").rmdir()
            (folder / "run").rmdir()

    runs = threading.Thread(target=run_after_run)
    runs.start()
    try:
        for _ in range(300):
            remove_abandoned(settings)
    finally:
        done.set()
        runs.join()
    assert old_files(folder, time.time() + 60) == []
