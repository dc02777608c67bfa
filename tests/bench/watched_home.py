"""A home with much to watch: so many flows, runs and tables, some models and verdicts, in half a minute.

Nothing is worked off. Prefect's server makes one flow, deployment and run by its API, and copies of their
rows fill its database while it is down. One table gets its commits through `Lake.commit`; the others are
copies of its folder, registered in the catalog under their own names.
"""

import shutil
import sqlite3
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from flows.config import Settings
from flows.drift import verdicts
from flows.etl.datasets import load_all
from flows.etl.lake import Change, Lake
from flows.etl.sources import Entry, Sources
from flows.etl.staged import plain_path
from flows.etl.steps import PREFIX
from flows.server import server
from services.bento.registry import Registry
from services.bento.store import open_store
from tests.versions import write_version

Row = dict[str, Any]
DATASETS = 10
COMMITS = 30
"""Snapshots of a table: a month of daily ones, which is what maintenance keeps."""
FILES = 100
"""In each data set's landing zone; all but one are in the tables."""
MODELS, SUBJECTS = 5, 20


def fill(settings: Settings, tables: int, flows: int, runs: int) -> None:
    """Fill an empty home; its contracts are written where the settings have them."""
    fill_lake(settings, tables)
    fill_prefect(settings, flows, runs)
    store = open_store(settings.registry)
    for number in range(MODELS):
        model = f"model-{number}"
        version = write_version(settings.home / "versions" / model, model=model)
        registry = Registry(store, model)
        registry.add(version)
        registry.promote("v1", None)
        for _ in range(20):
            registry.append("rejected", "v1")
    columns = {f"column_{n}": {"score": 0.1, "threshold": 0.2, "drifted": False} for n in range(20)}
    for number in range(SUBJECTS):
        when = datetime.now(UTC).isoformat()
        said = {"of_now": True, "outcome": "none", "when": when, "columns": columns, "performance": None}
        verdicts.write(verdicts.new_folder(settings, f"dataset_0.table_{number}"), said)


def fill_lake(settings: Settings, tables: int) -> None:
    """Contracts, tables and landing zones."""
    for number in range(tables):
        path = settings.contracts / f"dataset_{number % DATASETS}" / f"table_{number}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = {
            "description": "Items.",
            "source": {"pattern": f"table_{number}-*.csv", "format": "csv"},
            "columns": {"id": {"type": "long"}, "at": {"type": "timestamp"}},
            "event_time": "at",
            "duplicates": "drop",
            "table_rules": {"max_age_days": 2},
        }
        path.write_text(yaml.safe_dump(text, sort_keys=False))
    first, *others = load_all(settings.contracts)
    for dataset in {contract.dataset for contract in (first, *others)}:
        (settings.landing / dataset).mkdir(parents=True)
    for contract in (first, *others):
        for number in range(FILES // (tables // DATASETS)):
            (settings.landing / contract.dataset / f"{contract.table}-{number}.csv").write_text(
                "id,at\n1,2026-01-01\n"
            )
    lake = Lake(settings)
    for number in range(COMMITS):
        commit(lake, first, number)
    made = Path(str(lake.folder(first.identifier)))
    metadata = Path(plain_path(lake.catalog.load_table(first.identifier).metadata_location))
    for contract in others:
        folder = Path(str(lake.folder(contract.identifier)))
        shutil.copytree(made, folder)
        if not lake.catalog.namespace_exists(contract.dataset):
            lake.catalog.create_namespace(contract.dataset)
        lake.catalog.register_table(contract.identifier, str(folder / metadata.relative_to(made)))


def commit(lake: Lake, contract: Any, number: int) -> None:
    """A commit of one row, with what the ETL says beside it."""
    path = lake.folder(contract.identifier) / "data" / f"run-{number}" / "_sink=0" / "part.parquet"
    path.parent.mkdir(parents=True)
    when = datetime.now(UTC).replace(tzinfo=None)
    columns = {"id": pa.array([number], pa.int64()), "at": pa.array([when]), "_source_file": pa.array(["a"])}
    pq.write_table(pa.table(columns), path)
    said = {
        "kind": "etl",
        "rows-committed": 1,
        "rows-quarantined": 1,
        "rows-duplicate": 0,
        "quarantined-by-rule": '{"missing_id": 1}',
        "newest-event": when.isoformat(),
    }
    entries = {f"{contract.table}-{n}.csv": Entry(sha256="0" * 64, version="1") for n in range(1, 10)}
    change = Change(
        [path], Sources(committed=entries), properties={PREFIX + k: str(v) for k, v in said.items()}
    )
    lake.commit(contract, lake.table(contract.identifier), change)


def fill_prefect(settings: Settings, flows: int, runs: int) -> None:
    """Flows with a deployment each that is scheduled daily, and their runs of the last days."""
    with server(settings) as url, httpx.Client(base_url=url, timeout=30, trust_env=False) as client:

        def made(path: str, **body: Any) -> str:
            while (answer := client.post(path, json=body)).status_code == 503:  # SQLite is locked
                time.sleep(0.2)
            answer.raise_for_status()
            return str(answer.json().get("id"))

        flow = made("/flows/", name="flow")
        daily = {"active": True, "schedule": {"interval": 86_400, "anchor_date": "2026-01-01T00:00:00Z"}}
        deployment = made("/deployments/", name="deployment", flow_id=flow, schedules=[daily])
        run = made("/flow_runs/", flow_id=flow, deployment_id=deployment, state={"type": "RUNNING"})
        made(f"/flow_runs/{run}/set_state", state={"type": "COMPLETED"})
    with sqlite3.connect(settings.prefect / "prefect.db") as database:
        copy_rows(database, flow, run, flows, runs)


def copy_rows(database: sqlite3.Connection, flow: str, run: str, flows: int, runs: int) -> None:
    """So many flows as the one that is there, and so many runs as its one."""
    database.row_factory = sqlite3.Row

    def row(table: str, where: str, value: str) -> Row:
        return dict(database.execute(f"SELECT * FROM {table} WHERE {where} = ?", [value]).fetchone())

    def insert(table: str, like: Row, **changes: str) -> str:
        values = like | {"id": str(uuid.uuid4())} | changes
        names, marks = ", ".join(f'"{name}"' for name in values), ", ".join("?" * len(values))
        database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))
        return str(values["id"])

    a_flow, a_deployment = row("flow", "id", flow), row("deployment", "flow_id", flow)
    a_schedule = row("deployment_schedule", "deployment_id", a_deployment["id"])
    a_run = row("flow_run", "id", run)
    a_state = row("flow_run_state", "id", a_run["state_id"])
    pairs = [(flow, a_deployment["id"])]
    for number in range(1, flows):
        other = insert("flow", a_flow, name=f"flow-{number}")
        deployed = insert("deployment", a_deployment, name=f"deployment-{number}", flow_id=other)
        insert("deployment_schedule", a_schedule, deployment_id=deployed)
        pairs.append((other, deployed))
    for number in range(1, runs):
        ended = f"{datetime.now(UTC) - timedelta(minutes=number):%Y-%m-%d %H:%M:%S.%f}"
        state, name = str(uuid.uuid4()), f"run-{number}"
        of = dict(zip(("flow_id", "deployment_id"), pairs[number % flows], strict=True))
        copied = insert("flow_run", a_run, **of, name=name, end_time=ended, state_id=state)
        insert("flow_run_state", a_state, id=state, flow_run_id=copied, timestamp=ended)
