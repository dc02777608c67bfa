"""The copy of `prefect.yaml` that Prefect is given."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.prefect_file import FILE, read, rendered, write_copy
from tests.factories import SHIPPED, settings_of

CLONE = "prefect.deployments.steps.git_clone"
CHECKOUT_STEP = {"prefect.deployments.steps.set_working_directory": {"directory": "."}}


def copy_for(tmp_path: Path, **settings: Any) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(write_copy(settings_of(tmp_path, **settings)).read_text())
    return document


def pools(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [deployment["work_pool"] for deployment in document["deployments"]]


def clone(document: dict[str, Any]) -> dict[str, str]:
    [step] = document["pull"]
    arguments: dict[str, str] = step[CLONE]
    return arguments


def test_with_the_settings_defaults_the_copy_says_what_the_file_says(tmp_path: Path) -> None:
    assert copy_for(tmp_path) == read()
    assert read()["pull"] == [CHECKOUT_STEP]


def test_every_data_set_has_its_etl() -> None:
    entrypoints = [(each["entrypoint"], each.get("parameters", {})) for each in read()["deployments"]]
    datasets = {given["dataset"] for entrypoint, given in entrypoints if entrypoint.endswith(":etl")}
    assert datasets == {path.name for path in SHIPPED.iterdir() if path.is_dir()}


def test_the_work_pool_is_that_of_the_settings(tmp_path: Path) -> None:
    document = copy_for(tmp_path, work_pool="night")
    assert pools(document) == [{"name": "night", "job_variables": {"working_dir": "."}}] * len(
        pools(document)
    )


def test_a_clone_does_not_run_in_the_workers_folder(tmp_path: Path) -> None:
    document = copy_for(tmp_path, repository="https://example.org/ours.git")
    assert clone(document) == {"repository": "{{ prefect.variables.watchkeeper_repository }}"}
    assert pools(document) == [{"name": "watchkeeper", "job_variables": {}}] * len(pools(document))


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ({"branch": "live"}, {"branch": "{{ prefect.variables.watchkeeper_branch }}"}),
        (
            {"repository_token": "hidden-word"},
            {"access_token": "{{ prefect.blocks.secret.watchkeeper-repository }}"},
        ),
        ({"repository_block": "bot"}, {"access_token": "{{ prefect.blocks.secret.bot }}"}),
        (
            {"repository_token": "hidden-word", "repository_block": "bot"},
            {"access_token": "{{ prefect.blocks.secret.bot }}"},
        ),
    ],
)
def test_a_clone_is_told_its_branch_and_its_token_by_name(
    tmp_path: Path, given: dict[str, str], added: dict[str, str]
) -> None:
    document = copy_for(tmp_path, repository="https://example.org/ours.git", **given)
    assert clone(document) == {"repository": "{{ prefect.variables.watchkeeper_repository }}", **added}
    assert "hidden-word" not in str(document)


def test_a_pod_runs_what_its_image_carries_or_a_clone(tmp_path: Path) -> None:
    pod: dict[str, Any] = {"work_pool_type": "kubernetes", "kubernetes_image": "registry/ours:7"}
    document = copy_for(tmp_path, **pod)
    wanted = {"image": "registry/ours:7", "namespace": "watchkeeper"}
    assert [pool["job_variables"] for pool in pools(document)] == [wanted] * len(pools(document))
    assert document["pull"] == [{"prefect.deployments.steps.set_working_directory": {"directory": "/app"}}]
    cloned = copy_for(tmp_path, repository="https://example.org/ours.git", **pod)
    assert CLONE in cloned["pull"][0]
    assert pools(cloned) == pools(document)


def test_what_a_deployment_says_of_its_own_pod_stays(tmp_path: Path) -> None:
    document = read()
    document["deployments"][0]["work_pool"] = {"name": "x", "job_variables": {"memory_limit": "12Gi"}}
    done = rendered(document, settings_of(tmp_path, work_pool_type="kubernetes"))
    assert done["deployments"][0]["work_pool"]["job_variables"]["memory_limit"] == "12Gi"


def test_schedules_are_off_and_every_deployment_has_tags_and_a_limit() -> None:
    for deployment in yaml.safe_load(FILE.read_text())["deployments"]:
        assert [schedule["active"] for schedule in deployment["schedules"]] == [False]
        assert "watchkeeper" in deployment["tags"]
        assert deployment["concurrency_limit"] == 1
