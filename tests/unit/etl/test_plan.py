"""What a run has to do is known before Spark starts: what arrived, what to bring back, what goes."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.io.pyarrow import schema_to_pyarrow

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl.contract import SOURCE_COLUMN, Contract
from flows.etl.lake import Change, Lake
from flows.etl.land import Arrival
from flows.etl.plan import Again, Plan, by_schema, entry_again, job_of, make_plan
from flows.etl.raw_zone import raw_path
from flows.etl.schema import schema_of
from flows.etl.sources import Entry, Sources
from tests.factories import contract_in

STALL = """\
description: What a stall sold.
source: {pattern: "*.csv", format: csv}
columns:
  id: {type: string}
  day: {type: date}
  amount: {type: int}
event_time: day
partition: {column: amount, transform: identity}
duplicates: drop
"""
KEYS = "keys: [id]\nrules:\n  - {name: orphan, column: id, references: fruits.name}\n"
FRUITS = """\
description: The fruits that there are.
source: {pattern: "fruits*", format: csv}
columns:
  name: {type: string}
duplicates: drop
"""
HEADER = "id,day,amount\n"


def stall(folder: Path, old: str = "", new: str = "", table: str = "stall", more: str = "") -> Contract:
    return contract_in(
        folder / "contracts", "market", table, (STALL.replace(old, new) if old else STALL) + more
    )


def put(folder: Path, **files: str) -> Path:
    """CSV files of the stall; what does not begin with its header is written as it is."""
    folder.mkdir(exist_ok=True)
    for name, rows in files.items():
        (folder / f"{name}.csv").write_text(rows if rows.startswith("\0") else HEADER + rows)
    return folder


def commit(
    settings: Settings,
    contract: Contract,
    rows: Sequence[Mapping[str, Any]],
    sources: Sources,
    cell: str = "_p0=1",
) -> None:
    """A commit of rows, as if Spark had written them."""
    lake = Lake(settings)
    folder = Path(str(lake.folder(contract.identifier))) / "data" / f"run{len(rows)}" / "_sink=0" / cell
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"part-{len(list(folder.iterdir()))}.parquet"
    schema = schema_to_pyarrow(schema_of(contract), include_field_ids=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema), path)
    lake.commit(contract, lake.table(contract.identifier), Change([path], sources))


def committed_from(
    settings: Settings, contract: Contract, source: Path, **rows: list[Mapping[str, Any]]
) -> Sources:
    """Land a source for good, and commit these rows of its files."""
    plan = make_plan(settings, contract, str(source), Again())
    entries = {a.path: Entry(sha256=a.sha256, version=a.version) for a in plan.landing.readable}
    refused = {
        a.path: Entry(sha256=a.sha256, version=a.version, reason=a.finding.reason)
        for a in plan.landing.rejected
    }
    sources = Sources(committed=entries, rejected=refused)
    held = [{**row, SOURCE_COLUMN: f"{name}.csv"} for name, of_file in rows.items() for row in of_file]
    commit(settings, contract, held, sources)
    return sources


def paths(arrivals: list[Arrival]) -> list[str]:
    return [arrival.path for arrival in arrivals]


@pytest.mark.parametrize(
    ("again", "kind"),
    [
        (Again(), "etl"),
        (Again(date(2010, 1, 1), date(2010, 1, 2)), "rebuild"),
        (Again(quarantined=True), "replay"),
    ],
)
def test_the_snapshot_remembers_why_it_was_made(again: Again, kind: str) -> None:
    assert again.kind == kind


def test_a_first_run_lands_its_source_and_replaces_nothing(settings: Settings, tmp_path: Path) -> None:
    plan = make_plan(settings, stall(tmp_path), str(put(tmp_path / "in", a="x,2010-01-01,1\n")), Again())
    assert (paths(plan.landing.arrivals), plan.base, plan.replaced) == (["a.csv"], None, [])
    assert not plan.nothing_to_do
    assert plan.folder.is_relative_to(settings.home / "staging" / "market" / "stall")
    assert plan.output.is_relative_to(settings.home / "lake" / "market" / "stall" / "data")
    assert plan.run in plan.folder.parts
    assert plan.run in plan.output.parts


def test_two_plans_never_write_to_one_place(settings: Settings, tmp_path: Path) -> None:
    source = str(put(tmp_path / "in", a="x,2010-01-01,1\n"))
    plans = [make_plan(settings, stall(tmp_path), source, Again()) for _ in range(2)]
    assert plans[0].output != plans[1].output
    assert plans[0].folder != plans[1].folder


def test_a_flow_run_that_plans_the_same_again_finds_its_own_place(settings: Settings, tmp_path: Path) -> None:
    source, contract = put(tmp_path / "in", a="x,2010-01-01,1\n"), stall(tmp_path)

    def run(flow_run: str, **change: Any) -> str:
        return make_plan(settings, contract, str(source), Again(**change), flow_run=flow_run).run

    first = run("flow run 1")
    assert run("flow run 1") == first != run("flow run 2")
    put(source, a="x,2010-01-01,2\n")  # the file is another now
    assert run("flow run 1") != first
    put(source, a="x,2010-01-01,1\n")
    assert run("flow run 1") == first
    committed_from(settings, contract, put(tmp_path / "other", b="y,2010-01-01,1\n"), b=[{"id": "y"}])
    assert run("flow run 1") != first  # the table is another now
    # Another contract is other work; so is the same input for another reason.
    contract = stall(tmp_path, "amount: {type: int}", "amount: {type: long}")
    assert run("flow run 1") not in (first, run("flow run 1", quarantined=True))


def test_planning_leaves_the_lake_as_it_was(settings: Settings, tmp_path: Path) -> None:
    make_plan(settings, stall(tmp_path), str(put(tmp_path / "in", a="x,2010-01-01,1\n")), Again())
    files = {path for path in settings.home.rglob("*") if path.is_file()}
    assert all(path.is_relative_to(settings.home / "lake" / "raw") for path in files)


@pytest.mark.parametrize("rows", ["", "\n  \n"])
def test_files_without_rows_are_nothing_to_do(settings: Settings, tmp_path: Path, rows: str) -> None:
    assert make_plan(settings, stall(tmp_path), str(put(tmp_path / "in", a=rows)), Again()).nothing_to_do


def test_what_is_committed_is_nothing_to_do(settings: Settings, tmp_path: Path) -> None:
    contract, source = stall(tmp_path), put(tmp_path / "in", a="x,2010-01-01,1\n")
    committed_from(settings, contract, source, a=[{"id": "x"}])
    plan = make_plan(settings, contract, str(source), Again())
    assert (plan.nothing_to_do, plan.landing.skipped) == (True, 1)


def test_a_correction_replaces_the_data_files_that_hold_its_rows(settings: Settings, tmp_path: Path) -> None:
    contract, source = stall(tmp_path), put(tmp_path / "in", a="x,2010-01-01,1\n", b="y,2010-01-01,1\n")
    committed_from(settings, contract, source, a=[{"id": "x"}], b=[{"id": "y"}])
    commit(settings, contract, [{"id": "z", SOURCE_COLUMN: "c.csv"}], Sources(), cell="_p0=2")
    plan = make_plan(settings, contract, str(put(source, a="x,2010-01-01,2\n")), Again())
    assert plan.replaced_sources == ["a.csv"]
    assert [file.record_count for file in plan.replaced] == [2]  # with b's row, which is kept


def test_a_correction_without_rows_still_takes_the_old_ones_away(settings: Settings, tmp_path: Path) -> None:
    contract, source = stall(tmp_path), put(tmp_path / "in", a="x,2010-01-01,1\n")
    committed_from(settings, contract, source, a=[{"id": "x"}])
    plan = make_plan(settings, contract, str(put(source, a="")), Again())
    assert not plan.nothing_to_do
    assert len(plan.replaced) == 1


def test_files_of_which_none_can_be_read_are_named_with_their_reasons(
    settings: Settings, tmp_path: Path
) -> None:
    source = put(tmp_path / "in", a="\0", b="\0\0")
    with pytest.raises(WatchkeeperError) as refused:
        make_plan(settings, stall(tmp_path), str(source), Again())
    assert "market.stall: none of the 2 new files can be read; mend or remove them:" in str(refused.value)
    assert "\n  a.csv: binary data, not text" in str(refused.value)
    assert "\n  b.csv: binary data, not text" in str(refused.value)


def test_one_file_that_cannot_be_read_does_not_stop_the_others(settings: Settings, tmp_path: Path) -> None:
    plan = make_plan(
        settings, stall(tmp_path), str(put(tmp_path / "in", a="\0", b="x,2010-01-01,1\n")), Again()
    )
    assert (paths(plan.landing.readable), paths(plan.landing.rejected)) == (["b.csv"], ["a.csv"])


def test_a_contract_that_does_not_fit_its_table_stops_before_anything_lands(
    settings: Settings, tmp_path: Path
) -> None:
    commit(settings, stall(tmp_path), [{"id": "x"}], Sources())
    other = stall(tmp_path, "amount: {type: int}", "amount: {type: string}")
    with pytest.raises(WatchkeeperError, match="does not fit its table"):
        make_plan(settings, other, str(put(tmp_path / "in", a="x,2010-01-01,1\n")), Again())
    assert not (settings.home / "lake" / "raw").exists()


DAYS: dict[str, list[date]] = {
    "date": [date(2010, 1, day) for day in (1, 2, 3)],
    "timestamp": [datetime(2010, 1, 1, 23, 59, 59, 999999), datetime(2010, 1, 2), datetime(2010, 1, 3)],
    "timestamptz": [
        datetime(2010, 1, day, tzinfo=UTC) - timedelta(microseconds=day == 2) for day in (1, 3, 4)
    ],
}


@pytest.mark.parametrize(
    ("kind", "first", "last", "found"),
    [
        ("date", 1, 1, ["a.csv"]),
        ("date", 1, 2, ["a.csv", "b.csv"]),
        ("date", 3, 3, ["c.csv"]),
        # The last day is whole, the day after it is out.
        ("timestamp", 1, 1, ["a.csv"]),
        ("timestamp", 2, 2, ["b.csv"]),
        ("timestamp", 1, 3, ["a.csv", "b.csv", "c.csv"]),
        ("timestamptz", 1, 1, ["a.csv"]),
        ("timestamptz", 2, 3, ["b.csv"]),
    ],
)
def test_a_rebuild_brings_back_the_files_with_rows_of_its_days(
    settings: Settings, tmp_path: Path, kind: str, first: int, last: int, found: list[str]
) -> None:
    contract = stall(tmp_path, "day: {type: date}", f"day: {{type: {kind}}}")
    source = put(tmp_path / "in", a="1", b="2", c="3")
    a, b, c = DAYS[kind]
    committed_from(settings, contract, source, a=[{"day": a}], b=[{"day": b}], c=[{"day": c}])
    for path in source.iterdir():
        path.unlink()  # the raw zone has them
    again = Again(date(2010, 1, first), date(2010, 1, last))
    plan = make_plan(settings, contract, None, again)
    assert paths(plan.landing.readable) == found == plan.replaced_sources
    assert (plan.kind, len(plan.replaced)) == ("rebuild", 1)


def test_a_rebuild_of_days_without_rows_says_so(settings: Settings, tmp_path: Path) -> None:
    again = Again(date(2010, 1, 1), date(2010, 1, 2))
    said = "market.stall holds no rows from 2010-01-01 to 2010-01-02: nothing to rebuild"
    with pytest.raises(WatchkeeperError, match=said):
        make_plan(settings, stall(tmp_path), None, again)
    commit(settings, stall(tmp_path), [{"day": date(2010, 1, 3), SOURCE_COLUMN: "a.csv"}], Sources())
    with pytest.raises(WatchkeeperError, match=said):
        make_plan(settings, stall(tmp_path), None, again)


def test_a_table_without_times_cannot_be_rebuilt_by_them(settings: Settings, tmp_path: Path) -> None:
    contract = stall(tmp_path, "event_time: day\n", "")
    with pytest.raises(
        WatchkeeperError, match=r"market\.stall has no event_time: it cannot be rebuilt by dates"
    ):
        make_plan(settings, contract, None, Again(date(2010, 1, 1), date(2010, 1, 2)))


def test_a_rebuild_takes_a_correction_that_lands_with_it(settings: Settings, tmp_path: Path) -> None:
    contract, source = stall(tmp_path), put(tmp_path / "in", a="1")
    committed_from(settings, contract, source, a=[{"day": date(2010, 1, 1)}])
    put(source, a="2")
    plan = make_plan(settings, contract, str(source), Again(date(2010, 1, 1), date(2010, 1, 1)))
    [arrival] = plan.landing.readable
    assert arrival.raw.read_text() == HEADER + "2"


def test_a_replay_brings_back_files_with_bad_rows_and_files_that_were_refused(
    settings: Settings, tmp_path: Path
) -> None:
    contract, source = stall(tmp_path), put(tmp_path / "in", a="1", b="2", c="3")
    (source / "d.csv").write_text("id,day\nx,2010-01-01\n")
    sources = committed_from(settings, contract, source, a=[{"id": "x"}], b=[{"id": "x"}], c=[{"id": "x"}])
    assert list(sources.rejected) == ["d.csv"]
    commit(settings, contract, [{"id": "x", SOURCE_COLUMN: "e.csv"}], Sources(quarantined={"b.csv": "run1"}))
    mended = stall(tmp_path, "amount: {type: int}", "amount: {type: int, optional: true}")
    plan = make_plan(settings, mended, None, Again(quarantined=True))
    assert paths(plan.landing.readable) == ["b.csv", "d.csv"]
    assert plan.replaced_sources == ["b.csv"]


def test_a_replay_takes_the_refused_correction_and_a_rebuild_what_is_held() -> None:
    held, refused = Entry(sha256="1", version="1"), Entry(sha256="2", version="2", reason="no header")
    known = Sources(committed={"a": held}, rejected={"a": refused})
    assert entry_again(known, "a", Again(quarantined=True)) == refused
    assert entry_again(known, "a", Again(date(2010, 1, 1), date(2010, 1, 1))) == held
    assert entry_again(Sources(committed={"a": held}), "a", Again(quarantined=True)) == held


def test_a_replay_of_nothing_is_nothing_to_do(settings: Settings, tmp_path: Path) -> None:
    assert make_plan(settings, stall(tmp_path), None, Again(quarantined=True)).nothing_to_do


def job_for(settings: Settings, plan: Plan) -> dict[str, Any]:
    """The job as Spark gets it."""
    plan.folder.mkdir(parents=True)
    job: dict[str, Any] = json.loads(json.dumps(job_of(settings, plan)))
    return job


def test_the_job_reads_what_arrived_by_header_and_knows_its_names(settings: Settings, tmp_path: Path) -> None:
    source = put(tmp_path / "in", a="x,2010-01-01,1\n", b="y,2010-01-01,1\n", empty="")
    (source / "c.csv").write_text("day,amount,id\n2010-01-01,1,z\n")
    plan = make_plan(settings, stall(tmp_path), str(source), Again())
    job = job_for(settings, plan)
    groups = {tuple(group["header"]): len(group["files"]) for group in job["groups"]}
    assert groups == {("id", "day", "amount"): 2, ("day", "amount", "id"): 1}
    names = {arrival.path: arrival.sha256 for arrival in plan.landing.readable if not arrival.finding.empty}
    assert job["sources"] == {sha256: path for path, sha256 in names.items()}
    files = [file for group in job["groups"] for file in group["files"]]
    assert sorted(files) == sorted(str(raw_path(settings.raw, sha256, "x.csv")) for sha256 in names.values())
    assert job["partitions"] == [{"column": "amount", "transform": "identity", "type": "int"}]
    assert job["kept"]["columns"] == [
        ["id", "string", 1],
        ["day", "date", 2],
        ["amount", "int", 3],
        [SOURCE_COLUMN, "string", 4],
    ]


def test_the_job_keeps_other_sources_rows_of_the_files_it_replaces(
    settings: Settings, tmp_path: Path
) -> None:
    contract, source = stall(tmp_path), put(tmp_path / "in", a="x,2010-01-01,1\n", b="y,2010-01-01,1\n")
    committed_from(settings, contract, source, a=[{"id": "x"}], b=[{"id": "y"}])
    plan = make_plan(settings, contract, str(put(source, a="x,2010-01-01,2\n")), Again())
    kept = job_for(settings, plan)["kept"]
    assert kept["except_sources"] == ["a.csv"]
    [group] = kept["groups"]
    assert [Path(file).exists() for file in group["files"]] == [True]


def test_rules_beyond_the_row_get_the_files_that_they_compare_with(
    settings: Settings, tmp_path: Path
) -> None:
    fruits = contract_in(tmp_path / "contracts", "market", "fruits", FRUITS)
    contract, source = stall(tmp_path, more=KEYS), put(tmp_path / "in", a="x,2010-01-01,1\n")
    empty = job_for(settings, make_plan(settings, contract, str(source), Again()))["keys"]
    assert empty["orphan"]["groups"] == empty["duplicate_key"]["groups"] == []
    commit(settings, fruits, [{"name": "x", SOURCE_COLUMN: "fruits.csv"}], Sources(), cell="")
    committed_from(settings, contract, source, a=[{"id": "x"}])
    put(source, a="x,2010-01-01,2\n", b="y,2010-01-01,1\n")
    keys = job_for(settings, make_plan(settings, contract, str(source), Again()))["keys"]
    assert keys["orphan"]["columns"] == [["name", "string"]]
    assert "/fruits/" in keys["orphan"]["groups"][0]["files"][0]
    # What a correction replaces does not make its own rows duplicates.
    assert keys["duplicate_key"]["columns"] == [["id", "string"], [SOURCE_COLUMN, "string"]]
    assert keys["duplicate_key"]["except_sources"] == ["a.csv", "b.csv"]
    assert "/stall/" in keys["duplicate_key"]["groups"][0]["files"][0]


def test_files_are_read_together_where_their_types_agree(settings: Settings, tmp_path: Path) -> None:
    contract = stall(tmp_path)
    for day in (1, 2):
        commit(settings, contract, [{"day": date(2010, 1, day)}], Sources())
    wider = stall(tmp_path, "amount: {type: int}", "amount: {type: long}")
    commit(settings, wider, [{"amount": 2**40}], Sources(), cell="_p0=9")
    table = Lake(settings).table("market.stall")
    assert table is not None
    files = [task.file for task in table.scan().plan_files()]
    assert sorted(len(group) for group in by_schema(files)) == [1, 2]
    assert by_schema([]) == []
