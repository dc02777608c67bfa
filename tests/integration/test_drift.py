"""Drift over a real lake on a warm Spark: profiles, windows, and what can never be "no drift"."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow.parquet as pq
import pytest
from prefect.testing.utilities import prefect_test_harness

from flows.config import CHECKOUT, Settings
from flows.drift import flow, verdicts
from flows.drift.comparison import Comparison, NoDataError, Question
from flows.drift.flow import Result
from flows.drift.performance import performance
from flows.drift.summaries import SCHEMA, Profiled, Summaries, files_at
from flows.drift.windows import SEASONS
from flows.errors import WatchkeeperError
from flows.etl import maintain
from flows.etl.contract import Contract
from flows.etl.datasets import load_dataset
from flows.etl.runners.life import Engine
from flows.etl.staged import profile_path
from observability.drift.profiles import Scale, cells_of, profile
from observability.drift.verdict import Policy, Verdict, judge
from tests.factories import (
    SHIPPED,
    NoSpark,
    WarmRunner,
    compact_table,
    contract_in,
    data_files,
    environment_of,
    run_table,
    settings_of,
    table_of,
    write_csv,
)
from tests.traffic import champion, drawn, land, tell

SALES: dict[str, Any] = {
    "description": "Sales of a shop.",
    "source": {"pattern": "*.csv", "format": "csv"},
    "columns": {
        "at": {"type": "timestamp"},
        # By an expression, as the ETL takes no NaN from a file.
        "listed": {"type": "string", "source": "price", "optional": True},
        "price": {"type": "double", "drift": True, "expression": "CAST(listed AS DOUBLE)"},
        "pieces": {"type": "int", "drift": True},
        "kind": {"type": "string", "drift": True},
        "gift": {"type": "boolean", "drift": True},
    },
    "event_time": "at",
    "partition": {"column": "at", "transform": "month"},
    "duplicates": "keep",
}
HEADER = ["at", "price", "pieces", "kind", "gift"]
FIRST = date(2026, 1, 1)


def sales(day: date, seed: int, rows: int = 60, **change: Any) -> list[list[object]]:
    """One day; `change` draws a column otherwise."""
    draw = random.Random(f"{day}{seed}")
    columns: dict[str, Callable[[random.Random], object]] = {
        "price": lambda r: round(r.lognormvariate(2, 0.5), 2),
        "pieces": lambda r: r.choice([1, 1, 2, 3, 6, 12]),
        "kind": lambda r: r.choice(["coat", "hat", "shoe"]),
        "gift": lambda r: r.choice(["true", "false", "false"]),
    } | change
    return [
        [f"{day} {draw.randrange(24):02}:00:00", *(columns[name](draw) for name in HEADER[1:])]
        for _ in range(rows)
    ]


@pytest.fixture
def shop(tmp_path: Path) -> tuple[Settings, Contract]:
    contract = contract_in(tmp_path / "contracts", "shop", "sales", SALES)
    return settings_of(tmp_path / "home", contracts=tmp_path / "contracts"), contract


def load(
    settings: Settings,
    contract: Contract,
    name: str,
    days: Iterable[list[list[object]]],
    header: list[str] = HEADER,
) -> None:
    """One source file of so many days."""
    source = settings.home / "in"
    write_csv(source / f"{name}.csv", [row for day in days for row in day], header)
    run_table(settings, contract, source)


def january(settings: Settings, contract: Contract) -> None:
    """31 days in two files of the lake."""
    days = [sales(FIRST + timedelta(days=n), 0) for n in range(31)]
    load(settings, contract, "first", days[:16])
    load(settings, contract, "second", days[16:])


def february(settings: Settings, contract: Contract, **change: Any) -> None:
    """A week."""
    days = [sales(date(2026, 2, 1) + timedelta(days=n), 0, **change) for n in range(7)]
    load(settings, contract, "third", days)


def profiled(
    settings: Settings, question: Question, engine: Engine | None = None
) -> tuple[Comparison, Profiled]:
    comparison = Comparison(settings, question)
    return comparison, comparison.profile(engine or WarmRunner(settings))


def verdict(settings: Settings, reference: str = "2026-01", current: str = "2026-02", **more: Any) -> Verdict:
    comparison, found = profiled(settings, Question("shop.sales", None, reference, current, **more))
    before, now, _, _ = comparison.windows(found)
    season = SEASONS[more["season"]] if "season" in more else None
    return judge(before, now, comparison.watched, Policy(), season)


Shop = tuple[Settings, Contract]


def test_spark_counts_as_numpy_does(shop: Shop) -> None:
    settings, contract = shop
    odd = ["NaN", "Infinity", "-Infinity", "", "0", "-0.0", "1e300", "-7.25", "1e-9"]
    days = [sales(FIRST, 0), sales(FIRST + timedelta(days=1), 0, price=lambda r: r.choice(odd))]
    load(settings, contract, "odd", days)
    comparison, found = profiled(settings, Question("shop.sales"))
    summaries = Summaries(settings, contract)
    kinds = {"price": "numeric", "pieces": "numeric", "kind": "categorical", "gift": "categorical"}
    rows = pq.read_table(list(data_files(settings, "shop.sales")), partitioning=None)
    period = [int(at.replace(tzinfo=UTC).timestamp()) // 86_400 * 86_400 for at in rows["at"].to_pylist()]
    values: dict[str, Any] = {}
    for name, kind in kinds.items():
        held = rows[name].to_pylist()
        if kind == "numeric":
            values[name] = (kind, np.array([np.nan if v is None else v for v in held], float))
        else:
            texts = [str(v).lower() if isinstance(v, bool) else v for v in held]
            values[name] = (kind, np.array(texts, object))
    ours = profile(cells_of(values, np.array(period), summaries.scales), kinds)  # type: ignore[arg-type]
    theirs = profile(found.cells, kinds)  # type: ignore[arg-type]
    assert theirs.rows.tolist() == ours.rows.tolist() == [60, 60]
    for name in kinds:
        mine, other = ours.columns[name], theirs.columns[name]
        np.testing.assert_array_equal(other.counts, mine.counts)
        np.testing.assert_array_equal(other.missing, mine.missing)
        np.testing.assert_allclose(other.total, mine.total)
        np.testing.assert_allclose(other.squares, mine.squares)
    assert isinstance(comparison.champion, type(None))


def test_each_file_is_profiled_once_beside_itself(shop: Shop) -> None:
    settings, contract = shop
    january(settings, contract)
    profiled(settings, Question("shop.sales"))
    files = list(data_files(settings, "shop.sales"))
    assert all(profile_path(file).exists() for file in files)
    assert {tuple(pq.read_schema(profile_path(f)).names) >= tuple(SCHEMA.names) for f in files} == {True}
    profiled(settings, Question("shop.sales"), NoSpark())
    scales = Summaries(settings, contract).scales
    february(settings, contract)
    profiled(settings, Question("shop.sales"))
    assert Summaries(settings, contract).scales == scales, "bins never move"
    assert not list((settings.home / "staging" / "drift").iterdir())


@pytest.mark.parametrize("fault", ["truncated", "not Parquet", "gone", "of another file", "other columns"])
def test_a_damaged_profile_is_made_again(shop: Shop, fault: str) -> None:
    settings, contract = shop
    january(settings, contract)
    february(settings, contract)
    before = verdict(settings)
    first, *_, last = sorted(data_files(settings, "shop.sales"))
    damaged, whole = profile_path(first), profile_path(first).read_bytes()
    rows = pq.read_table(damaged).num_rows
    if fault == "truncated":
        damaged.write_bytes(whole[: len(whole) // 2])
    elif fault == "not Parquet":
        damaged.write_bytes(b"not Parquet")
    elif fault == "gone":
        damaged.unlink()
    elif fault == "of another file":
        assert len({file.record_count for file in data_files(settings, "shop.sales").values()}) > 1
        damaged.write_bytes(profile_path(last).read_bytes())
    else:
        pq.write_table(pq.read_table(damaged).drop_columns(["count"]), damaged)
    after = verdict(settings)
    assert (after.outcome, after.rows, after.columns.keys()) == (
        before.outcome,
        before.rows,
        before.columns.keys(),
    )
    for name, column in after.columns.items():  # Spark adds up in another order
        assert column.score == pytest.approx(before.columns[name].score)
    assert pq.read_table(damaged).num_rows == rows, "it was made again"


@pytest.mark.parametrize(
    ("change", "drifted"),
    [
        ({}, []),
        ({"price": lambda r: round(r.lognormvariate(3, 0.5), 2)}, ["price"]),
        ({"kind": lambda r: r.choice(["coat", "hat", "scarf"])}, ["kind"]),
        ({"gift": lambda _: "true"}, ["gift"]),
        ({"price": lambda _: ""}, ["price"]),
        ({"price": lambda r: r.choice(["NaN", "Infinity"])}, ["price"]),
    ],
    ids=["nothing", "dearer", "a new kind", "another share", "all nulls", "nothing finite"],
)
def test_what_changed_is_found_in_its_column(
    shop: Shop, change: dict[str, Callable[[random.Random], object]], drifted: list[str]
) -> None:
    settings, contract = shop
    january(settings, contract)
    february(settings, contract, **change)
    found = verdict(settings)
    assert (found.outcome, found.drifted) == ("confirmed" if drifted else "none", drifted)
    assert found.rows == {"reference": 31 * 60, "current": 7 * 60}


def test_a_column_that_vanished_is_drift(shop: Shop) -> None:
    settings, contract = shop
    january(settings, contract)
    days = [[[row[0], *row[2:]] for row in sales(date(2026, 2, 1) + timedelta(days=n), 0)] for n in range(7)]
    load(settings, contract, "third", days, [name for name in HEADER if name != "price"])
    found = verdict(settings)
    assert (found.outcome, found.drifted) == ("confirmed", ["price"])


@pytest.mark.slow
def test_a_column_that_is_watched_later_is_profiled_then(shop: Shop, tmp_path: Path) -> None:
    settings, contract = shop
    january(settings, contract)
    profiled(settings, Question("shop.sales"))
    wider = SALES | {
        "columns": SALES["columns"]
        | {"source_hour": {"type": "int", "drift": True, "expression": "hour(at)"}}
    }
    contract = contract_in(tmp_path / "contracts", "shop", "sales", wider)
    february(settings, contract)
    found = verdict(settings)
    assert found.columns["source_hour"].drifted, "the reference has no value of it"


def test_windows_without_rows_or_a_table_are_no_verdict(shop: Shop) -> None:
    settings, contract = shop
    with pytest.raises(NoDataError, match=r"shop.sales: run `task etl -- --dataset shop`"):
        Comparison(settings, Question("shop.sales"))
    january(settings, contract)
    for reference, current in (("2026-01", "2026-03"), ("2025", "2026-01")):
        with pytest.raises(NoDataError, match="has no row in 202"):
            verdict(settings, reference, current)
    for reference, current in (("2026-01", "2026-01-31"), ("2026-01", newest_snapshot(settings))):
        with pytest.raises(WatchkeeperError, match="hold the same rows"):
            verdict(settings, reference, current)
    with pytest.raises(WatchkeeperError, match="cuts a day"):
        verdict(settings, "2026-01-01", "2026-01-31T06")
    with pytest.raises(WatchkeeperError, match="no table 'orders'; it has sales"):
        Comparison(settings, Question("shop.orders"))


def newest_snapshot(settings: Settings) -> str:
    snapshot = table_of(settings, "shop.sales").current_snapshot()
    assert snapshot
    return f"snapshot:{snapshot.snapshot_id}"


def test_without_a_word_the_newest_week_is_compared_with_what_was_before(shop: Shop) -> None:
    settings, contract = shop
    january(settings, contract)
    february(settings, contract)
    comparison, found = profiled(settings, Question("shop.sales"))
    before, now, reference, current = comparison.windows(found)
    assert (len(before.periods), len(now.periods)) == (31, 7)
    assert current.said == "2026-02-01 00:00 to 2026-02-08 00:00"
    assert reference.end == current.start


def test_the_commits_since_a_snapshot(shop: Shop) -> None:
    settings, contract = shop
    january(settings, contract)
    named = newest_snapshot(settings)
    february(settings, contract, kind=lambda _: "scarf")
    comparison, found = profiled(settings, Question("shop.sales", None, named))
    before, now, _, _ = comparison.windows(found)
    assert (before.rows.sum(), now.rows.sum()) == (31 * 60, 7 * 60)
    assert judge(before, now, comparison.watched, Policy()).drifted == ["kind"]
    with pytest.raises(WatchkeeperError, match="has no snapshot 4811; the newest are"):
        profiled(settings, Question("shop.sales", None, "snapshot:4811"))
    compact_table(settings, contract)
    with pytest.raises(WatchkeeperError, match=r"files of snapshot:.* were rewritten since"):
        verdict(settings, named, None)  # type: ignore[arg-type]
    assert verdict(settings, named, "2026-02").drifted == ["kind"]


@pytest.mark.slow
def test_another_period_makes_other_profiles(shop: Shop, tmp_path: Path) -> None:
    settings, contract = shop
    january(settings, contract)
    profiled(settings, Question("shop.sales"))
    contract_in(tmp_path / "contracts", "shop", "sales", SALES | {"watch": {"period": "hour"}})
    _, found = profiled(settings, Question("shop.sales"))
    assert len(set(found.cells.period.tolist())) > 31


def test_a_season_is_compared_with_itself(shop: Shop) -> None:
    settings, contract = shop
    sunday: Callable[[random.Random], object] = lambda _: "hat"  # noqa: E731
    days = [
        sales(day, 0, 150, **({"kind": sunday} if day.weekday() == 6 and day.month < 3 else {}))
        for day in (FIRST + timedelta(days=n) for n in range(66))
    ]
    load(settings, contract, "all", days)
    asked = {"reference": "2026-01..2026-02", "current": "2026-03-01"}
    assert verdict(settings, **asked).outcome == "none"
    found = verdict(settings, **asked, season="weekday")
    assert (found.outcome, found.drifted, found.rows["reference"]) == ("suspected", ["kind"], 8 * 150)


def test_rows_without_a_time_have_the_day_of_their_commit(tmp_path: Path) -> None:
    plain = {name: value for name, value in SALES.items() if name not in ("event_time", "partition")}
    contract = contract_in(tmp_path / "contracts", "shop", "sales", plain)
    settings = settings_of(tmp_path / "home", contracts=tmp_path / "contracts")
    january(settings, contract)
    _, found = profiled(settings, Question("shop.sales"))
    today = int(datetime.now(UTC).timestamp()) // 86_400 * 86_400
    assert set(found.cells.period.tolist()) <= {today, today - 86_400}
    assert len(found.live) == found.live.sum()


def test_maintenance_keeps_the_profiles_of_living_files_only(shop: Shop) -> None:
    settings, contract = shop
    january(settings, contract)
    profiled(settings, Question("shop.sales"))
    old = {profile_path(file) for file in data_files(settings, "shop.sales")}
    compact_table(settings, contract)
    profiled(settings, Question("shop.sales"))
    new = {profile_path(file) for file in data_files(settings, "shop.sales")}
    for path in settings.home.rglob("*"):
        os.utime(path, (1, 1))
    ages = {"snapshot_retention_days": 1e-9, "orphan_age_hours": 1e-9}
    brief = settings_of(settings.home, contracts=settings.contracts, **ages)
    upkeep = maintain.Upkeep()
    maintain.expire(brief, contract, upkeep)
    maintain.sweep(brief, contract, upkeep)
    assert {path.exists() for path in new} == {True}
    table = table_of(settings, "shop.sales")
    assert len(files_at(table)) == len(new)
    assert old.isdisjoint(new)
    assert not any(path.exists() for path in old)


HOUR = datetime(2026, 11, 20, 8, tzinfo=UTC)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A champion, three hours of traffic as in training, and three of dark pictures; others' beside it."""
    folder = tmp_path_factory.mktemp("served")
    settings = settings_of(folder / "home", contracts=SHIPPED)
    champion(settings, folder, HOUR)
    for hour in range(3):
        same = drawn(100, 10 + hour, HOUR + timedelta(hours=hour))
        dark = drawn(100, 20 + hour, HOUR + timedelta(days=1, hours=hour), brightness=60)
        land(settings, f"same-{hour}", same)
        land(settings, f"dark-{hour}", dark)
        tell(settings, f"same-{hour}", same, HOUR + timedelta(hours=5))
        land(settings, f"other-{hour}", drawn(50, 30 + hour, HOUR, ("hats", "v1"), brightness=0))
        land(settings, f"shadow-{hour}", drawn(50, 40 + hour, HOUR, brightness=0, shadow=True))
    for contract in load_dataset(SHIPPED, "serving"):
        run_table(settings, contract, settings.landing / "serving")
    return settings


@pytest.mark.parametrize(
    ("current", "outcome", "drifted"),
    [("2026-11-20", "none", []), ("2026-11-21", "confirmed", ["brightness"])],
)
def test_traffic_beside_what_the_model_was_trained_on(
    served: Settings, current: str, outcome: str, drifted: list[str]
) -> None:
    question = Question("serving.predictions", "articles", None, current)
    comparison, found = profiled(served, question)
    before, now, reference, window = comparison.windows(found)
    assert (before.rows.sum(), now.rows.sum()) == (400, 300), "neither the shadow's nor another model's"
    result = judge(before, now, comparison.watched, Policy())
    assert (result.outcome, result.drifted) == (outcome, drifted)
    assert "embedding" in result.columns
    assert "value" not in result.columns, "a classifier has none"
    sampled = comparison.rows(window, found, 120)
    assert (len(sampled), len(comparison.rows(reference, found, 120))) == (120, 400)
    assert np.mean(sampled["brightness"].to_numpy()) == pytest.approx(120 if outcome == "none" else 60, abs=5)


def test_how_right_it_is_by_the_labels_that_arrived(served: Settings) -> None:
    comparison, found = profiled(served, Question("serving.predictions", "articles", None, "2026-11-20"))
    _, _, _, window = comparison.windows(found)
    files = sorted(set(found.file.tolist()))
    answers = comparison.scanner(window, files, ["request_id", "label", "probability"]).to_table()
    feedback = comparison.lake.table("serving.feedback")
    assert feedback
    assert comparison.champion
    known = performance(answers, feedback.scan().to_arrow(), comparison.champion)
    assert (len(answers), known.labels) == (300, 300)
    assert known.macro_f1 == pytest.approx(known.estimated, abs=0.1)


def test_a_model_without_traffic_has_no_verdict(served: Settings, tmp_path: Path) -> None:
    champion(served, tmp_path, HOUR, "gloves")
    with pytest.raises(NoDataError, match="no answer of it is in the lake"):
        profiled(served, Question("serving.predictions", "gloves"))


def test_a_reference_of_an_earlier_kind_is_an_error(served: Settings, tmp_path: Path) -> None:
    registry = champion(served, tmp_path, HOUR, "scarves")
    folder = registry.fetch("v1")
    table = pq.read_table(folder / "reference.parquet")
    land(served, "scarves", drawn(200, 90, HOUR, ("scarves", "v1")))
    run_table(served, load_dataset(SHIPPED, "serving")[-1], served.landing / "serving")
    comparison, found = profiled(served, Question("serving.predictions", "scarves"))
    (folder / "reference.parquet").chmod(0o644)
    pq.write_table(table.drop_columns(["value"]), folder / "reference.parquet")
    with pytest.raises(WatchkeeperError, match="has no column value; train again"):
        comparison.windows(found)


def drift(settings: Settings, **asked: str) -> Result:
    """The flow, against Prefect's own test server."""
    with mock.patch.dict(
        os.environ, environment_of(settings) | {"WATCHKEEPER_CONTRACTS": str(settings.contracts)}
    ):
        found: Result = flow.drift(**{"dataset": "shop", "table": "sales"} | asked)  # type: ignore[call-overload]
        return found


def verdicts_of(settings: Settings) -> list[str]:
    paths = sorted(settings.drift.glob("verdicts/shop.sales/*/verdict.json"))
    return [json.loads(path.read_text())["outcome"] for path in paths]


def test_every_run_leaves_a_verdict_and_a_report_that_can_be_drawn(shop: Shop) -> None:
    settings, contract = shop
    with prefect_test_harness(server_startup_timeout=120):
        assert drift(settings).verdict.outcome == "not_enough_data"
        january(settings, contract)
        profiled(settings, Question("shop.sales"))
        february(settings, contract, price=lambda r: r.choice(["NaN", "Infinity"]), gift=lambda _: "")
        profiled(settings, Question("shop.sales"))
        found = drift(settings, reference="2026-01", current="2026-02")
        assert (found.verdict.outcome, found.verdict.drifted) == ("confirmed", ["price", "gift"])
        assert found.report
        drawn_columns = json.loads((found.report.parent / "report.json").read_text())["metrics"]
        assert {m["config"]["column"] for m in drawn_columns if "column" in m["config"]} == {"pieces", "kind"}
        with pytest.raises(WatchkeeperError, match="'soon' is no window"):
            drift(settings, current="soon")
        with pytest.raises(WatchkeeperError, match="no table 'orders'"):
            drift(settings, table="orders")
    assert verdicts_of(settings) == ["not_enough_data", "confirmed", "error"]
    kept = list(verdicts.history(settings, "shop.sales"))
    assert (kept[0]["reason"][:20], kept[1]["of_now"]) == ("'soon' is no window ", False)


def command(settings: Settings, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`task drift -- --format json`."""
    return subprocess.run(
        [sys.executable, "-m", "flows.drift", *arguments, "--format", "json"],
        cwd=CHECKOUT,
        env=environment_of(settings, WATCHKEEPER_CONTRACTS=str(settings.contracts)),
        capture_output=True,
        text=True,
        timeout=480,
    )


@pytest.mark.slow
def test_the_command_prints_its_verdict_and_nothing_else(shop: Shop) -> None:
    settings, contract = shop
    january(settings, contract)
    february(settings, contract, kind=lambda r: r.choice(["coat", "scarf"]))
    asked = ("--dataset", "shop", "--table", "sales", "--reference", "2026-01", "--current", "2026-02")
    done = command(settings, *asked)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["outcome"], said["rows"]) == ("confirmed", {"reference": 1860, "current": 420})
    assert said["columns"].keys() == {"price", "pieces", "kind", "gift"}
    assert said["columns"]["kind"].keys() >= {"score", "threshold", "drifted", "test"}
    report = Path(said["report"])
    assert report.read_text().lstrip().startswith("<!DOCTYPE html>")
    assert json.loads((report.parent / "verdict.json").read_text())["columns"] == said["columns"]
    for mistake in (("--dataset", "shop"), ("--dataset", "shop", "--table", "orders"), ("--model", "../x")):
        done = command(settings, *mistake)
        said = json.loads(done.stdout)
        assert (done.returncode, said["outcome"], done.stderr) == (2, "error", ""), said


def test_a_scale_stays_as_it_was_first_fixed(shop: Shop) -> None:
    settings, contract = shop
    january(settings, contract)
    summaries = Summaries(settings, contract)
    scales = settings.drift / "scales" / "shop.sales"
    scales.mkdir(parents=True)
    (scales / "price").write_text("[1.0, 2.0]")
    profiled(settings, Question("shop.sales"))
    found = summaries.scales
    assert found["price"] == Scale(1.0, 2.0)
    assert found.keys() == {"price", "pieces"}
    (scales / "price").write_text("[3.0, 4.0]")
    profiled(settings, Question("shop.sales"))
    _, again = profiled(settings, Question("shop.sales"), NoSpark())
    assert len(again.cells.count), "profiles in other bins were made again"
