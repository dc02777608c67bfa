"""`task deploy` on a fresh server: a schedule fires a real ETL run; new data, and drift, a retraining; a new
champion, a health check.

A real Prefect server, its scheduler and automations, and a worker.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.config import Settings
from services.bento.registry import Registry
from services.bento.store import open_store
from tests.checkout import Checkout
from tests.factories import wait_until, wardrobe
from tests.traffic import champion, drawn, land
from tests.versions import image_model, write_version

pytestmark = pytest.mark.timeout(1200)

# Stands in for the training alone: what it does to the ledger and tells is what the real one does after its
# gate. On drift, the second version is better.
RETRAIN = """
from types import SimpleNamespace
from prefect import flow, get_run_logger
from flows.config import load_settings
from flows.retrain.report import tell_of_promotion
from services.bento.registry import Registry
from services.bento.store import open_store

@flow
def retrain(dataset, model=None, snapshot=None, trials=0, seed=0, config=None):
    registry = Registry(open_store(load_settings().registry), model or dataset)
    name = model or dataset
    if "v2" in registry.versions():
        registry.promote("v2", "v1")
        tell_of_promotion(SimpleNamespace(verdict="promote", model=name, version="v2", against="v1"))
    else:
        registry.append("rejected", "v1", reason="no better")
    get_run_logger().info(f"trained on {dataset} with {trials} trials")
"""
MODEL = "garments"


class House(Checkout):
    """What its automations started, and what came of that."""

    def triggered(self) -> list[dict[str, Any]]:
        """Runs that an automation started, in their order."""
        runs = self.ask("/flow_runs/filter", sort="START_TIME_ASC")
        return [run for run in runs if run["name"].startswith("retrain-garments-")]

    def completed(self, count: int) -> bool:
        """Whether so many of them have ended well."""
        states = [run["state"]["type"] for run in self.triggered()]
        assert not {"FAILED", "CRASHED", "CANCELLED"} & set(states), self.messages()
        return states.count("COMPLETED") == count

    def checked(self, count: int) -> bool:
        """Whether so many health checks have ended well."""
        runs = self.ask("/flow_runs/filter", deployments={"name": {"any_": ["health"]}})
        states = [run["state"]["type"] for run in runs]
        assert not {"FAILED", "CRASHED", "CANCELLED"} & set(states), states
        return states.count("COMPLETED") == count

    def messages(self) -> set[str]:
        """What the runs of automations logged."""
        runs = [run["id"] for run in self.triggered()]
        logs = self.ask("/logs/filter", logs={"flow_run_id": {"any_": runs}}) if runs else []
        return {log["message"] for log in logs}

    def schedule(self, deployment: str) -> None:
        """Have it run by itself in some seconds; and later, should the scheduler come late for that."""
        found = self.ask("/deployments/filter", deployments={"name": {"any_": [deployment]}})
        first = (datetime.now(UTC) + timedelta(seconds=20)).isoformat()
        often = {"interval": 120, "anchor_date": first, "timezone": "UTC"}
        self.ask(f"/deployments/{found[0]['id']}/schedules", [{"schedule": often, "active": True}])

    def scheduled(self) -> list[str]:
        """States of the runs whose time has come, of those that nobody asked for."""
        runs = self.ask("/flow_runs/filter", sort="START_TIME_ASC")
        states = [run["state"]["type"] for run in runs if run["auto_scheduled"] and run["start_time"]]
        assert not {"FAILED", "CRASHED", "CANCELLED"} & set(states), states
        return states

    def says(self, words: str) -> bool:
        return any(words in message for message in self.messages())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path, {"flows/retrain/flow.py": RETRAIN}).deployed() as made, made.worker():
        yield made


def ledger(settings: Settings) -> list[str]:
    return [entry.event for entry in Registry(open_store(settings.registry), MODEL).history()]


def test_new_data_and_drift_lead_to_one_retraining_each_and_not_more(house: House, tmp_path: Path) -> None:
    settings, now = house.settings, datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    wardrobe(settings.landing / "garments", 60)
    house.schedule("etl-garments")
    wait_until(lambda: "COMPLETED" in house.scheduled(), "the run that was scheduled", 300)
    # A new table: its commit is an event, and nothing says that the model was judged already.
    wait_until(lambda: house.completed(1), "the retraining on new data", 240)
    assert not house.says("not retrained")
    champion(settings, tmp_path, now, MODEL)
    assert ledger(settings) == ["rejected", "promoted"]

    # Drift of the model's traffic: an event too, but the gate has just spoken.
    for hour in range(3):
        answers = drawn(100, hour, now - timedelta(hours=3 - hour), (MODEL, "v1"), brightness=40)
        land(settings, f"dark-{hour}", answers)
    house.run("flows.etl", "--dataset", "serving")
    verdict = json.loads(house.run("flows.drift", "--model", MODEL, "--format", "json"))
    assert (verdict["outcome"], "brightness" in verdict["reason"]) == ("confirmed", True)
    wait_until(lambda: house.completed(2), "the run that leaves it", 240)
    wait_until(lambda: house.says("not retrained: the gate judged v1"), "the reason in the log")
    assert ledger(settings) == ["rejected", "promoted"]

    # A day later the same drift is news, and a new champion is asked at once.
    long_ago(settings.registry / MODEL / "ledger")
    second = write_version(tmp_path / "second", onnx_model=image_model(seed=1), model=MODEL, version="v2")
    Registry(open_store(settings.registry), MODEL).add(second)
    house.run("flows.drift", "--model", MODEL, "--format", "json")
    wait_until(lambda: house.completed(3), "the retraining on drift", 240)
    assert ledger(settings) == ["rejected", "promoted", "promoted"]
    wait_until(lambda: house.checked(1), "the health check after the promotion", 240)
    assert [run["name"] for run in house.triggered()] == ["retrain-garments-data"] + [
        "retrain-garments-drift"
    ] * 2


def long_ago(folder: Path) -> None:
    """Set the ledger's clock back by two days."""
    for path in sorted(folder.iterdir()):
        entry = json.loads(path.read_text())
        when = datetime.fromisoformat(entry["when"]) - timedelta(days=2)
        path.chmod(0o644)
        path.write_text(json.dumps(entry | {"when": when.isoformat()}))
