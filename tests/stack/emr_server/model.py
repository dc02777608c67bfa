"""The wire: requests become parameters and results become answers, by botocore's model of the service.

What the model refuses is refused here; an answer that it refuses is a fault of this server.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import botocore.session
from botocore.model import OperationModel, Shape
from botocore.validate import ParamValidator

from tests.stack.emr_server.constraints import broken
from tests.stack.emr_server.errors import STATUS, ApiError


@dataclass(frozen=True)
class Request:
    """What arrived; `path` as it stood in the request line."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Response:
    """What goes back."""

    status: int
    headers: dict[str, str]
    body: bytes


class Api:
    """What both protocols share."""

    json_type = "application/json"
    invalid = "ValidationException"

    def __init__(self, service: str) -> None:
        self.model = botocore.session.get_session().get_service_model(service)

    def problems(self, shape: Shape | None, value: Any) -> list[str]:
        """What the model has against a value."""
        if shape is None:
            return []
        report = ParamValidator().validate(value, shape)
        return [report.generate_report()] if report.has_errors() else broken(shape, value)

    def checked(self, operation: OperationModel, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters, if the model takes them."""
        if problems := self.problems(operation.input_shape, parameters):
            raise ApiError(self.invalid, "; ".join(problems))
        return parameters

    def answer(self, operation: str, result: dict[str, Any]) -> Response:
        """The result on the wire."""
        shape = self.model.operation_model(operation).output_shape
        if problems := self.problems(shape, result):
            raise AssertionError(f"{operation} would answer what its model refuses: {problems}")
        body = json.dumps(encoded(result)).encode() if shape else b"{}"
        return Response(200, {"content-type": self.json_type}, body)

    def read(self, request: Request) -> tuple[str, dict[str, Any]]:
        """The operation and its parameters."""
        raise NotImplementedError

    def refusal(self, error: ApiError) -> Response:
        """An error on the wire."""
        raise NotImplementedError


class RestJson(Api):
    """EMR Serverless: the operation is in method and path."""

    def __init__(self, service: str) -> None:
        super().__init__(service)
        operations = [self.model.operation_model(name) for name in self.model.operation_names]
        self.routes = [(o.http["method"], route(o.http["requestUri"]), o) for o in operations]

    def read(self, request: Request) -> tuple[str, dict[str, Any]]:
        """The operation and its parameters."""
        for method, pattern, operation in self.routes:
            if method == request.method and (match := pattern.fullmatch(request.path)):
                found = {key: unquote(value) for key, value in match.groupdict().items()}
                return operation.name, self.checked(operation, self.parameters(operation, found, request))
        raise ApiError("UnknownOperationException", f"{request.method} {request.path} is no operation")

    def parameters(
        self, operation: OperationModel, in_path: dict[str, str], request: Request
    ) -> dict[str, Any]:
        """What path, query and body say."""
        body = read_json(request.body, self.invalid)
        members = operation.input_shape.members if operation.input_shape else {}
        found = {key: value for key, value in body.items() if key not in members}
        for name, shape in members.items():
            place, key = shape.serialization.get("location"), shape.serialization.get("name", name)
            if place == "uri" and key in in_path:
                found[name] = in_path[key]
            elif place == "querystring" and key in request.query:
                found[name] = from_query(shape, request.query[key])
            elif place is None and key in body:
                found[name] = decoded(shape, body[key])
        return found

    def refusal(self, error: ApiError) -> Response:
        headers = {"content-type": self.json_type, "x-amzn-errortype": error.code}
        return Response(STATUS.get(error.code, 400), headers, json.dumps({"message": error.message}).encode())


class Json11(Api):
    """EMR on EC2: the operation is in a header, everything else in the body."""

    json_type = "application/x-amz-json-1.1"

    def read(self, request: Request) -> tuple[str, dict[str, Any]]:
        """The operation and its parameters."""
        name = request.headers.get("x-amz-target", "").rpartition(".")[2]
        if name not in self.model.operation_names:
            raise ApiError("UnknownOperationException", f"{name!r} is no operation")
        operation = self.model.operation_model(name)
        return name, self.checked(
            operation, decoded(operation.input_shape, read_json(request.body, self.invalid))
        )

    def refusal(self, error: ApiError) -> Response:
        status = 500 if STATUS.get(error.code) == 500 else 400
        body = {"__type": error.code, "message": error.message}
        return Response(status, {"content-type": self.json_type}, json.dumps(body).encode())


def route(uri: str) -> re.Pattern[str]:
    """A pattern of the paths that a model's URI stands for."""
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", uri.partition("?")[0]))


def read_json(body: bytes, code: str) -> dict[str, Any]:
    """The body's object."""
    try:
        found = json.loads(body or b"{}")
    except ValueError as error:
        raise ApiError(code, f"the body is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ApiError(code, "the body is no object")
    return found


def from_query(shape: Shape, values: list[str]) -> Any:
    """A parameter of the query string."""
    if shape.type_name == "list":
        return values
    text = values[-1]
    if shape.type_name in ("integer", "long"):
        return int(text)
    if shape.type_name == "boolean":
        return text == "true"
    return datetime.fromisoformat(text) if shape.type_name == "timestamp" else text


def decoded(shape: Shape | None, value: Any) -> Any:
    """JSON with its timestamps as moments."""
    if shape is None or value is None:
        return value
    if shape.type_name == "timestamp" and isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    if shape.type_name == "list" and isinstance(value, list):
        return [decoded(shape.member, item) for item in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: decoded(shape.value, item) for key, item in value.items()}
    if shape.type_name == "structure" and isinstance(value, dict):
        return {key: decoded(shape.members.get(key), item) for key, item in value.items() if item is not None}
    return value


def encoded(value: Any) -> Any:
    """A result as JSON: moments in seconds since 1970, as both protocols have them."""
    if isinstance(value, datetime):
        return round(value.timestamp(), 3)
    if isinstance(value, dict):
        return {key: encoded(item) for key, item in value.items()}
    return [encoded(item) for item in value] if isinstance(value, list) else value
