"""`prefect.yaml` on a real server: deployed twice, and run by a worker from a checkout."""

import json
from collections.abc import Iterator

import pytest

from tests.checkout import Checkout

pytestmark = pytest.mark.timeout(300)

# Stands in for the ETL, so that this tests what a deployment does and not what the ETL does.
FLOW = """
import os
from prefect import flow, get_run_logger
from flows.config import CHECKOUT

@flow
def etl(dataset: str, source: str | None = None) -> None:
    get_run_logger().info(f"{dataset} in {os.getcwd()} by the code of {CHECKOUT}")
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    with Checkout(tmp_path_factory.mktemp("deploy"), {"flows/etl/flow.py": FLOW}).deployed() as made:
        yield made


def test_every_flow_has_its_deployments(checkout: Checkout) -> None:
    found = {each["name"]: each for each in checkout.ask("/deployments/filter")}
    datasets = {name: each["parameters"].get("dataset") for name, each in found.items()}
    assert datasets == {
        "etl-hm": "hm",
        "etl-online-retail": "online_retail",
        "etl-garments": "garments",
        "etl-serving": "serving",
        "retrain-garments": "garments",
        "retrain-hm": "hm",
        "maintain": None,
        "orphans": None,
        "health": None,
        "score-garments": None,
        "retrain-garments-on-event": "garments",
        "drift-garments": None,
        "drift-online-retail": "online_retail",
    }
    assert {each["work_pool_name"] for each in found.values()} == {"watchkeeper"}
    assert {each["global_concurrency_limit"]["limit"] for each in found.values()} == {1}


def test_no_schedule_is_on_before_someone_wants_it(checkout: Checkout) -> None:
    for each in checkout.ask("/deployments/filter"):
        assert [schedule["active"] for schedule in each["schedules"]] == [False]


def test_a_deployment_holds_no_path_of_this_machine(checkout: Checkout) -> None:
    for each in checkout.ask("/deployments/filter"):
        steps = json.dumps([each["pull_steps"], each["job_variables"], each["path"]])
        assert str(checkout.folder) not in steps


def test_deploying_again_changes_nothing(checkout: Checkout) -> None:
    before = {each["name"]: each["id"] for each in checkout.ask("/deployments/filter")}
    said = checkout.run("flows.server", "deploy")
    assert "deployed etl-hm" in said
    assert "created" not in said
    assert {each["name"]: each["id"] for each in checkout.ask("/deployments/filter")} == before
    assert len(checkout.ask("/work_pools/filter")) == 1


def test_a_worker_started_in_the_checkout_runs_the_code_there(checkout: Checkout) -> None:
    checkout.run("flows.prefect_cli", "deployment", "run", "etl/etl-hm")
    checkout.run("flows.prefect_cli", "worker", "start", "--pool", "watchkeeper", "--run-once")
    [flow_run] = checkout.ask("/flow_runs/filter")
    assert flow_run["state"]["type"] == "COMPLETED"
    messages = {log["message"] for log in checkout.ask("/logs/filter")}
    assert f"hm in {checkout.folder} by the code of {checkout.folder}" in messages


def test_what_prefect_refuses_is_said_in_its_words(checkout: Checkout) -> None:
    flow = checkout.folder / "flows" / "etl" / "flow.py"
    kept = flow.read_text()
    flow.write_text("raise ValueError('no flow in this file')")
    words = r"error: `prefect deploy` failed: Deploying etl-hm: Could not find object 'etl'"
    try:
        with pytest.raises(AssertionError, match=words):
            checkout.run("flows.server", "deploy")
    finally:
        flow.write_text(kept)
