"""What `/` and `/docs.json` show: BentoML's page and description, with our routes, nothing from outside."""

import base64
import re
from pathlib import Path
from typing import Any

from services.bento.bodies import JSON, MOST, MULTIPART, PICTURES
from services.bento.live import Live
from services.bento.manifest import ImageInput
from services.bento.problems import STATUS

FOREIGN = re.compile(r"<!-- Google Tag Manager.*?-->.*?<!-- End Google Tag Manager.*?-->", re.DOTALL)
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
"""Content-Security-Policy of the page: whatever a newer BentoML adds to it, nothing else is loaded."""

Json = dict[str, Any]
TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
BINARY: Json = {"type": "string", "format": "binary"}
BODY = (
    "bad_request",
    "bad_json",
    "body_timeout",
    "body_too_large",
    "unsupported_media_type",
    "busy",
    "no_model",
)


def page(bentoml_page: Path) -> str:
    """BentoML's page without its tag manager."""
    return FOREIGN.sub("", bentoml_page.read_text(encoding="utf-8"))


def describe(of_bentoml: Json, live: Live | None, guarded: bool) -> Json:
    """BentoML's description of the service, with our routes and examples that work for what is live."""
    ours = {
        "/predict": ("post", "Classify one input", answer(live), body(live, many=False), BODY),
        "/predict_batch": (
            "post",
            f"Classify 1 to {MOST} inputs, each answered on its own",
            record(answers={"type": "array", "items": {"anyOf": [answer(live), REFERENCE]}}),
            body(live, many=True),
            BODY,
        ),
        "/feedback": (
            "post",
            "Tell the label of an earlier answer",
            record(status=TEXT),
            feedback(live),
            BODY,
        ),
        "/model": ("get", "What is live, since when, from which snapshot", MODEL, None, ("no_model",)),
    }
    paths: Json = {"/metrics": metrics()}
    for path, (method, summary, response, request, codes) in ours.items():
        paths[path] = {method: operation(path, summary, response, request, codes, guarded)}
    health = record(status=TEXT, reason={"type": "string", "nullable": True})
    for path, summary in (("/livez", "Whether this worker lives"), ("/readyz", "Whether it can answer")):
        described = {"description": "As it says", "content": {JSON: {"schema": health}}}
        responses = {"200": described} | ({"503": described} if path == "/readyz" else {})
        described = {"summary": summary, "tags": ["Health"], "operationId": path[1:], "responses": responses}
        described["security"] = []  # no token
        paths[path] = {"get": described}
    merged = {**of_bentoml, "paths": dict(sorted(paths.items()))}
    version = live.manifest.version if live else "none"
    merged["info"] = {"title": "Watchkeeper", "version": version, "description": INTRODUCTION}
    merged["components"] = {"schemas": {"Problem": PROBLEM}}
    merged["tags"] = [{"name": "Service"}, {"name": "Health"}]
    if guarded:
        merged["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        merged["security"] = [{"token": []}]
    return merged


def record(**properties: Json) -> Json:
    """The schema of an object."""
    return {"type": "object", "properties": properties}


INTRODUCTION = (
    "Answers with the champion of the registry. Every answer names the version that gave it and has a "
    "request id, by which its label can be told later. What is wrong with a request is said as a problem "
    "(RFC 9457) with a code."
)
PROBLEM = record(
    type=TEXT,
    title=TEXT,
    status={"type": "integer"},
    code={"type": "string", "enum": sorted(STATUS)},
    detail=TEXT,
)
REFERENCE: Json = {"$ref": "#/components/schemas/Problem"}
MODEL = record(
    model=TEXT,
    version=TEXT,
    since={"type": "string", "format": "date-time"},
    snapshot=record(table=TEXT, snapshot_id={"type": "integer"}),
    task=TEXT,
    classes={"type": "array", "items": TEXT},
    input={"type": "object"},
    metrics={"type": "object", "additionalProperties": NUMBER},
)


def operation(
    path: str, summary: str, response: Json, request: Json | None, codes: tuple[str, ...], guarded: bool
) -> Json:
    """One operation of the description."""
    done = "202" if path == "/feedback" else "200"
    responses: Json = {done: {"description": "Done", "content": {JSON: {"schema": response}}}}
    for code in (*codes, *(("unauthorized",) if guarded else ())):
        said = {"description": code, "content": {"application/problem+json": {"schema": REFERENCE}}}
        responses.setdefault(str(STATUS[code]), said)
    made: Json = {
        "summary": summary,
        "tags": ["Service"],
        "operationId": path.strip("/"),
        "responses": responses,
    }
    if request is not None:
        made["requestBody"] = {"required": True, "content": request}
    return made


def metrics() -> Json:
    """BentoML's own endpoint."""
    text = {"description": "Done", "content": {"text/plain": {"schema": TEXT}}}
    made = {"summary": "Metrics for Prometheus", "tags": ["Health"], "operationId": "metrics"}
    return {"get": made | {"responses": {"200": text}}}


def body(live: Live | None, *, many: bool) -> Json:
    """What a request carries; JSON first, as its example works when one presses the button."""
    if live and not isinstance(live.manifest.input, ImageInput):
        features = live.manifest.input.features
        row: Json = record(**dict.fromkeys(features, NUMBER)) | {"required": features}
        example: object = live.example()
        if many:
            row = record(rows={"type": "array", "items": row})
            example = {"rows": [example, example]}
        return {JSON: {"schema": row, "example": example}}
    picture = base64.b64encode(live.example()).decode() if live else ""  # type: ignore[arg-type]
    if many:
        listed: Json = {"type": "array", "maxItems": MOST, "items": {"type": "string", "format": "byte"}}
        return {
            JSON: {
                "schema": record(images=listed),
                "example": {"images": [picture, picture]},
            },
            MULTIPART: form({"type": "array", "items": BINARY}),
        }
    return {
        JSON: {
            "schema": record(image={"type": "string", "format": "byte"}),
            "example": {"image": picture},
        },
        MULTIPART: form(BINARY),
        **{kind: {"schema": BINARY} for kind in sorted(PICTURES)},
    }


def form(image: Json) -> Json:
    """A multipart body with the field `image`."""
    return {"schema": record(image=image) | {"required": ["image"]}}


def feedback(live: Live | None) -> Json:
    """The body of `/feedback`."""
    classes = live.manifest.classes if live else []
    example = {"request_id": "0" * 32, "label": (classes or ["a label"])[0]}
    return {JSON: {"schema": record(request_id=TEXT, label=TEXT), "example": example}}


def answer(live: Live | None) -> Json:
    """The schema of one answer."""
    said: Json = {"model_version": TEXT, "request_id": TEXT}
    if live and live.manifest.task == "regression":
        return record(value=NUMBER, **said)
    shares = {"type": "object", "additionalProperties": NUMBER}
    return record(label=TEXT, probability=NUMBER, probabilities=shares, **said)
