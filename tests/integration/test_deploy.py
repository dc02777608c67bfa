"""`prefect.yaml` on a real server: deployed twice, and run by a worker from a checkout."""

import json
from collections.abc import Iterator

import pytest

from tests.checkout import Checkout

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]

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


def there(checkout: Checkout) -> tuple[dict[str, str], list[str], list[str]]:
    """Deployments, automations, and how runs are started."""
    deployments = checkout.ask("/deployments/filter")
    return (
        {each["name"]: each["id"] for each in deployments},
        sorted(each["name"] for each in checkout.ask("/automations/filter")),
        sorted(json.dumps([each["pull_steps"], each["job_variables"]]) for each in deployments),
    )


def test_deploying_again_changes_nothing(checkout: Checkout) -> None:
    before = there(checkout)
    retrain = [f"retrain-garments-on-event__automation_{n}" for n in (1, 2)]
    assert before[1] == ["health__automation_1", *retrain]
    said = checkout.run("flows.server", "deploy")
    assert "deployed etl-hm" in said
    assert "created" not in said
    assert there(checkout) == before
    assert len(checkout.ask("/work_pools/filter")) == 1


def test_nor_does_someones_own_prefect_that_was_told_the_server(checkout: Checkout) -> None:
    before = there(checkout)
    own = {"PREFECT_API_URL": checkout.url, "PREFECT_HOME": str(checkout.folder / "own")}
    checkout.run("prefect", "--no-prompt", "deploy", "--all", **own)
    assert there(checkout) == before


def test_a_worker_started_in_the_checkout_runs_the_code_there(checkout: Checkout) -> None:
    checkout.run("flows.prefect_cli", "deployment", "run", "etl/etl-hm")
    checkout.run("flows.prefect_cli", "worker", "start", "--run-once")
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


def test_a_pool_of_another_type_is_refused(checkout: Checkout) -> None:
    words = "work pool watchkeeper is of type process, WATCHKEEPER_WORK_POOL_TYPE says kubernetes; set"
    with pytest.raises(AssertionError, match=words):
        checkout.run("flows.server", "deploy", WATCHKEEPER_WORK_POOL_TYPE="kubernetes")


# The last one: it moves the deployments.
def test_a_pool_of_pods_and_a_repository_are_set_up_at_once(checkout: Checkout) -> None:
    pods = {
        "WATCHKEEPER_WORK_POOL": "cluster",
        "WATCHKEEPER_WORK_POOL_TYPE": "kubernetes",
        "WATCHKEEPER_REPOSITORY": "https://example.org/ours.git",
        "WATCHKEEPER_REPOSITORY_TOKEN": "hidden-word",
    }
    said = checkout.run("flows.server", "deploy", **pods)
    assert "created work pool cluster" in said
    pool = next(each for each in checkout.ask("/work_pools/filter") if each["name"] == "cluster")
    assert pool["type"] == "kubernetes"
    assert pool["base_job_template"]["job_configuration"]["job_manifest"]["kind"] == "Job"
    deployments = checkout.ask("/deployments/filter")
    assert {each["work_pool_name"] for each in deployments} == {"cluster"}
    assert "hidden-word" not in said + json.dumps(deployments)
    [variable] = checkout.ask("/variables/filter")
    assert (variable["name"], variable["value"]) == (
        "watchkeeper_repository",
        "https://example.org/ours.git",
    )
    assert [each["name"] for each in checkout.ask("/block_documents/filter")] == ["watchkeeper-repository"]
