"""What Prefect's own worker makes of our template, and whether Kubernetes knows every field.

The fields are those of Kubernetes' OpenAPI description, as its Python client was generated from it. No
cluster has run any of it.
"""

import asyncio
import json
import re
import uuid
from pathlib import Path
from typing import Any, cast

import kubernetes_asyncio.client as kubernetes
import pytest
import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

from flows.config import CHECKOUT
from flows.prefect_cli import SECRET, in_cluster
from flows.prefect_file import job_variables
from flows.work_pool import base_job_template
from tests.factories import settings_of

FOLDER = CHECKOUT / "deployments" / "kubernetes"
KINDS = {
    "Job": "V1Job",
    "Namespace": "V1Namespace",
    "ServiceAccount": "V1ServiceAccount",
    "Role": "V1Role",
    "RoleBinding": "V1RoleBinding",
    "PersistentVolumeClaim": "V1PersistentVolumeClaim",
    "Deployment": "V1Deployment",
    "NetworkPolicy": "V1NetworkPolicy",
    "ConfigMap": "V1ConfigMap",
}
# Prefect's check of a template asks for these in the pod, where Kubernetes ignores them.
PREFECTS = {"Job.spec.template.spec.parallelism", "Job.spec.template.spec.completions"}


def faults(value: Any, kind: str, where: str) -> list[str]:
    """What of a value is not of that kind: unknown fields, wrong types, missing fields."""
    if value is None:
        return [f"{where} is empty"]
    if listed := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [f for n, item in enumerate(value) for f in faults(item, listed[1], f"{where}[{n}]")]
    if mapped := re.fullmatch(r"dict\(str, (.+)\)", kind):
        return [f for key, item in value.items() for f in faults(item, mapped[1], f"{where}.{key}")]
    if not hasattr(kubernetes, kind):
        scalar = {"str": str, "int": int, "bool": bool}.get(kind, object)
        return [] if isinstance(value, scalar) else [f"{where} is no {kind}: {value!r}"]
    return faults_of_object(value, getattr(kubernetes, kind), where)


def faults_of_object(value: Any, model: Any, where: str) -> list[str]:
    types = {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
    found = [f"{where}.{key} is unknown" for key in value if key not in types]
    for key, item in value.items():
        if key in types:
            found += faults(item, types[key], f"{where}.{key}")
    try:  # the client's models refuse what lacks a required field
        given = {name: value.get(key) for name, key in model.attribute_map.items()}
        model(**given)
    except ValueError as error:
        found.append(f"{where}: {error}")
    return found


def documents() -> list[tuple[str, dict[str, Any]]]:
    kept = [path for path in sorted(FOLDER.glob("*.yaml")) if path.name != "kustomization.yaml"]
    return [(path.name, each) for path in kept for each in yaml.safe_load_all(path.read_text())]


def job_of_a_run(tmp_path: Path, **variables: Any) -> dict[str, Any]:
    """The manifest that Prefect's worker would send."""
    settings = settings_of(tmp_path, work_pool_type="kubernetes")
    configuration = asyncio.run(
        KubernetesWorkerJobConfiguration.from_template_and_values(
            base_job_template(settings),
            {**job_variables(settings), **variables},
            # Never asked, as the template names no block; without one Prefect would start a server.
            client=cast(PrefectClient, object()),
        )
    )
    run = FlowRun(flow_id=uuid.uuid4(), name="etl-garments", id=uuid.uuid4())
    configuration.prepare_for_flow_run(run)
    manifest: dict[str, Any] = json.loads(json.dumps(configuration.job_manifest))
    return manifest


def test_kubernetes_knows_every_field_of_a_runs_job(tmp_path: Path) -> None:
    job = job_of_a_run(tmp_path)
    assert set(faults(job, "V1Job", "Job")) == {f"{field} is unknown" for field in PREFECTS}
    assert "{{" not in json.dumps(job)


@pytest.mark.parametrize(("name", "manifest"), documents(), ids=lambda each: str(each)[:40])
def test_kubernetes_knows_every_field_of_a_manifest(name: str, manifest: dict[str, Any]) -> None:
    assert faults(manifest, KINDS[manifest["kind"]], name) == []


def test_the_check_finds_what_is_wrong(tmp_path: Path) -> None:
    job = job_of_a_run(tmp_path)
    pod = job["spec"]["template"]["spec"]
    pod["runAsNonRoot"] = True
    pod["containers"][0]["securityContext"]["privileged"] = "no"
    del pod["containers"][0]["name"]
    found = faults(job, "V1Job", "Job")
    assert "Job.spec.template.spec.runAsNonRoot is unknown" in found
    where = "Job.spec.template.spec.containers[0]"
    assert f"{where}.securityContext.privileged is no bool: 'no'" in found
    assert any(fault.startswith(f"{where}: ") and "name" in fault for fault in found)


def test_a_run_is_one_pod_that_can_do_little(tmp_path: Path) -> None:
    job = job_of_a_run(tmp_path)
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert (job["spec"]["parallelism"], job["spec"]["completions"], job["spec"]["backoffLimit"]) == (1, 1, 0)
    assert job["spec"]["ttlSecondsAfterFinished"] > 0
    assert pod["automountServiceAccountToken"] is False
    assert container["image"] == "watchkeeper:local"
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
    assert {"secretRef": {"name": SECRET, "optional": True}} in container["envFrom"]


def restricted(pod: dict[str, Any]) -> bool:
    """Whether Kubernetes' pod security standard `restricted` admits it."""
    security = [container["securityContext"] for container in pod["containers"]]
    return (
        pod["securityContext"]["runAsNonRoot"]
        and pod["securityContext"]["runAsUser"] > 0
        and pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        and all(
            each["allowPrivilegeEscalation"] is False
            and each["readOnlyRootFilesystem"]
            and each["capabilities"] == {"drop": ["ALL"]}
            for each in security
        )
    )


def test_runs_and_worker_are_restricted_and_write_to_their_volumes_only(tmp_path: Path) -> None:
    deployment = next(each for _, each in documents() if each["kind"] == "Deployment")
    for pod in (job_of_a_run(tmp_path)["spec"]["template"]["spec"], deployment["spec"]["template"]["spec"]):
        assert restricted(pod)
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {m["mountPath"]: volumes[m["name"]] for m in pod["containers"][0]["volumeMounts"]}
        assert "emptyDir" in mounts["/tmp"]
        environment = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
        assert "persistentVolumeClaim" in mounts[environment["WATCHKEEPER_HOME"]]


def test_the_names_in_the_template_are_those_of_the_manifests(tmp_path: Path) -> None:
    names = {(each["kind"], each["metadata"]["name"]) for _, each in documents()}
    job = job_of_a_run(tmp_path)
    pod = job["spec"]["template"]["spec"]
    assert ("ServiceAccount", pod["serviceAccountName"]) in names
    assert ("Namespace", job["metadata"]["namespace"]) in names
    claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "emptyDir" not in v]
    assert [("PersistentVolumeClaim", claim) in names for claim in claims] == [True]
    settings = [source["configMapRef"]["name"] for source in pod["containers"][0]["envFrom"][:1]]
    assert ("ConfigMap", settings[0]) in names


def test_a_deployment_may_ask_for_more_than_the_default(tmp_path: Path) -> None:
    job = job_of_a_run(tmp_path, memory_limit="12Gi")
    assert job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] == "12Gi"


def test_a_worker_in_a_cluster_puts_no_login_into_manifests(tmp_path: Path) -> None:
    from prefect_kubernetes.settings import KubernetesSettings

    told = in_cluster(settings_of(tmp_path, work_pool_type="kubernetes", kubernetes_namespace="ours"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
        known = KubernetesSettings()
    assert known.worker.api_key_secret_name == SECRET
    assert known.worker.api_auth_string_secret_key == "WATCHKEEPER_PREFECT_AUTH_STRING"
    assert known.observer.namespaces == {"ours"}
