"""Runs that were planned on the same state of a table and commit after each other, or at once."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.config import CHECKOUT, Settings
from flows.etl import maintain
from flows.etl.lake import Change, OvertakenError
from flows.etl.steps import TableResult
from tests.factories import (
    WarmRunner,
    ask,
    compact_table,
    content_hash,
    contract_in,
    data_files,
    prepare,
    retail_row,
    run_table,
    shipped,
    table_of,
    write_csv,
)

CONTRACT = shipped("online_retail.transactions")
TABLE = CONTRACT.identifier


def rows_held(settings: Settings) -> list[tuple[str, int]]:
    """Source file and quantity of each row, in order."""
    return ask(settings, f"SELECT _source_file, quantity FROM {TABLE} ORDER BY ALL")


def one_file(folder: Path, name: str, quantity: int) -> Path:
    """A source folder that holds one file of one row."""
    write_csv(folder / name, [retail_row(Quantity=quantity)])
    return folder


def test_commits_of_other_files_both_land(settings: Settings, tmp_path: Path) -> None:
    commits = [prepare(settings, CONTRACT, one_file(tmp_path / n, f"{n}.csv", int(n))) for n in "123"]
    for commit in reversed(commits):
        assert commit().outcome == "committed"
    assert rows_held(settings) == [("1.csv", 1), ("2.csv", 2), ("3.csv", 3)]
    assert len(table_of(settings, TABLE).snapshots()) == 3
    for n in "123":
        assert run_table(settings, CONTRACT, tmp_path / n).outcome == "unchanged"


def test_corrections_of_files_in_other_cells_both_land(settings: Settings, tmp_path: Path) -> None:
    for name, month in (("a", "2010-12"), ("b", "2011-01")):
        write_csv(tmp_path / name / f"{name}.csv", [retail_row(InvoiceDate=f"{month}-03")])
        run_table(settings, CONTRACT, tmp_path / name)
    commits = []
    for name, month in (("a", "2010-12"), ("b", "2011-01")):
        write_csv(tmp_path / name / f"{name}.csv", [retail_row(InvoiceDate=f"{month}-03", Quantity=9)])
        commits.append(prepare(settings, CONTRACT, tmp_path / name))
    for commit in commits:
        commit()
    assert rows_held(settings) == [("a.csv", 9), ("b.csv", 9)]


def test_corrections_that_rewrite_the_same_data_file_do_not_both_land(
    settings: Settings, tmp_path: Path
) -> None:
    for name in "ab":
        write_csv(tmp_path / "in" / f"{name}.csv", [retail_row(StockCode=name)])
    run_table(settings, CONTRACT, tmp_path / "in")
    assert len(data_files(settings, TABLE)) == 1
    first = prepare(settings, CONTRACT, one_file(tmp_path / "a", "a.csv", 1))
    second = prepare(settings, CONTRACT, one_file(tmp_path / "b", "b.csv", 2))
    first()
    with pytest.raises(OvertakenError):
        second()
    assert rows_held(settings) == [("a.csv", 1), ("b.csv", 6)]
    run_table(settings, CONTRACT, tmp_path / "b")
    assert rows_held(settings) == [("a.csv", 1), ("b.csv", 2)]


@pytest.mark.parametrize("table_exists", [False, True], ids=["a first commit", "a later commit"])
def test_the_same_file_lands_once(settings: Settings, tmp_path: Path, table_exists: bool) -> None:
    if table_exists:
        run_table(settings, CONTRACT, one_file(tmp_path / "other", "other.csv", 7))
    source = one_file(tmp_path / "in", "a.csv", 1)
    first, second = (prepare(settings, CONTRACT, source) for _ in range(2))
    first()
    with pytest.raises(OvertakenError, match=r"another run committed source file a\.csv meanwhile"):
        second()
    assert run_table(settings, CONTRACT, source).outcome == "unchanged", "planned anew there is nothing to do"
    assert [row for row in rows_held(settings) if row[0] == "a.csv"] == [("a.csv", 1)]
    runs = list((settings.home / "lake" / "online_retail" / "transactions" / "data").iterdir())
    assert len(runs) == 1 + table_exists, "what the overtaken run wrote is gone"


def test_the_same_content_under_two_names_lands_once(settings: Settings, tmp_path: Path) -> None:
    first = prepare(settings, CONTRACT, one_file(tmp_path / "a", "a.csv", 1))
    second = prepare(settings, CONTRACT, one_file(tmp_path / "b", "b.csv", 1))
    first()
    with pytest.raises(OvertakenError, match=r"b\.csv"):
        second()
    assert rows_held(settings) == [("a.csv", 1)]


def test_of_two_corrections_of_one_file_the_later_planned_stays(settings: Settings, tmp_path: Path) -> None:
    run_table(settings, CONTRACT, one_file(tmp_path / "in", "a.csv", 1))
    first = prepare(settings, CONTRACT, one_file(tmp_path / "in", "a.csv", 2))
    second = prepare(settings, CONTRACT, one_file(tmp_path / "in", "a.csv", 3))
    first()
    with pytest.raises(OvertakenError):
        second()
    run_table(settings, CONTRACT, tmp_path / "in")
    assert rows_held(settings) == [("a.csv", 3)]


def test_any_commit_overtakes_one_whose_rows_were_compared_with_the_whole_table(
    settings: Settings, tmp_path: Path
) -> None:
    customers = contract_in(
        tmp_path / "contracts",
        "shop",
        "customers",
        {
            "description": "Customers.",
            "source": {"pattern": "*.csv", "format": "csv"},
            "columns": {"id": {"type": "int"}, "name": {"type": "string"}},
            "keys": ["id"],
            "table_rules": {"max_quarantined_ratio": 1},
            "duplicates": "drop",
        },
    )
    sources = [write_csv(tmp_path / n / f"{n}.csv", [[1, n]], ["id", "name"]).parent for n in "ab"]
    first, second = (prepare(settings, customers, source) for source in sources)
    first()
    with pytest.raises(OvertakenError, match="another run committed since this one was planned"):
        second()
    again = run_table(settings, customers, sources[1])
    assert (again.rows_committed, again.quarantined_by_rule) == (0, {"duplicate_key": 1})
    assert ask(settings, "SELECT id, name FROM shop.customers") == [(1, "a")]


def two_small_files(settings: Settings, tmp_path: Path) -> Path:
    """A table whose one cell has two data files."""
    for name, quantity in (("a.csv", 1), ("b.csv", 2)):
        run_table(settings, CONTRACT, one_file(tmp_path / "in", name, quantity))
    assert len(data_files(settings, TABLE)) == 2
    return tmp_path / "in"


def test_new_files_land_during_a_compaction(settings: Settings, tmp_path: Path) -> None:
    source = two_small_files(settings, tmp_path)
    commit = prepare(settings, CONTRACT, one_file(source, "c.csv", 3))
    assert compact_table(settings, CONTRACT).files_rewritten == 2
    commit()
    assert rows_held(settings) == [("a.csv", 1), ("b.csv", 2), ("c.csv", 3)]


def test_a_correction_during_a_compaction_is_planned_again(settings: Settings, tmp_path: Path) -> None:
    source = two_small_files(settings, tmp_path)
    commit = prepare(settings, CONTRACT, one_file(source, "a.csv", 5))
    compact_table(settings, CONTRACT)
    with pytest.raises(OvertakenError):
        commit()
    assert rows_held(settings) == [("a.csv", 1), ("b.csv", 2)]
    run_table(settings, CONTRACT, source)
    assert rows_held(settings) == [("a.csv", 5), ("b.csv", 2)]


def during_compaction(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, commit: Callable[[], TableResult]
) -> maintain.Upkeep:
    """Compact, and let a run commit once the compaction's Spark job is done."""
    real = WarmRunner.run

    def run(runner: WarmRunner, *arguments: object) -> None:
        real(runner, *arguments)  # type: ignore[arg-type]
        commit()

    monkeypatch.setattr(WarmRunner, "run", run)
    return compact_table(settings, CONTRACT)


def test_a_compaction_yields_to_a_correction(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = two_small_files(settings, tmp_path)
    commit = prepare(settings, CONTRACT, one_file(source, "a.csv", 5))
    upkeep = during_compaction(settings, monkeypatch, commit)
    assert (upkeep.files_rewritten, len(upkeep.notes)) == (0, 1)
    assert rows_held(settings) == [("a.csv", 5), ("b.csv", 2)]


def test_a_compaction_goes_together_with_new_files(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = two_small_files(settings, tmp_path)
    commit = prepare(settings, CONTRACT, one_file(source, "c.csv", 3))
    upkeep = during_compaction(settings, monkeypatch, commit)
    assert (upkeep.files_rewritten, upkeep.notes) == (2, [])
    assert rows_held(settings) == [("a.csv", 1), ("b.csv", 2), ("c.csv", 3)]
    assert len(data_files(settings, TABLE)) == 2
    assert run_table(settings, CONTRACT, source).outcome == "unchanged", "the sources are not forgotten"


@pytest.mark.slow
def test_threads_that_commit_at_once_all_land(settings: Settings, tmp_path: Path) -> None:
    names = [f"{n}.csv" for n in range(6)]
    commits = [prepare(settings, CONTRACT, one_file(tmp_path / n, n, i)) for i, n in enumerate(names)]
    start, failed = threading.Barrier(len(commits)), []

    def work(commit: Callable[[], TableResult]) -> None:
        start.wait()
        try:
            commit()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(commit,)) for commit in commits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert rows_held(settings) == [(name, n) for n, name in enumerate(names)]


COMMITTER = """
import json, sys, time
from pathlib import Path
from flows.etl.contract_file import load_contract
from flows.etl.lake import Change, Lake, OvertakenError
from flows.etl.sources import Sources
from tests.factories import settings_of

home, contract, name, *changes = sys.argv[1:]
settings, contract = settings_of(Path(home)), load_contract(Path(contract))
base = Lake(settings).table(contract.identifier)
Path(home, f"{name}.ready").touch()
deadline = time.monotonic() + 60
while not Path(home, "go").exists():
    assert time.monotonic() < deadline, "nobody said go"
    time.sleep(0.001)
said = []
for change in map(json.loads, changes):
    files, sources = [Path(path) for path in change["files"]], Sources.model_validate(change["sources"])
    try:
        Lake(settings).commit(contract, base, Change(files, sources, properties=change["properties"]))
        said.append("committed")
    except OvertakenError:
        said.append("overtaken")
print(json.dumps(said))
"""


@pytest.mark.slow
def test_processes_that_commit_at_once_all_land_and_one_file_once(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each commits two files of its own and one that the other commits too, all planned on one state."""
    run_table(settings, CONTRACT, one_file(tmp_path / "base", "base.csv", 0))
    changes: list[str] = []

    def keep(_lake: object, _contract: object, _base: object, change: object) -> object:
        changes.append(to_json(change))
        return table_of(settings, TABLE)

    monkeypatch.setattr("flows.etl.lake.Lake.commit", keep)
    for n in range(1, 6):
        prepare(settings, CONTRACT, one_file(tmp_path / str(n), f"{n}.csv", n))()
    monkeypatch.undo()
    shared, mine, yours = changes[0], changes[1:3], changes[3:]
    contract = CHECKOUT / "flows" / "etl" / "contracts" / "online_retail" / "transactions.yaml"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", COMMITTER, settings.home, contract, name, *todo],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, todo in (("a", [mine[0], shared, mine[1]]), ("b", [yours[0], shared, yours[1]]))
    ]
    try:
        deadline = time.monotonic() + 60
        while not all((settings.home / f"{name}.ready").exists() for name in "ab"):
            assert time.monotonic() < deadline
            assert all(worker.poll() is None for worker in workers)
            time.sleep(0.01)
        (settings.home / "go").touch()
        said = [json.loads(worker.communicate(timeout=60)[0]) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert sorted(one[1] for one in said) == ["committed", "overtaken"]
    assert {one[0] for one in said} | {one[2] for one in said} == {"committed"}
    assert rows_held(settings) == [*((f"{n}.csv", n) for n in range(1, 6)), ("base.csv", 0)]
    assert len(table_of(settings, TABLE).snapshots()) == 6


def to_json(change: object) -> str:
    """A change for another process."""
    assert isinstance(change, Change)
    return json.dumps(
        {
            "files": [str(path) for path in change.files],
            "sources": change.sources.model_dump(mode="json"),
            "properties": change.properties,
        }
    )


@pytest.mark.slow
def test_readers_see_each_state_whole_while_runs_commit(settings: Settings, tmp_path: Path) -> None:
    two_small_files(settings, tmp_path)
    states, done = {content_hash(settings, TABLE)}, threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(content_hash(settings, TABLE))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for quantity in (11, 12, 13):
            run_table(settings, CONTRACT, one_file(tmp_path / "in", "a.csv", quantity))
            states.add(content_hash(settings, TABLE))
        compact_table(settings, CONTRACT)
    finally:
        done.set()
        reader.join()
    assert len(states) == 4
    assert seen
    assert seen <= states
