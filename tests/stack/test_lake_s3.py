"""The lake in a bucket with Glue as its catalog: a real S3-speaking server, and moto's Glue beside it."""

import gzip
import hashlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.exceptions import CommitFailedException

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl import steps
from flows.etl.collectors import tables
from flows.etl.contract import Contract
from flows.etl.inspect_file import inspect_table_file
from flows.etl.lake import Lake, OvertakenError, WatchedLake
from flows.etl.maintain import Upkeep, expire, remove_abandoned, sweep
from flows.etl.plan import Again, make_plan
from flows.etl.quarantine_command import read_run
from flows.etl.raw_zone import Verified
from flows.etl.runners.life import Engine
from flows.etl.runners.local import LocalRunner
from flows.etl.sql import Query
from flows.etl.steps import TableResult
from flows.paths import files_below, write_whole
from flows.s3_path import S3Error, S3Path
from observability.metrics import TABLE_ROWS
from tests.arrow_job import STALL, ArrowEngine
from tests.factories import (
    ask,
    bad_rows,
    content_hash,
    contract_in,
    retail_days,
    run_table,
    settings_of,
    shipped,
    sources_of,
    table_of,
    work_off,
)
from tests.stack.buckets import ACCOUNT, REGION, empty, lead_to, minio, moto
from tests.stack.emr_server.jars import JARS, needs_jars
from tests.stack.programs import needs

BUCKET, TABLE, MOMENT = "the-lake", "market.stall", 1e-9
pytestmark = needs("minio")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The addresses of S3 and of Glue."""
    with minio(tmp_path_factory.mktemp("minio")) as s3, moto() as glue:
        yield s3, glue


@pytest.fixture
def store(servers: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Path]:
    """A prefix of an empty bucket, with a catalog that is empty but for somebody else's."""
    lead_to(monkeypatch, *servers)
    bucket = boto3.resource("s3", region_name=REGION).Bucket(BUCKET)
    bucket.create(CreateBucketConfiguration={"LocationConstraint": REGION})
    glue = boto3.client("glue", region_name=REGION)
    glue.create_database(DatabaseInput={"Name": "sales"})
    glue.create_table(DatabaseName="sales", TableInput={"Name": "old", "Parameters": {}})
    yield S3Path(f"s3://{BUCKET}/a/b")
    for database in glue.get_databases()["DatabaseList"]:
        for table in glue.get_tables(DatabaseName=database["Name"])["TableList"]:
            glue.delete_table(DatabaseName=database["Name"], Name=table["Name"])
        glue.delete_database(Name=database["Name"])
    empty(bucket)


@pytest.fixture
def settings(store: S3Path, tmp_path: Path) -> Settings:
    """Settings of a home whose store is the bucket."""
    return settings_of(tmp_path / "home", store=str(store))


@pytest.fixture
def contract(tmp_path: Path) -> Contract:
    return contract_in(tmp_path / "contracts", "market", "stall", STALL)


def put(folder: Path, **files: str) -> Path:
    """Source files of the stall."""
    folder.mkdir(exist_ok=True)
    for name, rows in files.items():
        (folder / f"{name}.csv").write_text("kind,amount\n" + rows)
    return folder


def load(settings: Settings, contract: Contract, source: Path | str | None, **again: Any) -> TableResult:
    """One run."""
    return run_table(settings, contract, source, Again(**again), ArrowEngine(settings))


def planned(settings: Settings, contract: Contract, source: Path) -> Callable[[], TableResult]:
    """A run up to its commit."""
    plan = make_plan(settings, contract, str(source), Again())
    staged = work_off(settings, plan, ArrowEngine(settings))
    return lambda: steps.commit(settings, plan, staged, "test")


def rows_of(settings: Settings, as_of: str | None = None) -> list[tuple[Any, ...]]:
    return ask(settings, f"SELECT kind, amount FROM {TABLE} ORDER BY 1, 2", as_of)


def test_a_run_leaves_its_data_in_the_bucket_and_nothing_else_anywhere(
    settings: Settings, contract: Contract, tmp_path: Path
) -> None:
    source = put(tmp_path / "in", a="a b,1\n50%=x/y,2\nneé,3\n", b="a b,4\n")
    assert load(settings, contract, source).rows_committed == 4
    assert rows_of(settings) == [("50%=x/y", 2), ("a b", 1), ("a b", 4), ("neé", 3)]
    assert Lake(settings).tables() == [TABLE], "the account has other tables, which are none of the lake's"
    assert not settings.home.exists()
    assert list(files_below(settings.staging)) == []
    assert {
        str(path).removeprefix(f"{settings.lake}/").split("/")[0] for path in files_below(settings.lake)
    } == {
        "market",
        "raw",
    }
    keys = boto3.resource("s3", region_name=REGION).Bucket(BUCKET).objects.all()
    assert all(item.key.startswith("a/b/lake/") and not item.key.endswith("/") for item in keys)
    query = Query(Lake(settings), f"SELECT amount FROM {TABLE} WHERE kind = '50%=x/y'")
    assert (query.run().fetchall(), len(query.scans[0].paths)) == ([(2,)], 1)


def test_a_corrected_file_replaces_its_rows_and_the_past_can_be_asked(
    settings: Settings, contract: Contract, tmp_path: Path
) -> None:
    load(settings, contract, put(tmp_path / "in", a="x,1\n", b="x,10\n"))
    first = str(table_of(settings, TABLE).snapshots()[0].snapshot_id)
    assert load(settings, contract, tmp_path / "in").outcome == "unchanged"
    assert load(settings, contract, put(tmp_path / "in", a="x,2\ny,3\n")).rows_committed == 2
    assert rows_of(settings) == [("x", 2), ("x", 10), ("y", 3)]
    assert rows_of(settings, first) == [("x", 1), ("x", 10)]
    assert sources_of(settings, contract).committed.keys() == {"a.csv", "b.csv"}


def test_a_source_in_a_bucket_lands_in_a_bucket(
    settings: Settings, contract: Contract, store: S3Path
) -> None:
    content = gzip.compress(b"kind,amount\nx,1\nx,-1\n", mtime=0)
    (store.parent / "in" / "1 \xe9.csv.gz").write_bytes(content)
    assert load(settings, contract, str(store.parent / "in")).rows_committed == 1
    digest = hashlib.sha256(content).hexdigest()
    assert (settings.raw / digest[:2] / f"{digest}.csv.gz").read_bytes() == content
    assert bad_rows(settings, contract) == [("1 \xe9.csv.gz", 3, "sold", "x,-1")]


def test_bad_rows_are_kept_by_run_and_can_be_replayed(
    settings: Settings, contract: Contract, tmp_path: Path
) -> None:
    load(settings, contract, put(tmp_path / "in", a="x,1\nx,-1\n", b="y,1\n"))
    [run] = set(sources_of(settings, contract).quarantined.values())
    folder = settings.quarantine / "market" / "stall"
    assert read_run(folder, run).to_pylist()[0]["raw"] == "x,-1"
    with pytest.raises(WatchkeeperError, match=f"run 'nope' has no quarantined rows here; .*: {run}"):
        read_run(folder, "nope")
    mild = contract_in(tmp_path / "mild", "market", "stall", STALL.replace("min: 0", "min: -9"))
    again = ArrowEngine(settings)
    assert run_table(settings, mild, None, Again(quarantined=True), again).rows_quarantined == 1
    assert rows_of(settings) == [("x", 1), ("y", 1)]


def test_a_run_with_too_many_bad_rows_leaves_the_table_and_no_data(
    settings: Settings, contract: Contract, tmp_path: Path
) -> None:
    load(settings, contract, put(tmp_path / "in", a="x,1\n"))
    before = set(files_below(settings.lake / "market"))
    with pytest.raises(WatchkeeperError, match="was not committed"):
        load(settings, contract, put(tmp_path / "in", b="x,-1\nx,-2\n"))
    assert set(files_below(settings.lake / "market")) == before
    assert len(list(files_below(settings.quarantine))) == 1


def test_commits_of_many_at_once_are_all_there_from_the_first_on(
    settings: Settings, contract: Contract, tmp_path: Path
) -> None:
    ready = [planned(settings, contract, put(tmp_path / f"in{n}", **{f"f{n}": f"x,{n}\n"})) for n in range(6)]
    with ThreadPoolExecutor(len(ready)) as pool:
        done = list(pool.map(lambda commit: commit(), ready))
    assert [result.outcome for result in done] == ["committed"] * len(ready)
    assert rows_of(settings) == [("x", n) for n in range(len(ready))]
    assert len(table_of(settings, TABLE).snapshots()) == len(ready)
    assert len(sources_of(settings, contract).committed) == len(ready)


def test_a_commit_that_another_made_pointless_is_refused_and_its_files_go(
    settings: Settings, contract: Contract, tmp_path: Path
) -> None:
    load(settings, contract, put(tmp_path / "in", a="x,1\n"))
    late = planned(settings, contract, put(tmp_path / "in", a="x,2\n"))
    load(settings, contract, put(tmp_path / "in", a="x,3\n"))
    with pytest.raises(OvertakenError, match=r"a\.csv"):
        late()
    assert rows_of(settings) == [("x", 3)]
    data = {str(path) for path in files_below(settings.lake / "market" / "stall" / "data")}
    assert len(data) == 2, "the first file's and its correction's"


@pytest.mark.parametrize("followed", [False, True])
def test_a_commit_whose_answer_got_lost_is_no_conflict_with_itself(
    settings: Settings,
    contract: Contract,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    followed: bool,
) -> None:
    """As where no answer comes: boto3 asks again, and the version is another by now."""
    others = [planned(settings, contract, put(tmp_path / f"in{n}", **{f"b{n}": f"y,{n}\n"})) for n in (1, 2)]
    for name in ("_create_glue_table", "_update_glue_table"):
        monkeypatch.setattr(GlueCatalog, name, asking_twice(getattr(GlueCatalog, name), followed and others))
    assert load(settings, contract, put(tmp_path / "in", a="x,1\n")).outcome == "committed"
    assert load(settings, contract, put(tmp_path / "in", a="x,2\n")).outcome == "committed"
    assert rows_of(settings) == [("x", 2), ("y", 1), ("y", 2)][: 3 if followed else 1]
    assert len(table_of(settings, TABLE).snapshots()) == (4 if followed else 2)


def asking_twice(ask: Callable[..., None], others: Any) -> Callable[..., None]:
    """The same call twice; where there are `others`, one of them commits in between."""
    busy = threading.Lock()

    def twice(*said: Any) -> None:
        ask(*said)
        if busy.acquire(blocking=False):
            try:
                if others:
                    others.pop()()
                ask(*said)
            finally:
                busy.release()

    return twice


def test_a_commit_that_was_refused_for_good_says_so(
    settings: Settings, contract: Contract, tmp_path: Path
) -> None:
    load(settings, contract, put(tmp_path / "in", a="x,1\n"))
    late = table_of(settings, TABLE).transaction()
    late.update_snapshot().fast_append().commit()
    load(settings, contract, put(tmp_path / "in", b="x,2\n"))
    with pytest.raises(CommitFailedException):
        late.commit_transaction()
    assert rows_of(settings) == [("x", 1), ("x", 2)]


def test_maintenance_removes_what_no_version_names(
    settings: Settings, contract: Contract, tmp_path: Path
) -> None:
    for amount in range(3):
        load(settings, contract, put(tmp_path / "in", a=f"x,{amount}\nx,-{amount + 1}\n"))
    raw = set(files_below(settings.raw))
    stray = settings.lake / "market" / "stall" / "data" / "killed" / "_sink=0" / "part.parquet"
    write_whole(stray, b"x")
    upkeep = Upkeep()
    sweep(settings, contract, upkeep)
    assert upkeep.files_removed == 0, "younger than a day"
    soon = settings_of(
        settings.home, store=settings.store, orphan_age_hours=MOMENT, snapshot_retention_days=MOMENT
    )
    wait_for_the_next_second()
    expire(soon, contract, upkeep)
    sweep(soon, contract, upkeep)
    remove_abandoned(soon)
    assert upkeep.snapshots_expired == 2
    assert upkeep.bytes_removed > upkeep.files_removed > 2
    assert not stray.exists()
    assert len(list(files_below(settings.lake / "market" / "stall" / "data"))) == 1
    assert len(list(files_below(settings.quarantine))) == 1
    assert set(files_below(settings.raw)) == raw
    assert rows_of(settings) == [("x", 2)]
    assert load(settings, contract, put(tmp_path / "in", b="y,1\n")).rows_committed == 1
    assert load(settings, contract, tmp_path / "in").outcome == "unchanged"


def wait_for_the_next_second() -> None:
    """S3 gives times in whole seconds: what was written in this one is not older than now."""
    begun = int(time.time())
    threading.Event().wait(begun + 1 - time.time())


def test_the_exporter_reads_a_table_again_only_when_it_is_another(
    settings: Settings, contract: Contract, tmp_path: Path
) -> None:
    load(settings, contract, put(tmp_path / "in", a="x,1\n"))
    lake = WatchedLake(settings)
    first = lake.table(TABLE)
    assert lake.table(TABLE) is first
    load(settings, contract, put(tmp_path / "in", b="x,1\nx,2\n"))
    assert lake.table(TABLE) is not first
    assert [value for metric, _, value in tables(settings, lake) if metric == TABLE_ROWS] == [3]


def test_another_lakes_table_is_never_written(settings: Settings, contract: Contract, tmp_path: Path) -> None:
    load(settings, contract, put(tmp_path / "in", a="x,1\n"))
    other = settings_of(tmp_path / "other", store=f"s3://{BUCKET}/a/b2")
    assert Lake(other).tables() == []
    with pytest.raises(WatchkeeperError, match=r"Glue has another market\.stall \(s3://the-lake/a/b/lake/"):
        load(other, contract, tmp_path / "in")
    assert rows_of(settings) == [("x", 1)]


def test_a_file_that_changes_while_it_lands_leaves_nothing_in_the_raw_zone(
    settings: Settings, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = put(tmp_path / "in", a="x,1\n")
    monkeypatch.setattr("flows.etl.land.hash_file", lambda source, path: "0" * 64)
    with pytest.raises(WatchkeeperError, match=r"file a\.csv changed while it was landed"):
        make_plan(settings, contract, str(source), Again())
    assert list(files_below(settings.raw)) == []


def test_a_large_file_is_sent_in_parts_and_only_whole(
    settings: Settings, store: S3Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.s3.PART", 5 << 20)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # so that the ways are made anew
    content = bytes(range(256)) * (48 << 10) + b"end"
    target = store / "large"
    target.upload(Verified(io.BytesIO(content), "a", hashlib.sha256(content).hexdigest()))
    assert target.read_bytes() == content
    client = boto3.client("s3", region_name=REGION)
    assert client.head_object(Bucket=BUCKET, Key=target.key)["ETag"].endswith('-3"'), "three parts"
    with pytest.raises(WatchkeeperError, match="changed"):
        (store / "other").upload(Verified(io.BytesIO(content), "a", "0" * 64))
    assert not (store / "other").exists()
    assert "Uploads" not in client.list_multipart_uploads(Bucket=BUCKET, Prefix=(store / "other").key)


def test_an_upload_that_was_given_up_goes_when_it_is_old(store: S3Path) -> None:
    client = boto3.client("s3", region_name=REGION)
    half = store / "lake" / "raw" / "half"  # MinIO lists uploads of whole keys only
    client.create_multipart_upload(Bucket=BUCKET, Key=half.key)
    half.end_uploads(time.time() - 3600)
    assert len(client.list_multipart_uploads(Bucket=BUCKET, Prefix=half.key)["Uploads"]) == 1
    half.end_uploads(time.time() + 3600)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=BUCKET, Prefix=half.key)


def test_a_listing_goes_over_pages(store: S3Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: (store / "many" / f"{n:04}").write_bytes(b"x" * (n % 7)), range(1001)))
    (store / "many2").write_bytes(b"beside")
    found = list((store / "many").walk())
    assert [path.name for path in found] == [f"{n:04}" for n in range(1001)]
    assert [path.stat().st_size for path in found[:8]] == [0, 1, 2, 3, 4, 5, 6, 0]


def test_an_object_is_read_from_any_place_and_line_by_line(store: S3Path) -> None:
    path = store / "text"
    path.write_text("one\ntwo\nthree")
    with path.open() as stream:
        assert list(stream) == [b"one\n", b"two\n", b"three"]
        stream.seek(4)
        assert stream.read(3) == b"two"
    with pytest.raises(ValueError, match="put whole"):
        path.open("wb")


def test_what_is_not_there_may_not_be_read_or_cannot_be_asked_is_told_apart(
    store: S3Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match="s3://the-lake/a/b/x"):
        (store / "x").read_bytes()
    assert not (store / "x").exists()
    with pytest.raises(FileNotFoundError, match="NoSuchBucket"):
        list(S3Path("s3://no-such-bucket/a").walk())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    with pytest.raises(PermissionError, match="InvalidAccessKeyId"):
        (store / "x").read_bytes()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCOUNT["AWS_ACCESS_KEY_ID"])
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(S3Error, match="check network"):
        (store / "x").read_bytes()


def test_an_outage_of_the_store_is_no_fault_of_a_file(
    settings: Settings, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(settings, contract, str(put(tmp_path / "in", a="x,1\n")), Again())
    [arrival] = plan.landing.arrivals
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    with pytest.raises(WatchkeeperError, match=r"cannot be read: .*AWS Error"):
        inspect_table_file(arrival.raw, contract)


def test_a_catalog_that_is_not_there_is_one_message(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(
        WatchkeeperError, match=r"the Glue catalog of s3://the-lake/a/b/lake/: .*127\.0\.0\.1:9"
    ):
        Lake(settings).tables()


def test_without_a_region_the_variable_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(WatchkeeperError, match="set AWS_REGION"):
        Lake(settings).tables()


def test_an_endpoint_and_a_region_of_a_profile_are_good_for_all(
    settings: Settings,
    contract: Contract,
    servers: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "config").write_text(
        f"[profile shop]\nregion = {REGION}\nservices = here\n"
        f"[services here]\ns3 =\n  endpoint_url = {servers[0]}\nglue =\n  endpoint_url = {servers[1]}\n"
    )
    for name in ("AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "shop")
    assert load(settings, contract, put(tmp_path / "in", a="x,1\n")).rows_committed == 1
    assert rows_of(settings) == [("x", 1)]


def test_local_spark_says_that_it_cannot_read_the_store(
    settings: Settings, contract: Contract, tmp_path: Path
) -> None:
    source = put(tmp_path / "in", a="x,1\n")
    with pytest.raises(WatchkeeperError, match="cannot read s3://the-lake/a/b: set WATCHKEEPER_RUNNER"):
        run_table(settings, contract, source, None, Engine(LocalRunner(settings)))
    assert list(files_below(settings.staging)) == []


@needs_jars
def test_local_spark_makes_the_same_table_in_a_bucket_as_in_a_folder(
    settings: Settings, tmp_path: Path
) -> None:
    """The whole way, with a correction, bad rows, copies and what is kept of a replaced file."""
    contract, source = shipped("online_retail.transactions"), retail_days(tmp_path / "in", "2010-12-0")
    there = settings.model_copy(update={"spark_jars": ",".join(map(str, JARS))})
    here = settings_of(tmp_path / "here")
    for _ in range(2):
        results = [run_table(s, contract, source, None, Engine(LocalRunner(s))) for s in (there, here)]
        assert results[0].__dict__ | VARYING == results[1].__dict__ | VARYING
        assert content_hash(there, contract.identifier) == content_hash(here, contract.identifier)
        assert bad_rows(there, contract) == bad_rows(here, contract)
        corrected = min(source.iterdir())
        corrected.write_bytes(gzip.compress(gzip.decompress(corrected.read_bytes()).replace(b",6,", b",7,")))
    assert list(files_below(there.home)) == []
    assert list(files_below(there.staging)) == []


VARYING = {"bytes": 0, "snapshot_id": None, "seconds": 0.0}
