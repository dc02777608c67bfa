"""What the exporter says of tables, of the landing zone and of runs is what these are."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl.collectors import LandingZones, Orphans, contracts, tables
from flows.etl.lake import WatchedLake
from flows.etl.maintain import Upkeep, expire, sweep
from flows.etl.plan import Again
from flows.health.collectors import Runs
from observability.metrics import (
    COMMIT_ROWS,
    LANDING_FILES,
    LANDING_TIME,
    LATE_RUNS,
    ORPHAN_BYTES,
    ORPHAN_FILES,
    QUARANTINED_ROWS,
    RUN_SECONDS,
    RUN_STATE,
    RUN_TIME,
    RUNNING_SINCE,
    SCHEDULED_RUNS,
    SUCCESS_TIME,
    TABLE_BYTES,
    TABLE_EVENT_TIME,
    TABLE_FILES,
    TABLE_MAX_AGE,
    TABLE_ROWS,
    TABLE_TIME,
    WORKER_TIME,
)
from tests.checkout import Checkout
from tests.factories import (
    bad_rows,
    compact_table,
    contract_in,
    data_files,
    retail_row,
    run_table,
    settings_of,
    shipped,
    wait_until,
    write_csv,
)
from tests.said import Said

pytestmark = pytest.mark.timeout(300)
RETAIL = {"dataset": "online_retail", "table": "transactions"}


def test_a_table_and_what_its_newest_data_was_like(settings: Settings) -> None:
    contract, folder = shipped("online_retail.transactions"), settings.home / "in"
    write_csv(folder / "2010-12-01.csv.gz", [retail_row(StockCode=n) for n in range(5)])
    run_table(settings, contract, folder)
    lake = WatchedLake(settings)
    assert Said(tables(settings, lake)).of(TABLE_ROWS, **RETAIL) == 5
    assert lake.table(contract.identifier) is lake.table(contract.identifier), "nothing is read twice"
    good = [retail_row(StockCode=n, InvoiceDate="2010-12-02 10:30:00") for n in range(40)]
    bad = [retail_row(Quantity=-1), retail_row(UnitPrice=-1)]
    write_csv(folder / "2010-12-02.csv.gz", [*good, *bad, good[0]])
    before = time.time()
    run_table(settings, contract, folder)
    found = Said(tables(settings, lake))
    files = data_files(settings, "online_retail.transactions").values()
    assert found.of(TABLE_ROWS, **RETAIL) == 45
    assert found.of(TABLE_FILES, **RETAIL) == len(files)
    assert found.of(TABLE_BYTES, **RETAIL) == sum(file.file_size_in_bytes for file in files)
    assert found.of(TABLE_EVENT_TIME, **RETAIL) == 1291285800, "2010-12-02 10:30 UTC"
    outcomes = {"committed": 40, "quarantined": 2, "duplicate": 1}
    assert {name: found.of(COMMIT_ROWS, **RETAIL, outcome=name) for name in outcomes} == outcomes
    broken = [labels["rule"] for metric, labels, _ in tables(settings, lake) if metric is QUARANTINED_ROWS]
    assert len(broken) == 2
    committed = found.of(TABLE_TIME, **RETAIL)
    assert committed is not None
    assert before <= committed + 0.001 < time.time() + 1

    compact_table(settings, contract)
    again = Said(tables(settings, lake))
    assert again.of(TABLE_TIME, **RETAIL) == committed, "compaction is no new data"
    assert again.of(TABLE_ROWS, **RETAIL) == 45


def test_a_replay_takes_out_of_the_newest_commits_bad_rows_what_it_mended(settings: Settings) -> None:
    contract, folder = shipped("online_retail.transactions"), settings.home / "in"
    good = [retail_row(StockCode=n) for n in range(40)]
    worthless = [retail_row(UnitPrice="free"), retail_row(UnitPrice="dear")]
    write_csv(folder / "2010-12-01.csv", [*good, *worthless, retail_row(UnitPrice=-9)])
    run_table(settings, contract, folder)
    bad = [retail_row(UnitPrice=-1), retail_row(UnitPrice=-2), retail_row(Quantity=-1)]
    write_csv(folder / "2010-12-02.csv", [*good, *bad])
    run_table(settings, contract, folder)
    lake = WatchedLake(settings)

    def said() -> tuple[float | None, dict[str, float]]:
        found = list(tables(settings, lake))
        rules = {labels["rule"]: value for metric, labels, value in found if metric is QUARANTINED_ROWS}
        assert Said(found).of(COMMIT_ROWS, **RETAIL, outcome="committed") == 40, "a replay is no new data"
        return Said(found).of(COMMIT_ROWS, **RETAIL, outcome="quarantined"), rules

    assert said() == (3, {"unit_price_below_zero": 2, "negative_quantity_not_cancelled": 1})
    compact_table(settings, contract)
    assert said() == (3, {"unit_price_below_zero": 2, "negative_quantity_not_cancelled": 1})
    for mended, left in (
        ("unit_price_below_zero", {"negative_quantity_not_cancelled": 1}),
        ("negative_quantity_not_cancelled", {}),
    ):
        rules = [rule for rule in contract.rules if rule.name != mended]
        contract = contract.model_copy(update={"rules": rules})
        run_table(settings, contract, None, Again(quarantined=True))
        assert said() == (sum(left.values()), left), "the first file's worthless rows are not its own"
    assert len(bad_rows(settings, contract)) == 2


def test_a_table_that_gets_nothing_new_grows_older_though_its_snapshots_expire(settings: Settings) -> None:
    contract, folder = shipped("online_retail.transactions"), settings.home / "in"
    for day in (1, 2):
        row = retail_row(InvoiceDate=f"2010-12-0{day} 10:30:00")
        write_csv(folder / f"2010-12-0{day}.csv", [row])
        run_table(settings, contract, folder)
    compact_table(settings, contract)
    expire(settings_of(settings.home, snapshot_retention_days=1e-9), contract, Upkeep())
    found = Said(tables(settings, WatchedLake(settings)))
    assert found.of(TABLE_TIME, **RETAIL) is None
    assert found.of(TABLE_EVENT_TIME, **RETAIL) == 1291285800


def test_orphans_are_told_when_two_maintenances_should_have_had_them(settings: Settings) -> None:
    contract, folder = shipped("online_retail.transactions"), settings.home / "in"
    write_csv(folder / "2010-12-01.csv.gz", [retail_row(StockCode=n) for n in range(20)])
    run_table(settings, contract, folder)
    good = [retail_row(StockCode=n, InvoiceDate="2010-12-02 10:30:00") for n in range(40)]
    write_csv(folder / "2010-12-02.csv.gz", [*good, retail_row(Quantity=-1)])
    run_table(settings, contract, folder)
    orphans = Orphans(settings, WatchedLake(settings))

    def said() -> tuple[float | None, float | None]:
        found = Said(orphans.collect())
        return found.of(ORPHAN_FILES, **RETAIL), found.of(ORPHAN_BYTES, **RETAIL)

    table = settings.home / "lake" / "online_retail" / "transactions"
    killed = table / "data" / "killed" / "part-0.parquet"
    refused = settings.home / "quarantine" / "online_retail" / "transactions" / "refused.parquet"
    for path in (killed, refused):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    hours = settings.orphan_age_hours + settings.orphan_overdue_hours
    set_back(settings.home, hours - 1)
    assert said() == (0, 0), "maintenance may still come"
    set_back(settings.home, hours + 1)
    assert said() == (1, 5), "what a snapshot names is none, nor are bad rows within the retention"
    set_back(settings.home, 24 * settings.snapshot_retention_days + hours)
    assert said() == (2, 10)
    young = killed.with_name("part-1.parquet")
    young.touch()
    sweep(settings, contract, upkeep := Upkeep())
    assert upkeep.files_removed == 2
    assert said() == (0, 0)
    assert young.exists()
    assert run_table(settings, contract, folder).outcome == "unchanged"


def test_a_table_without_a_contract_is_nobodys_to_maintain(settings: Settings, tmp_path: Path) -> None:
    contract, folder = shipped("online_retail.transactions"), settings.home / "in"
    write_csv(folder / "2010-12-01.csv.gz", [retail_row()])
    run_table(settings, contract, folder)
    alone = settings.model_copy(update={"contracts": tmp_path})
    assert list(Orphans(alone, WatchedLake(alone)).collect()) == []


def set_back(folder: Path, hours: float) -> None:
    """The clock of every file below a folder."""
    then = time.time() - hours * 3600
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


def test_how_old_a_table_may_be(settings: Settings, tmp_path: Path) -> None:
    plain = {
        "description": "Items.",
        "source": {"pattern": "*.csv", "format": "csv"},
        "columns": {"id": {"type": "int"}, "at": {"type": "timestamp"}},
        "event_time": "at",
        "duplicates": "drop",
    }
    contract_in(tmp_path, "shop", "any", plain)
    contract_in(tmp_path, "shop", "fresh", {**plain, "table_rules": {"max_age_days": 0.5}})
    found = Said(contracts(settings.model_copy(update={"contracts": tmp_path})))
    assert found.of(TABLE_MAX_AGE, dataset="shop", table="fresh") == 43_200
    assert found.of(TABLE_MAX_AGE, dataset="shop", table="any") is None
    living = {f"{labels['dataset']}.{labels['table']}": age for _, labels, age in contracts(settings)}
    assert living == {"serving.predictions": 3 * 86_400}, (
        "of what ships; the others are of years that are over"
    )


def test_what_waits_in_the_landing_zone(settings: Settings) -> None:
    contract, folder = shipped("online_retail.transactions"), settings.landing / "online_retail"
    landing = LandingZones(settings, WatchedLake(settings))
    assert list(landing.collect()) == []
    first = write_csv(folder / "2010-12-01.csv.gz", [retail_row()])
    (folder / "readme.txt").write_text("of no table")
    found = Said(landing.collect())
    assert found.of(LANDING_FILES, **RETAIL) == 1
    assert found.of(LANDING_TIME, **RETAIL) == pytest.approx(first.stat().st_mtime, abs=0.001)
    run_table(settings, contract, folder)
    found = Said(landing.collect())
    assert found.of(LANDING_FILES, **RETAIL) == 0
    assert found.of(LANDING_TIME, **RETAIL) is None


def test_what_a_run_would_leave_as_it_is_does_not_wait(settings: Settings) -> None:
    contract, folder = shipped("online_retail.transactions"), settings.landing / "online_retail"
    landing = LandingZones(settings, WatchedLake(settings))
    first = write_csv(folder / "2010-12-01.csv", [retail_row(StockCode=n) for n in range(1000)])
    run_table(settings, contract, folder)

    def waiting() -> float | None:
        return Said(landing.collect()).of(LANDING_FILES, **RETAIL)

    copy = folder / "copies" / "2010-12-09.csv"
    copy.parent.mkdir()
    shutil.copy(first, copy)
    write_csv(folder / "2010-12-02.csv", [])
    (folder / "2010-12-03.csv").touch()
    assert waiting() == 0, "a copy, a header alone, and nothing"
    assert run_table(settings, contract, folder).outcome == "unchanged", "a run says the same"
    other = first.read_bytes().replace(b"WHITE", b"BLACK")
    copy.write_bytes(other)
    assert waiting() == 1, "as long as what the table holds, and not the same"
    copy.unlink()
    write_csv(folder / "2010-12-02.csv", [retail_row(InvoiceDate="2010-12-02")])
    assert waiting() == 1, "it was empty, and has a row now"
    (folder / "2010-12-03.csv").write_text("no header of ours\n1\n")
    assert waiting() == 2, "a run has to say what is wrong with it"
    write_csv(first, [retail_row(StockCode=n) for n in range(900)])
    assert waiting() == 3, "a correction"
    run_table(settings, contract, folder)
    assert waiting() == 0


# Stands in for the ETL: what the exporter says does not depend on what a flow does.
FLOW = """
import time
from pathlib import Path
from prefect import flow

@flow
def etl(dataset: str, source: str | None = None) -> None:
    if dataset == "garments":
        raise ValueError("no good")
    while source and Path(source).exists():
        time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    with Checkout(tmp_path_factory.mktemp("watched"), {"flows/etl/flow.py": FLOW}).deployed() as made:
        yield made


def start(checkout: Checkout, deployment: str, *parameters: str) -> None:
    given = [word for parameter in parameters for word in ("--param", parameter)]
    checkout.run("flows.prefect_cli", "deployment", "run", f"etl/{deployment}", *given)


@pytest.mark.slow
def test_runs_as_they_begin_and_end(checkout: Checkout, tmp_path: Path) -> None:
    runs = Runs(checkout.settings)
    hm = {"flow": "etl", "deployment": "etl-hm"}
    garments = {"flow": "etl", "deployment": "etl-garments"}
    assert Said(runs.collect()).of(RUN_TIME, **hm) is None
    assert Said(runs.collect()).of(LATE_RUNS, **hm) == 0
    assert Said(runs.collect()).of(SCHEDULED_RUNS, **hm) is None, "no schedule is on"

    start(checkout, "etl-hm")
    wait_until(lambda: Said(runs.collect()).of(LATE_RUNS, **hm) == 1, "a run that no worker takes", 60)
    start(checkout, "etl-garments")
    gate = tmp_path / "shut"
    gate.touch()
    start(checkout, "etl-online-retail", f"source={gate}")
    with checkout.worker():
        retail = {"flow": "etl", "deployment": "etl-online-retail"}
        wait_until(lambda: Said(runs.collect()).of(RUNNING_SINCE, **retail) is not None, "a run", 90)
        wait_until(lambda: Said(runs.collect()).of(RUN_TIME, **garments) is not None, "a failure", 90)
        wait_until(lambda: Said(runs.collect()).of(RUN_TIME, **hm) is not None, "a success", 90)
        gate.unlink()
        wait_until(lambda: Said(runs.collect()).of(RUN_TIME, **retail) is not None, "its end", 60)
    for found in (Said(runs.collect()), Said(Runs(checkout.settings).collect())):
        assert found.of(RUN_STATE, **hm, outcome="completed") == 1
        assert found.of(RUN_STATE, **hm, outcome="failed") == 0
        assert found.of(RUN_STATE, **garments, outcome="failed") == 1
        assert found.of(SUCCESS_TIME, **hm) == found.of(RUN_TIME, **hm)
        assert found.of(SUCCESS_TIME, **garments) is None
        assert found.of(RUNNING_SINCE, **retail) is None
        assert found.of(LATE_RUNS, **hm) == 0
        took, beat = found.of(RUN_SECONDS, **retail), found.of(WORKER_TIME, pool="watchkeeper")
        assert took is not None
        assert beat is not None
        assert 0 < took < 300
        assert time.time() - 300 < beat <= time.time()


@pytest.mark.slow
def test_a_schedule_that_is_on_is_planned(checkout: Checkout) -> None:
    runs = Runs(checkout.settings)
    hm = {"flow": "etl", "deployment": "etl-hm"}
    every = ["etl/etl-hm", "--cron", "0 3 * * *", "--timezone", "UTC"]
    checkout.run("flows.prefect_cli", "deployment", "schedule", "create", *every)
    wait_until(lambda: (Said(runs.collect()).of(SCHEDULED_RUNS, **hm) or 0) > 0, "planned runs", 120)


@pytest.mark.slow
def test_a_failure_after_a_success_keeps_the_success(checkout: Checkout) -> None:
    runs = Runs(checkout.settings)
    good = Said(runs.collect()).of(SUCCESS_TIME, flow="etl", deployment="etl-hm")
    assert good
    start(checkout, "etl-hm", "dataset=garments")
    checkout.run("flows.prefect_cli", "worker", "start", "--pool", "watchkeeper", "--run-once")
    wait_until(
        lambda: Said(runs.collect()).of(RUN_STATE, flow="etl", deployment="etl-hm", outcome="failed") == 1,
        "the failure",
    )
    assert Said(runs.collect()).of(SUCCESS_TIME, flow="etl", deployment="etl-hm") == good


def test_without_a_server_the_collector_says_so(settings: Settings) -> None:
    with pytest.raises(WatchkeeperError, match="no Prefect server runs; `task server` starts one"):
        list(Runs(settings).collect())
