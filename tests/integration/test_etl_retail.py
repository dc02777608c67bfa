"""The retail contract end to end on small files, without Prefect."""

import gzip
import hashlib
import random
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyiceberg.manifest import DataFile
from pyiceberg.transforms import BucketTransform
from pyiceberg.types import LongType

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl import steps
from flows.etl.datasets import load_dataset, with_event_time
from flows.etl.lake import Lake
from flows.etl.plan import Again, make_plan
from flows.etl.runners.life import Engine
from flows.etl.runners.local import LocalRunner
from flows.etl.sql import Query
from tests.factories import (
    RETAIL_HEADER,
    SHIPPED,
    ask,
    bad_rows,
    content_hash,
    contract_in,
    data_files,
    lake_contents,
    retail_row,
    run_table,
    settings_of,
    shipped,
    table_of,
    work_off,
    write_csv,
)

CONTRACT = shipped("online_retail.transactions")
TABLE = CONTRACT.identifier
# Iceberg's bucket of 4: customers 1 and 2 are in bucket 0, 7 is in 3.


def cell_of(file: DataFile) -> tuple[int, int | None]:
    """Months since 1970, and the customer's bucket."""
    return file.partition[0], file.partition[1]


def test_every_row_ends_in_exactly_one_place(settings: Settings, tmp_path: Path) -> None:
    good, copy = retail_row(), retail_row(Quantity=1)
    bad_price, bad_quantity = retail_row(UnitPrice="-1"), retail_row(Quantity=-2)
    cancelled = retail_row(InvoiceNo="C536379", Quantity=-1)
    rows = [good, copy, copy, bad_price, bad_quantity, cancelled] + [
        retail_row(StockCode=n) for n in range(40)
    ]
    write_csv(tmp_path / "in" / "2010-12-01.csv.gz", rows)
    result = run_table(settings, CONTRACT, tmp_path / "in")
    assert (result.rows_in, result.rows_committed, result.rows_quarantined, result.rows_duplicate) == (
        46,
        43,
        2,
        1,
    )
    assert result.quarantined_by_rule == {"unit_price_below_zero": 1, "negative_quantity_not_cancelled": 1}
    total = ask(settings, f"SELECT sum(quantity * unit_price) FROM {TABLE}")
    assert total == [(Decimal("6") * Decimal("2.55") * 41 + Decimal("2.55") - Decimal("2.55"),)]


def test_the_same_input_twice_is_one_commit(settings: Settings, tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", [retail_row()])
    assert run_table(settings, CONTRACT, tmp_path / "in").outcome == "committed"
    assert run_table(settings, CONTRACT, tmp_path / "in").outcome == "unchanged"
    assert len(table_of(settings, TABLE).snapshots()) == 1


def test_the_job_as_a_process_of_its_own_does_the_same(settings: Settings, tmp_path: Path) -> None:
    rows = [retail_row(StockCode=n, CustomerID=n % 5 or "") for n in range(40)] + [retail_row(UnitPrice=-1)]
    write_csv(tmp_path / "in" / "a.csv", rows)
    other = settings.model_copy(update={"home": tmp_path / "other"})
    warm = run_table(settings, CONTRACT, tmp_path / "in")
    cold = run_table(other, CONTRACT, tmp_path / "in", engine=Engine(LocalRunner(other)))
    assert (cold.rows_committed, cold.rows_quarantined, cold.files) == (40, 1, warm.files)
    assert content_hash(other, TABLE) == content_hash(settings, TABLE)
    assert bad_rows(other, CONTRACT) == bad_rows(settings, CONTRACT)
    assert not list((other.home / "staging").glob("*/*/*")), "staging is left clean"


def test_a_corrected_file_replaces_its_rows_and_nothing_else(settings: Settings, tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", [retail_row(Quantity=1), retail_row(Quantity=2)])
    write_csv(tmp_path / "in" / "b.csv", [retail_row(Quantity=10)])
    run_table(settings, CONTRACT, tmp_path / "in")
    write_csv(tmp_path / "in" / "a.csv", [retail_row(Quantity=3)])
    result = run_table(settings, CONTRACT, tmp_path / "in")
    assert (result.rows_in, result.rows_committed, result.files) == (1, 1, 1)
    held = ask(settings, f"SELECT _source_file, quantity FROM {TABLE} ORDER BY 2")
    assert held == [("a.csv", 3), ("b.csv", 10)]


def test_a_correction_rewrites_only_the_data_files_that_hold_its_rows(
    settings: Settings, tmp_path: Path
) -> None:
    write_csv(tmp_path / "in" / "a.csv", [retail_row(CustomerID=7)])
    write_csv(tmp_path / "in" / "b.csv", [retail_row(CustomerID=id, StockCode="B") for id in (7, 1, "")])
    write_csv(tmp_path / "in" / "c.csv", [retail_row(CustomerID=7, InvoiceDate="2011-01-05")])
    run_table(settings, CONTRACT, tmp_path / "in")
    before = data_files(settings, TABLE)
    write_csv(tmp_path / "in" / "a.csv", [retail_row(CustomerID=7, Quantity=99)])
    run_table(settings, CONTRACT, tmp_path / "in")
    after = data_files(settings, TABLE)
    gone, new = before.keys() - after.keys(), after.keys() - before.keys()
    december, bucket = 491, 3
    assert [cell_of(before[path]) for path in gone] == [(december, bucket)]
    assert [cell_of(after[path]) for path in new] == [(december, bucket)]
    assert len(before.keys() & after.keys()) == 3
    assert len(table_of(settings, TABLE).snapshots()) == 2
    held = ask(settings, f"SELECT _source_file, quantity FROM {TABLE} WHERE customer_id = 7 ORDER BY 1")
    assert held == [("a.csv", 99), ("b.csv", 6), ("c.csv", 6)]


def test_a_content_that_moved_to_another_path_is_kept(settings: Settings, tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "today.csv", [retail_row(Quantity=1)])
    run_table(settings, CONTRACT, tmp_path / "in")
    (tmp_path / "in" / "today.csv").rename(tmp_path / "in" / "yesterday.csv")
    write_csv(tmp_path / "in" / "today.csv", [retail_row(Quantity=2)])
    run_table(settings, CONTRACT, tmp_path / "in")
    held = ask(settings, f"SELECT _source_file, quantity FROM {TABLE} ORDER BY 2")
    assert held == [("yesterday.csv", 1), ("today.csv", 2)]


def test_a_snapshot_names_its_run_and_its_counts(settings: Settings, tmp_path: Path) -> None:
    rows = [retail_row(StockCode=n) for n in range(30)]
    write_csv(tmp_path / "in" / "a.csv", [*rows, rows[0], retail_row(UnitPrice=-1)])
    write_csv(tmp_path / "in" / "b.csv", [retail_row(InvoiceDate="2011-02-03 04:05:06")])
    plan = make_plan(settings, CONTRACT, str(tmp_path / "in"), Again())
    manifest = hashlib.sha256(steps.manifest(plan).encode()).hexdigest()
    steps.commit(settings, plan, work_off(settings, plan), "the-flow-run")
    snapshot = table_of(settings, TABLE).current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    said = {k.removeprefix("watchkeeper."): v for k, v in snapshot.summary.additional_properties.items()}
    sources = Lake(settings).folder(TABLE) / "sources" / f"{said.pop('sources')}.json"
    assert sources.is_file()
    assert {name: said[name] for name in EXPECTED} == EXPECTED | {
        "run": plan.run,
        "manifest-sha256": manifest,
        "git-revision": steps.git_revision(),
    }


EXPECTED = {
    "kind": "etl",
    "run": "",
    "flow-run-id": "the-flow-run",
    "manifest-sha256": "",
    "git-revision": "",
    "files-in": "2",
    "rows-in": "33",
    "rows-committed": "31",
    "rows-quarantined": "1",
    "rows-duplicate": "1",
    "quarantined-by-rule": '{"unit_price_below_zero": 1}',
    "newest-event": "2011-02-03T04:05:06",
}


def test_the_files_are_the_distinct_cells_of_month_and_bucket(settings: Settings, tmp_path: Path) -> None:
    chance = random.Random(5)
    moments = [f"{2010 + n // 12}-{1 + n % 12:02}-28 23:59:59" for n in range(8, 14)]
    rows = [
        retail_row(
            StockCode=n,
            CustomerID=chance.choice(["", chance.randrange(2**40)]),
            InvoiceDate=chance.choice(moments),
        )
        for n in range(300)
    ]
    write_csv(tmp_path / "in" / "a.csv", rows)
    run_table(settings, CONTRACT, tmp_path / "in")
    bucket = BucketTransform(4).transform(LongType())
    cells: Counter[tuple[int, int | None]] = Counter()
    for moment, customer in ask(settings, f"SELECT invoice_date, customer_id FROM {TABLE}"):
        assert isinstance(moment, datetime)
        cells[(moment.year - 1970) * 12 + moment.month - 1, bucket(customer)] += 1
    files = data_files(settings, TABLE).values()
    assert Counter({cell_of(file): file.record_count for file in files}) == cells
    assert len(files) == len(cells) == 6 * 5


def test_rows_without_a_customer_have_a_bucket_of_their_own(settings: Settings, tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", [retail_row(CustomerID=id, StockCode=id) for id in (1, 7, "")])
    run_table(settings, CONTRACT, tmp_path / "in")
    query = Query(Lake(settings), f"SELECT stock_code FROM {TABLE} WHERE customer_id IS NULL")
    assert (len(query.scans[0].paths), query.scans[0].files_in_table) == (1, 3)
    assert query.run().fetchall() == [(None,)]


def test_the_verdicts_physical_columns_are_not_the_tables(settings: Settings, tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", [retail_row()])
    run_table(settings, CONTRACT, tmp_path / "in")
    [path] = data_files(settings, TABLE)
    assert {"_rule", "_raw", "_sha256"} <= set(pq.read_schema(path).names)
    columns = [column[0] for column in Query(Lake(settings), f"FROM {TABLE}").run().description or []]
    assert columns == [*CONTRACT.columns, "_source_file"]
    for column in ("_rule", "_raw", "_sha256"):
        with pytest.raises(WatchkeeperError, match=f'"{column}" not found'):
            ask(settings, f"SELECT {column} FROM {TABLE}")


def test_identical_lines_are_kept_where_the_contract_says_so(settings: Settings, tmp_path: Path) -> None:
    keeping = CONTRACT.model_copy(update={"duplicates": "keep"})
    write_csv(tmp_path / "in" / "a.csv", [retail_row()] * 3)
    write_csv(tmp_path / "in" / "b.csv", [retail_row(), retail_row(Quantity=2)])
    result = run_table(settings, keeping, tmp_path / "in")
    assert (result.rows_in, result.rows_committed, result.rows_duplicate) == (5, 5, 0)


def test_copies_are_dropped_within_a_file_and_not_across_files(settings: Settings, tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", [retail_row()] * 3)
    write_csv(tmp_path / "in" / "b.csv", [retail_row(), retail_row(Quantity=2)])
    result = run_table(settings, CONTRACT, tmp_path / "in")
    assert (result.rows_in, result.rows_committed, result.rows_duplicate) == (5, 3, 2)


HEADER_LINE = ",".join(RETAIL_HEADER) + "\n"


@pytest.mark.parametrize("text", ["", "\n\n", "  \n", HEADER_LINE, HEADER_LINE + " \n", HEADER_LINE * 3])
def test_an_empty_file_is_no_error(settings: Settings, tmp_path: Path, text: str) -> None:
    write_csv(tmp_path / "in" / "empty.csv", []).write_text(text)
    assert run_table(settings, CONTRACT, tmp_path / "in").outcome == "unchanged"
    assert lake_contents(settings) == {}


def test_an_empty_correction_removes_the_rows(settings: Settings, tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", [retail_row(Quantity=1)])
    write_csv(tmp_path / "in" / "b.csv", [retail_row(Quantity=2)])
    run_table(settings, CONTRACT, tmp_path / "in")
    write_csv(tmp_path / "in" / "a.csv", [])
    assert run_table(settings, CONTRACT, tmp_path / "in").outcome == "committed"
    assert ask(settings, f"SELECT _source_file FROM {TABLE}") == [("b.csv",)]
    assert run_table(settings, CONTRACT, tmp_path / "in").outcome == "unchanged"
    write_csv(tmp_path / "in" / "b.csv", [])
    assert run_table(settings, CONTRACT, tmp_path / "in").outcome == "committed"
    assert ask(settings, f"SELECT count(*) FROM {TABLE}") == [(0,)]
    assert data_files(settings, TABLE) == {}


def test_a_file_of_bad_rows_only_can_be_corrected_to_an_empty_one(settings: Settings, tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", [retail_row(UnitPrice=-1)])
    write_csv(tmp_path / "in" / "b.csv", [retail_row(StockCode=n) for n in range(20)])
    run_table(settings, CONTRACT, tmp_path / "in")
    write_csv(tmp_path / "in" / "a.csv", [])
    assert run_table(settings, CONTRACT, tmp_path / "in").outcome == "committed"
    assert bad_rows(settings, CONTRACT) == []
    assert ask(settings, f"SELECT count(*) FROM {TABLE}") == [(20,)]


def test_a_rebuild_is_one_commit_with_the_same_rows(settings: Settings, tmp_path: Path) -> None:
    for day in ("2010-12-01", "2010-12-02", "2011-01-03"):
        rows = [retail_row(InvoiceDate=f"{day} 09:00:00", CustomerID=id) for id in (1, 7)]
        write_csv(tmp_path / "in" / f"{day}.csv", rows)
    run_table(settings, CONTRACT, tmp_path / "in")
    content, files = content_hash(settings, TABLE), data_files(settings, TABLE)
    again = Again(date(2010, 12, 1), date(2010, 12, 2))
    result = run_table(settings, CONTRACT, None, again)
    assert (result.rows_in, result.rows_committed, result.source_files) == (4, 4, 2)
    assert content_hash(settings, TABLE) == content
    assert {f.partition[0] for path, f in data_files(settings, TABLE).items() if path in files} == {492}
    snapshots = table_of(settings, TABLE).snapshots()
    kinds = [snapshot.summary["watchkeeper.kind"] for snapshot in snapshots if snapshot.summary]
    assert kinds == ["etl", "rebuild"]


def test_a_rebuild_of_days_without_rows_says_so(settings: Settings, tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", [retail_row(InvoiceDate="2010-12-01 23:59:59")])
    run_table(settings, CONTRACT, tmp_path / "in")
    before = lake_contents(settings)
    with pytest.raises(WatchkeeperError, match="holds no rows from 2010-12-02 to 2010-12-03"):
        run_table(settings, CONTRACT, None, Again(date(2010, 12, 2), date(2010, 12, 3)))
    assert lake_contents(settings) == before


def test_a_replay_brings_in_what_a_relaxed_rule_lets_pass(settings: Settings, tmp_path: Path) -> None:
    rows = [retail_row(StockCode=n) for n in range(30)]
    write_csv(tmp_path / "in" / "a.csv", [*rows, retail_row(UnitPrice=-1), retail_row(UnitPrice="free")])
    write_csv(tmp_path / "in" / "b.csv", [retail_row(Quantity=2)])
    run_table(settings, CONTRACT, tmp_path / "in")
    assert [row[2] for row in bad_rows(settings, CONTRACT)] == ["unit_price_below_zero", "bad_unit_price"]
    rules = [rule for rule in CONTRACT.rules if rule.name != "unit_price_below_zero"]
    result = run_table(settings, CONTRACT.model_copy(update={"rules": rules}), None, Again(quarantined=True))
    assert (result.rows_in, result.rows_committed, result.rows_quarantined) == (32, 31, 1)
    assert [row[2] for row in bad_rows(settings, CONTRACT)] == ["bad_unit_price"]
    assert ask(settings, f"SELECT count(*), min(unit_price) FROM {TABLE}") == [(32, Decimal("-1"))]


def test_a_replay_reads_a_refused_file_again_under_todays_contract(
    settings: Settings, tmp_path: Path
) -> None:
    write_csv(tmp_path / "in" / "good.csv", [retail_row()])
    write_csv(tmp_path / "in" / "old.csv", [retail_row(Quantity=2)[:-1]], RETAIL_HEADER[:-1])
    first = run_table(settings, CONTRACT, tmp_path / "in")
    assert (first.source_files, first.files_quarantined) == (1, 1)
    country = CONTRACT.columns["country"].model_copy(update={"optional": True})
    patient = CONTRACT.model_copy(update={"columns": CONTRACT.columns | {"country": country}})
    assert run_table(settings, patient, tmp_path / "in").outcome == "unchanged", "only a replay asks again"
    result = run_table(settings, patient, None, Again(quarantined=True))
    assert (result.rows_committed, result.files_quarantined) == (1, 0)
    assert ask(settings, f"SELECT quantity, country FROM {TABLE} ORDER BY 1") == [
        (2, None),
        (6, "United Kingdom"),
    ]


def test_a_replay_prefers_a_refused_correction_to_what_it_was_to_replace(
    settings: Settings, tmp_path: Path
) -> None:
    write_csv(tmp_path / "in" / "a.csv", [retail_row(Quantity=1)])
    run_table(settings, CONTRACT, tmp_path / "in")
    write_csv(tmp_path / "in" / "a.csv", [retail_row(Quantity=2)[:-1]], RETAIL_HEADER[:-1])
    write_csv(tmp_path / "in" / "b.csv", [retail_row(Quantity=3)])
    run_table(settings, CONTRACT, tmp_path / "in")
    assert ask(settings, f"SELECT quantity FROM {TABLE} ORDER BY 1") == [(1,), (3,)]
    country = CONTRACT.columns["country"].model_copy(update={"optional": True})
    patient = CONTRACT.model_copy(update={"columns": CONTRACT.columns | {"country": country}})
    run_table(settings, patient, None, Again(quarantined=True))
    assert ask(settings, f"SELECT quantity FROM {TABLE} ORDER BY 1") == [(2,), (3,)]
    assert run_table(settings, patient, tmp_path / "in").outcome == "unchanged"


def test_a_rebuild_leaves_a_refused_correction_known(settings: Settings, tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", [retail_row()])
    run_table(settings, CONTRACT, tmp_path / "in")
    (tmp_path / "in" / "a.csv").write_bytes(b"\0")
    write_csv(tmp_path / "in" / "b.csv", [retail_row(Quantity=3)])
    run_table(settings, CONTRACT, tmp_path / "in")
    run_table(settings, CONTRACT, None, Again(date(2010, 12, 1), date(2010, 12, 1)))
    assert run_table(settings, CONTRACT, tmp_path / "in").outcome == "unchanged"


def test_a_quarantined_row_names_its_file_and_line(settings: Settings, tmp_path: Path) -> None:
    good = [retail_row(StockCode=n) for n in range(60)]
    write_csv(
        tmp_path / "in" / "day" / "a.csv.gz", [*good, retail_row(UnitPrice=-1), retail_row(UnitPrice=-1)]
    )
    lines = write_csv(tmp_path / "in" / "b.csv", [retail_row(Quantity=-1), retail_row(), ["one", "two"]])
    lines.write_bytes(b"\xef\xbb\xbf" + lines.read_bytes().replace(b"\n", b"\r\n\r\n"))
    run_table(settings, CONTRACT, tmp_path / "in")
    price = "536365,85123A,WHITE HANGING HEART T-LIGHT HOLDER,6,2010-12-01 08:26:00,-1,17850.0,United Kingdom"
    assert bad_rows(settings, CONTRACT) == [
        (
            "b.csv",
            3,
            "negative_quantity_not_cancelled",
            price.replace(",6,", ",-1,").replace(",-1,178", ",2.55,178"),
        ),
        ("b.csv", 7, "ragged_line", "one,two"),
        ("day/a.csv.gz", 62, "unit_price_below_zero", price),
    ]
    raw = gzip.decompress((tmp_path / "in" / "day" / "a.csv.gz").read_bytes()).decode().splitlines()
    assert raw[62 - 1] == price


def test_too_many_bad_rows_commit_nothing_and_can_be_seen(settings: Settings, tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", [retail_row()])
    run_table(settings, CONTRACT, tmp_path / "in")
    before = lake_contents(settings)
    write_csv(tmp_path / "in" / "b.csv", [retail_row(StockCode=n, UnitPrice=-1) for n in range(3)])
    with pytest.raises(
        WatchkeeperError, match=r"3 of 3 rows \(100\.0%\) broke a rule.*--run \w{12}"
    ) as refused:
        run_table(settings, CONTRACT, tmp_path / "in")
    assert lake_contents(settings) == before
    run = str(refused.value).partition("--run ")[2][:12]
    kept = pq.read_table(settings.home / "quarantine" / "online_retail" / "transactions" / f"{run}.parquet")
    assert kept["line"].to_pylist() == [2, 3, 4]
    write_csv(tmp_path / "in" / "b.csv", [retail_row(StockCode="mended")])
    assert run_table(settings, CONTRACT, tmp_path / "in").rows_committed == 1


def test_a_table_without_an_event_time_cannot_be_rebuilt_by_dates(settings: Settings, tmp_path: Path) -> None:
    contract = contract_in(
        tmp_path,
        "shop",
        "stores",
        "{description: S, source: {pattern: '*', format: csv}, columns: {id: {type: int}}, duplicates: keep}",
    )
    with pytest.raises(WatchkeeperError, match=r"shop\.stores has no event_time"):
        run_table(settings, contract, None, Again(date(2010, 12, 1), date(2010, 12, 1)))


def test_a_home_of_any_name_holds_a_lake_that_iceberg_reads(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "a b%20c=d#é+?;" / "home")
    write_csv(tmp_path / "in #1" / "a b.csv", [retail_row(Quantity=1), retail_row(Quantity=2)])
    write_csv(tmp_path / "in #1" / "é#%20.csv", [retail_row(Quantity=3)])
    run_table(settings, CONTRACT, tmp_path / "in #1")
    write_csv(tmp_path / "in #1" / "a b.csv", [retail_row(Quantity=4)])
    run_table(settings, CONTRACT, tmp_path / "in #1")
    by_iceberg = table_of(settings, TABLE).scan(selected_fields=("quantity", "_source_file")).to_arrow()
    assert sorted(by_iceberg["quantity"].to_pylist()) == [3, 4]
    assert ask(settings, f"SELECT _source_file FROM {TABLE} ORDER BY quantity") == [
        ("é#%20.csv",),
        ("a b.csv",),
    ]
    assert [path.name for path in (tmp_path / "a b%20c=d#é+?;").iterdir()] == ["home"]


def test_a_correction_to_what_another_file_holds_leaves_the_rows_once(
    settings: Settings, tmp_path: Path
) -> None:
    write_csv(tmp_path / "in" / "a.csv", [retail_row(Quantity=1)])
    write_csv(tmp_path / "in" / "b.csv", [retail_row(Quantity=2)])
    run_table(settings, CONTRACT, tmp_path / "in")
    write_csv(tmp_path / "in" / "b.csv", [retail_row(Quantity=1)])
    assert run_table(settings, CONTRACT, tmp_path / "in").outcome == "committed"
    assert ask(settings, f"SELECT _source_file, quantity FROM {TABLE}") == [("a.csv", 1)]
    assert run_table(settings, CONTRACT, tmp_path / "in").outcome == "unchanged"
    write_csv(tmp_path / "in" / "a.csv", [retail_row(Quantity=3)])
    run_table(settings, CONTRACT, tmp_path / "in")
    held = ask(settings, f"SELECT _source_file, quantity FROM {TABLE} ORDER BY 1")
    assert held == [("a.csv", 3), ("b.csv", 1)]


def test_a_rebuild_is_of_those_tables_that_have_an_event_time() -> None:
    assert [c.table for c in with_event_time(load_dataset(SHIPPED, "hm"))] == ["transactions"]
    with pytest.raises(WatchkeeperError, match=r"no event_time in the contracts of garments\.articles"):
        with_event_time(load_dataset(SHIPPED, "garments"))
