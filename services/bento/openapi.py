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
CODES: dict[str, tuple[str, ...]] = {
    "/predict": ("bad_multipart", "body_timeout", "body_too_large", "unsupported_media_type", "bad_image"),
    "/predict_batch": (
        "bad_json",
        "body_timeout",
        "body_too_large",
        "unsupported_media_type",
        "too_many_images",
    ),
    "/feedback": ("bad_json", "body_timeout", "body_too_large", "bad_request"),
    "/model": (),
}


def page(bentoml_page: Path) -> str:
    """BentoML's page without its tag manager."""
    return FOREIGN.sub("", bentoml_page.read_text(encoding="utf-8"))


def describe(of_bentoml: Json, live: Live | None, guarded: bool) -> Json:
    """BentoML's description of the service, with our routes and examples that work for what is live."""
    paths: Json = {
        "/predict": {
            "post": operation("/predict", "Classify one input", body(live, many=False), answer(live))
        },
        "/predict_batch": {
            "post": operation(
                "/predict_batch",
                f"Classify 1 to {MOST} inputs, each answered on its own",
                body(live, many=True),
                {"type": "object", "properties": {"answers": {"type": "array", "items": answer(live)}}},
            )
        },
        "/feedback": {
            "post": operation("/feedback", "Tell the label of an earlier answer", feedback(live), None, "202")
        },
        "/model": {"get": operation("/model", "What is live, since when, from which snapshot", None, {})},
    }
    for path, what in (("/livez", "Whether this worker lives"), ("/readyz", "Whether it can answer")):
        paths[path] = {"get": operation(path, what, None, {}, tag="Health")}
    merged = {**of_bentoml, "paths": {**paths, "/metrics": metrics()}}
    merged["info"] = {**of_bentoml.get("info", {}), "title": "Watchkeeper", "description": INTRODUCTION}
    merged["components"] = {"schemas": {"Problem": PROBLEM}}
    merged["tags"] = [{"name": "Service"}, {"name": "Health"}]
    if guarded:
        merged["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        merged["security"] = [{"token": []}]
    return merged


INTRODUCTION = (
    "Answers with the champion of the registry. Every answer names the version that gave it and has a "
    "request id, by which its label can be told later. What is wrong with a request is said as a problem "
    "(RFC 9457) with a code."
)
PROBLEM: Json = {
    "type": "object",
    "properties": {
        "type": TEXT,
        "title": TEXT,
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": sorted(STATUS)},
        "detail": TEXT,
    },
}


def operation(
    path: str,
    summary: str,
    request: Json | None,
    response: Json | None,
    status: str = "200",
    tag: str = "Service",
) -> Json:
    """One operation of the description."""
    content = {JSON: {"schema": response}} if response is not None else {}
    responses: Json = {status: {"description": "Done", "content": content}}
    codes = CODES.get(path, ())
    for code in (*codes, *(("busy", "no_model") if codes else ())):
        responses.setdefault(
            str(STATUS[code]),
            {
                "description": code,
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        )
    made: Json = {"summary": summary, "tags": [tag], "operationId": path.strip("/"), "responses": responses}
    if request is not None:
        made["requestBody"] = {"required": True, "content": request}
    return made


def metrics() -> Json:
    """BentoML's own endpoint."""
    text = {"description": "Done", "content": {"text/plain": {"schema": TEXT}}}
    return {"get": {"summary": "Metrics for Prometheus", "tags": ["Health"], "responses": {"200": text}}}


def body(live: Live | None, *, many: bool) -> Json:
    """What a request carries; JSON first, as its example works when one presses the button."""
    if live and not isinstance(live.manifest.input, ImageInput):
        features = live.manifest.input.features
        row: Json = {"type": "object", "properties": dict.fromkeys(features, NUMBER), "required": features}
        example: object = live.example()
        if many:
            row = {"type": "object", "properties": {"rows": {"type": "array", "items": row}}}
            example = {"rows": [example, example]}
        return {JSON: {"schema": row, "example": example}}
    picture = base64.b64encode(live.example()).decode() if live else ""  # type: ignore[arg-type]
    if many:
        listed: Json = {"type": "array", "maxItems": MOST, "items": {"type": "string", "format": "byte"}}
        return {
            JSON: {
                "schema": {"type": "object", "properties": {"images": listed}},
                "example": {"images": [picture, picture]},
            },
            MULTIPART: form({"type": "array", "items": BINARY}),
        }
    return {
        JSON: {
            "schema": {"type": "object", "properties": {"image": {"type": "string", "format": "byte"}}},
            "example": {"image": picture},
        },
        MULTIPART: form(BINARY),
        **{kind: {"schema": BINARY} for kind in sorted(PICTURES)},
    }


def form(image: Json) -> Json:
    """A multipart body with the field `image`."""
    return {"schema": {"type": "object", "properties": {"image": image}, "required": ["image"]}}


def feedback(live: Live | None) -> Json:
    """The body of `/feedback`."""
    classes = live.manifest.classes if live else []
    schema = {"type": "object", "properties": {"request_id": TEXT, "label": TEXT}}
    example = {"request_id": "0" * 32, "label": (classes or ["a label"])[0]}
    return {JSON: {"schema": schema, "example": example}}


def answer(live: Live | None) -> Json:
    """The schema of one answer."""
    said: Json = {"model_version": TEXT, "request_id": TEXT}
    if live and live.manifest.task == "regression":
        return {"type": "object", "properties": {"value": NUMBER, **said}}
    shares = {"type": "object", "additionalProperties": NUMBER}
    return {
        "type": "object",
        "properties": {"label": TEXT, "probability": NUMBER, "probabilities": shares, **said},
    }
