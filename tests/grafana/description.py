"""Grafana 9.4's description of its API, corrected where a real server says otherwise."""

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from openapi_schema_validator import OAS30Validator

from flows.config import CHECKOUT

FILE = (
    Path(os.environ.get("WATCHKEEPER_TEST_DATA", CHECKOUT.parent / "shared" / "data"))
    / "grafana/openapi3.json"
)
PROVISIONING = "/api/v1/provisioning/"


@cache
def description() -> dict[str, Any] | None:
    """The corrected description; None where it is not at hand, as in a clone without the shared data."""
    if not FILE.exists():
        return None
    said: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    schemas = said["components"]["schemas"]
    # Durations of rules are strings; those of a query's range are seconds.
    schemas["ProvisionedAlertRule"]["properties"]["for"] = {"type": "string", "pattern": r"^(\d+[a-z]+)+$"}
    # A matcher is written as its three words.
    words = {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 3}
    schemas["ObjectMatchers"] = {"type": "array", "items": words}
    # Names of contact points' types have a space before them.
    kinds = schemas["EmbeddedContactPoint"]["properties"]["type"]
    kinds["enum"] = [kind.strip() for kind in kinds["enum"]]
    # A saved dashboard's id is a number.
    saved = said["components"]["responses"]["postDashboardResponse"]["content"]["application/json"]["schema"]
    saved["properties"]["id"] = {"type": "integer"}
    # Two that answer otherwise (RouteDeleteContactPoint and RoutePutMuteTiming of grafana/grafana
    # pkg/services/ngalert/api/api_provisioning.go).
    for path, method, told in (
        ("contact-points/{UID}", "delete", "204"),
        ("mute-timings/{name}", "put", "200"),
    ):
        answers = said["paths"][PROVISIONING + path][method]["responses"]
        answers["202"] = answers.pop(told)
    # All paths are below /api; those of provisioning have it twice.
    paths = said["paths"]
    said["paths"] = {path if path.startswith("/api/") else f"/api{path}": paths[path] for path in paths}
    return said


def complaints(method: str, path: str, asked: Any, status: int, answered: Any) -> list[str]:
    """What the description has against a request and its answer; None is an empty body."""
    said = description()
    if said is None or status in (401, 500):
        return []
    operation = _operation(said, method, path)
    if operation is None:
        return [f"{method} {path}: there is no such call"]
    found = []
    wanted = operation.get("requestBody")
    if (asked is not None) != (wanted is not None):
        found.append("a body where none is asked for, or the other way round")
    elif wanted is not None:
        found += _against(said, wanted["content"]["application/json"]["schema"], asked)
    answer = operation["responses"].get(str(status))
    if answer is None:
        return [*found, f"{method} {path}: status {status} is not described"]
    if "$ref" in answer:
        answer = said["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    schema = answer.get("content", {}).get("application/json", {}).get("schema")
    # Deletes of provisioning answer with nothing.
    if schema and not (method == "DELETE" and answered is None):
        found += _against(said, schema, answered)
    return [f"{method} {path} {status}: {each}" for each in found]


def _operation(said: dict[str, Any], method: str, path: str) -> dict[str, Any] | None:
    """The most literal template that the path fits."""
    fitting = [
        template
        for template, operations in said["paths"].items()
        if method.lower() in operations
        and re.fullmatch(re.sub(r"\\{[^/]+\\}", "[^/]+", re.escape(template)), path)
    ]
    if not fitting:
        return None
    best = min(fitting, key=lambda template: template.count("{"))
    operation: dict[str, Any] = said["paths"][best][method.lower()]
    return operation


def _against(said: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    whole = {"allOf": [schema], "components": said["components"]}
    return [f"{error.json_path}: {error.message[:200]}" for error in OAS30Validator(whole).iter_errors(value)]
