"""From a request's body to the inputs that it carries; whatever is wrong with it is a problem, never more."""

import asyncio
import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any, NoReturn

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from services.bento.live import Payload
from services.bento.problems import ProblemError

PICTURES = {"image/jpeg", "image/png", "image/webp"}
JSON = "application/json"
MULTIPART = "multipart/form-data"
MOST = 64
"""Inputs of one batch."""
HELD_BODIES = 6
"""Bodies of the largest size whose bytes a worker holds at once, unfinished, for all its clients together."""
SMALL_BYTES = 1 << 20
"""A body up to this size is taken whatever others hold: who holds much is refused, not who comes last."""
MOST_BRACKETS = 1000
MOST_HEADER = 8 << 10


@dataclass
class Bodies:
    """Reads bodies within their bounds.

    Args:
        limit: bytes of one body.
        seconds: for a body to arrive.
    """

    limit: int
    seconds: float
    _held: int = field(default=0, init=False)

    async def read(self, request: Request) -> bytes:
        """The whole body.

        Raises:
            ProblemError: too large, too slow, encoded, or more than this worker holds.
            ClientDisconnect: its sender went away.
        """
        headers = request.headers
        if headers.get("content-encoding", "identity") != "identity":
            raise ProblemError("unsupported_media_type", "send the body without a content-encoding")
        said = headers.get("content-length", "0")
        if said.isdecimal() and int(said[:19]) > self.limit:
            raise self._too_large()
        chunks, size = [], 0
        try:
            async with asyncio.timeout(self.seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    self._held += len(chunk)
                    chunks.append(chunk)
                    if size > self.limit:
                        raise self._too_large()
                    if size > SMALL_BYTES and self._held > HELD_BODIES * self.limit:
                        raise ProblemError("overloaded", "too many bodies are on their way; try again")
        except TimeoutError:
            raise ProblemError("body_timeout", f"the body did not arrive within {self.seconds:g} s") from None
        finally:
            self._held -= size
        return b"".join(chunks)

    def _too_large(self) -> ProblemError:
        return ProblemError("body_too_large", f"a body has at most {self.limit >> 20} MiB")


def media_type(request: Request) -> tuple[str, dict[bytes, bytes]]:
    """The media type in lower case, and its parameters."""
    name, options = parse_options_header(request.headers.get("content-type"))
    return name.decode("latin-1").lower(), options


def one_input(request: Request, body: bytes) -> Payload:
    """The one input of a body.

    Raises:
        ProblemError: another number of inputs, or nothing that is understood.
    """
    kind, options = media_type(request)
    if kind in PICTURES:
        return body
    if kind == MULTIPART:
        pictures = images_of(body, options)
        if len(pictures) != 1:
            raise ProblemError(
                "bad_request", f"{len(pictures)} fields `image`; send one, or use /predict_batch"
            )
        return pictures[0]
    if kind != JSON:
        refuse(kind)
    row: Payload = parse_json(body)
    if not isinstance(row, dict):
        raise ProblemError("bad_request", "send a JSON object")
    return from_base64(row["image"]) if row.keys() == {"image"} and isinstance(row["image"], str) else row


def many_inputs(request: Request, body: bytes) -> list[Payload | ProblemError]:
    """The inputs of a batch; what cannot be read of one is its problem alone.

    Raises:
        ProblemError: none, too many, or nothing that is understood.
    """
    kind, options = media_type(request)
    inputs: list[Payload | ProblemError]
    if kind == MULTIPART:
        inputs = list(images_of(body, options))
    elif kind == JSON:
        given = parse_json(body)
        if not isinstance(given, dict) or given.keys() not in ({"images"}, {"rows"}):
            raise ProblemError("bad_request", 'send {"images": [...]} or {"rows": [...]}')
        ((name, items),) = given.items()
        if not isinstance(items, list):
            raise ProblemError("bad_request", f"{name} is no list")
        refuse_too_many(len(items))
        inputs = [image_item(item) if name == "images" else row_item(item) for item in items]
    else:
        refuse(kind)
    if not inputs:
        raise ProblemError("bad_request", f"no input; send 1 to {MOST}")
    return inputs


def refuse(kind: str) -> NoReturn:
    """Say what is taken."""
    raise ProblemError(
        "unsupported_media_type",
        f"{kind[:100] or 'a body without content-type'} is not taken; send {', '.join(sorted(PICTURES))}, "
        f"{MULTIPART} or {JSON}",
    )


def refuse_too_many(number: int) -> None:
    """A batch has a bound."""
    if number > MOST:
        raise ProblemError("too_many_images", f"more than {MOST} inputs; send several batches")


def image_item(item: object) -> Payload | ProblemError:
    """A picture of a JSON list."""
    if not isinstance(item, str):
        return ProblemError("bad_request", "an image is a string in base64")
    try:
        return from_base64(item)
    except ProblemError as problem:
        return problem


def row_item(item: object) -> Payload | ProblemError:
    """A row of a JSON list."""
    return item if isinstance(item, dict) else ProblemError("bad_row", "a row is an object of named features")


def from_base64(text: str) -> bytes:
    """A picture that JSON carries."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProblemError("bad_image", "the image is no base64") from None


def parse_json(body: bytes) -> Any:  # noqa: ANN401
    """What JSON says; NaN and Infinity are not JSON."""
    if body.count(b"[") + body.count(b"{") > MOST_BRACKETS:
        raise ProblemError("bad_json", "the body has more lists and objects than any request needs")
    try:
        return json.loads(body, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProblemError("bad_json", f"the body is no JSON: {error}"[:300]) from None


def refuse_constant(name: str) -> NoReturn:
    """For `json.loads`."""
    raise ValueError(f"{name} is no JSON")


def images_of(body: bytes, options: dict[bytes, bytes]) -> list[bytes]:
    """The fields `image` of a multipart body."""
    boundary = options.get(b"boundary")
    if not boundary:
        raise ProblemError("bad_multipart", "the content-type names no boundary")
    parts = Parts()
    try:
        parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise ProblemError("bad_multipart", f"the body is no multipart form: {error}"[:300]) from None
    if not parts.ended:
        raise ProblemError("bad_multipart", "the form does not end with its boundary")
    return [bytes(data) for data in parts.images]


class Parts:
    """Collects the fields `image`; other fields are not taken."""

    def __init__(self) -> None:
        self.images: list[bytearray] = []
        self.ended = False
        self._name, self._value = bytearray(), bytearray()
        self._disposition = b""

    def callbacks(self) -> dict[str, Any]:
        """For the parser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header(self._name, data[start:end]),
            "on_header_value": lambda data, start, end: self._header(self._value, data[start:end]),
            "on_header_end": self._end_of_header,
            "on_headers_finished": self._end_of_headers,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._disposition = b""

    def _header(self, to: bytearray, data: bytes) -> None:
        to += data
        if len(to) > MOST_HEADER:
            raise ProblemError("bad_multipart", "a part's header is too long")

    def _end_of_header(self) -> None:
        if bytes(self._name).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def _end_of_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != b"image":
            raise ProblemError("bad_multipart", "only fields of the name `image` are taken")
        refuse_too_many(len(self.images) + 1)
        self.images.append(bytearray())

    def _data(self, data: bytes, start: int, end: int) -> None:
        self.images[-1] += data[start:end]

    def _end(self) -> None:
        self.ended = True
