"""The description is complete, its examples work, and the page loads nothing from outside."""

import importlib.util
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from services.bento.bodies import many_inputs, one_input
from services.bento.front import ROUTES
from services.bento.live import Live, load
from services.bento.manifest import read_manifest
from services.bento.openapi import POLICY, describe, page
from services.bento.predictor import MAX_PIXELS
from services.bento.problems import STATUS
from tests.versions import CLASSES, IMAGE, TABULAR, write_version

OF_BENTOML = {
    "openapi": "3.0.2",
    "info": {"title": "watchkeeper", "version": "1"},
    "paths": {"/livez": {"get": {"responses": {"200": {"description": "of BentoML"}}}}},
    "components": {"schemas": {"InternalServerError": {}}},
}


@pytest.fixture(params=["image", "tabular", "none"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Live | None:
    if request.param == "none":
        return None
    folder = write_version(tmp_path / "v1", IMAGE if request.param == "image" else TABULAR)
    return load(folder, read_manifest(folder), datetime.now(UTC), MAX_PIXELS)


def operations(made: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def bentoml_page() -> str:
    found = importlib.util.find_spec("_bentoml_impl")
    assert found
    assert found.origin
    return page(Path(found.origin).parent / "server" / "main-openapi.html")


def test_every_route_is_described_and_nothing_else(live: Live | None) -> None:
    described = {(path, method) for path, method, _ in operations(describe(OF_BENTOML, live, False))}
    ours = {(path, method) for path, (method, _) in ROUTES.items()}
    assert described == ours | {("/livez", "GET"), ("/readyz", "GET"), ("/metrics", "GET")}


def test_every_operation_is_named_and_sorted(live: Live | None) -> None:
    made = describe(OF_BENTOML, live, False)
    tags = {tag["name"] for tag in made["tags"]}
    for path, _, operation in operations(made):
        assert operation["summary"], path
        assert set(operation["tags"]) <= tags, path
    names = [operation["operationId"] for *_, operation in operations(made) if "operationId" in operation]
    assert len(names) == len(set(names))


def test_every_answer_has_a_schema(live: Live | None) -> None:
    for path, method, operation in operations(describe(OF_BENTOML, live, False)):
        for status, response in operation["responses"].items():
            said = response.get("content", {})
            assert said, f"{method} {path} does not say what {status} holds"
            assert all(content["schema"] for content in said.values()), f"{method} {path} {status}"


def test_every_problem_a_route_may_answer_with_is_described(live: Live | None) -> None:
    made = describe(OF_BENTOML, live, True)
    for path in ("/predict", "/predict_batch"):
        statuses = made["paths"][path]["post"]["responses"].keys()
        needed = {"bad_json", "unauthorized", "body_timeout", "body_too_large", "unsupported_media_type"}
        needed |= {"bad_request", "busy", "no_model"}
        assert {str(STATUS[code]) for code in needed} <= statuses, path
    assert "503" in made["paths"]["/readyz"]["get"]["responses"]
    assert "401" in made["paths"]["/model"]["get"]["responses"]


def test_every_reference_is_to_something(live: Live | None) -> None:
    made = describe(OF_BENTOML, live, True)
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(made)):
        at: Any = made
        for step in reference.split("/"):
            at = at[step]
        assert at


def test_the_problem_names_every_code() -> None:
    made = describe(OF_BENTOML, None, False)
    assert made["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] == sorted(STATUS)


def test_the_examples_work(live: Live | None) -> None:
    if live is None:
        return
    made = describe(OF_BENTOML, live, False)
    request = Request({"type": "http", "headers": [(b"content-type", b"application/json")]})

    def example(path: str) -> Any:
        body = made["paths"][path]["post"]["requestBody"]
        assert body["required"]
        assert next(iter(body["content"])) == "application/json", "what the button sends"
        return body["content"]["application/json"]["example"]

    payload = one_input(request, json.dumps(example("/predict")).encode())
    row, _ = live.decode(payload, MAX_PIXELS)
    assert len(live.predict([row]).outputs) == 1
    for item in many_inputs(request, json.dumps(example("/predict_batch")).encode()):
        live.decode(item, MAX_PIXELS)  # type: ignore[arg-type]
    said = example("/feedback")
    assert re.fullmatch("[0-9a-f]{32}", said["request_id"])
    if live.manifest.classes:
        assert said["label"] in CLASSES


def test_a_token_is_asked_for_where_it_is_needed(live: Live | None) -> None:
    guarded, free = describe(OF_BENTOML, live, True), describe(OF_BENTOML, live, False)
    assert "security" not in free
    (needed,) = guarded["security"]
    scheme = guarded["components"]["securitySchemes"][next(iter(needed))]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


def test_an_image_may_be_sent_in_each_form(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "v1")
    live = load(folder, read_manifest(folder), datetime.now(UTC), MAX_PIXELS)
    paths = describe(OF_BENTOML, live, False)["paths"]
    forms = {"application/json", "multipart/form-data", "image/jpeg", "image/png", "image/webp"}
    assert paths["/predict"]["post"]["requestBody"]["content"].keys() == forms


def test_the_page_loads_nothing_from_outside() -> None:
    html = bentoml_page()
    assert "googletagmanager" not in html
    assert "swagger-ui-bundle.js" in html, "it is still BentoML's page"
    loaded = re.findall(r'<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)="([^"]+)"', html)
    assert loaded
    assert not [address for address in loaded if re.match(r"(?i)(?:[a-z]+:)?//", address)]


def test_the_page_has_no_script_that_the_policy_refuses() -> None:
    assert "script-src" not in POLICY
    assert POLICY.startswith("default-src 'self';")
    assert not re.findall(r"<script\b(?![^>]*\bsrc=)", bentoml_page())
