"""Every body becomes inputs or a problem with its code, whatever is in it."""

import asyncio
import base64
import json
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from services.bento import bodies
from services.bento.bodies import MOST, Bodies, many_inputs, one_input
from services.bento.problems import ProblemError

BOUNDARY = "xyz"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
JSON = "application/json"
LIMIT = 100


def request(content_type: str | None, body: Iterable[bytes] = (), **headers: str) -> Request:
    """A request whose body arrives in these pieces, and then breaks off."""
    pieces = list(body)

    async def receive() -> dict[str, Any]:
        if not pieces:
            return {"type": "http.disconnect"}
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    said = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        said["content-type"] = content_type
    raw = [(name.encode(), value.encode("latin-1")) for name, value in said.items()]
    return Request({"type": "http", "method": "POST", "path": "/predict", "headers": raw}, receive)


def part(data: bytes, name: str = "image", more: str = "") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="a.jpg"\r\n{more}\r\n'
    return head.encode() + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(ProblemError) as caught:
        call()
    assert caught.value.detail
    return caught.value.code


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("image/jpeg", b"data", b"data"),
        ("IMAGE/PNG; q=1", b"data", b"data"),
        ("image/webp", b"", b""),
        (FORM, form(part(b"da\r\nta")), b"da\r\nta"),
        ("Multipart/Form-Data; charset=x; boundary=" + BOUNDARY, form(part(b"data")), b"data"),
        (JSON, json.dumps({"image": in_base64(b"data")}).encode(), b"data"),
        ("application/json; charset=utf-8", b'{"height": 1, "weight": 2.5}', {"height": 1, "weight": 2.5}),
        (JSON, b'{"image": 3}', {"image": 3}),  # a feature may have that name
    ],
)
def test_one_input_is_taken_in_each_form(content_type: str, body: bytes, expected: object) -> None:
    assert one_input(request(content_type), body) == expected


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        (None, b"data", "unsupported_media_type"),
        ("", b"data", "unsupported_media_type"),
        ("text/plain", b"data", "unsupported_media_type"),
        ("image/svg+xml", b"<svg/>", "unsupported_media_type"),
        ("application/x-python-pickle", b"\x80\x04.", "unsupported_media_type"),
        ("application/vnd.bentoml+pickle", b"\x80\x04.", "unsupported_media_type"),
        ("x" * 5000, b"data", "unsupported_media_type"),
        ("multipart/form-data", form(part(b"data")), "bad_multipart"),
        (FORM, b"", "bad_multipart"),
        (FORM, b"data", "bad_multipart"),
        (FORM, part(b"data"), "bad_multipart"),  # no end
        (FORM, form(part(b"data", name="picture")), "bad_multipart"),
        (FORM, form(part(b"data"), part(b"1", name="url")), "bad_multipart"),
        (FORM, form(part(b"data", more="X: " + "y" * 9000 + "\r\n")), "bad_multipart"),
        (FORM, form(part(b"a"), part(b"b")), "bad_request"),
        (FORM, form(), "bad_request"),
        (JSON, b"", "bad_json"),
        (JSON, b"{", "bad_json"),
        (JSON, b"\xff\xfe\x00", "bad_json"),
        (JSON, b'{"height": NaN}', "bad_json"),
        (JSON, b'{"height": Infinity}', "bad_json"),
        (JSON, b"[" * 100_000, "bad_json"),
        (JSON, b"1" * 100_000, "bad_json"),
        (JSON, b"[1]", "bad_request"),
        (JSON, b"null", "bad_request"),
        (JSON, b'{"image": "data:image/png;base64,AAAA"}', "bad_image"),
        (JSON, '{"image": "\u00e4"}'.encode(), "bad_image"),
        (JSON, b'{"image": "A"}', "bad_image"),
    ],
)
def test_what_is_no_input_is_a_problem(content_type: str | None, body: bytes, code: str) -> None:
    assert code_of(lambda: one_input(request(content_type), body)) == code


def test_a_batch_keeps_its_order_in_each_form() -> None:
    pictures = [b"a", b"b", b"c"]
    assert many_inputs(request(FORM), form(*map(part, pictures))) == pictures
    listed = json.dumps({"images": [in_base64(data) for data in pictures]}).encode()
    assert many_inputs(request(JSON), listed) == pictures
    rows = [{"height": 1}, {"height": 2}]
    assert many_inputs(request(JSON), json.dumps({"rows": rows}).encode()) == rows


def test_what_is_wrong_with_one_of_a_batch_is_its_own_problem() -> None:
    images = many_inputs(request(JSON), json.dumps({"images": [in_base64(b"a"), "?", 3]}).encode())
    assert images[0] == b"a"
    assert [item.code for item in images if isinstance(item, ProblemError)] == ["bad_image", "bad_request"]
    rows = many_inputs(request(JSON), b'{"rows": [[1], {"height": 1}]}')
    assert isinstance(rows[0], ProblemError)
    assert (rows[0].code, rows[1]) == ("bad_row", {"height": 1})


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        (FORM, form(), "bad_request"),
        (FORM, form(*[part(b"a")] * (MOST + 1)), "too_many_images"),
        (JSON, json.dumps({"images": ["YQ=="] * (MOST + 1)}).encode(), "too_many_images"),
        (JSON, json.dumps({"rows": [{}] * (MOST + 1)}).encode(), "too_many_images"),
        (JSON, b'{"images": []}', "bad_request"),
        (JSON, b'{"images": "YQ=="}', "bad_request"),
        (JSON, b'{"images": [], "rows": []}', "bad_request"),
        (JSON, b'{"image": "YQ=="}', "bad_request"),
        (JSON, b"[]", "bad_request"),
        ("image/jpeg", b"data", "unsupported_media_type"),
    ],
)
def test_what_is_no_batch_is_a_problem(content_type: str, body: bytes, code: str) -> None:
    assert code_of(lambda: many_inputs(request(content_type), body)) == code


def test_as_many_as_a_batch_may_have_are_taken() -> None:
    assert len(many_inputs(request(FORM), form(*[part(b"a")] * MOST))) == MOST


def test_no_damage_to_a_form_is_more_than_a_problem() -> None:
    draw = random.Random(1)
    whole = form(part(b"data" * 10), part(b"more", more="Content-Type: image/png\r\n"))
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(draw.randrange(1, 6)):
            damaged[draw.randrange(len(damaged))] = draw.choice([0, 10, 13, 34, 45, 58, 59, 255])
        cut = bytes(damaged[: draw.randrange(len(damaged) + 1)])
        with suppress(ProblemError):
            many_inputs(request(FORM), cut)


def read(reader: Bodies, *pieces: bytes, **headers: str) -> bytes:
    return asyncio.run(reader.read(request("image/jpeg", pieces, **headers)))


def test_a_body_is_read_whole() -> None:
    assert read(Bodies(LIMIT, 5), b"a" * 40, b"", b"b" * 60) == b"a" * 40 + b"b" * 60
    assert read(Bodies(LIMIT, 5), b"a", content_encoding="identity") == b"a"


@pytest.mark.parametrize("said", ["101", "9" * 5000])
def test_a_body_that_says_that_it_is_too_large_is_not_read(said: str) -> None:
    # No piece at all: reading would find that its sender has gone.
    assert code_of(lambda: read(Bodies(LIMIT, 5), content_length=said)) == "body_too_large"


@pytest.mark.parametrize("headers", [{}, {"content_length": "3"}, {"content_length": "nonsense"}])
def test_a_body_that_is_larger_than_it_says_is_not_read_to_its_end(headers: dict[str, str]) -> None:
    assert code_of(lambda: read(Bodies(LIMIT, 5), b"a" * 60, b"a" * 60, **headers)) == "body_too_large"


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity"])
def test_an_encoded_body_is_not_taken(encoding: str) -> None:
    code = code_of(lambda: read(Bodies(LIMIT, 5), b"a", content_encoding=encoding))
    assert code == "unsupported_media_type"


def test_a_sender_that_goes_away_gets_no_answer() -> None:
    async def broken() -> None:
        async def receive() -> dict[str, Any]:
            return pieces.pop(0)

        pieces: list[dict[str, Any]] = [
            {"type": "http.request", "body": b"a", "more_body": True},
            {"type": "http.disconnect"},
        ]
        await Bodies(LIMIT, 5).read(Request({"type": "http", "headers": []}, receive))

    with pytest.raises(ClientDisconnect):
        asyncio.run(broken())


async def never() -> dict[str, Any]:
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


def test_a_body_that_does_not_arrive_is_not_waited_for() -> None:
    slow = Request({"type": "http", "headers": []}, never)
    assert code_of(lambda: asyncio.run(Bodies(LIMIT, 0.01).read(slow))) == "body_timeout"


def test_all_bodies_together_have_a_bound_and_give_their_share_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "HELD_BODIES", 150 / LIMIT)
    monkeypatch.setattr(bodies, "SMALL_BYTES", 40)
    reader = Bodies(LIMIT, 5)

    async def two_at_once() -> bytes:
        async def receive() -> dict[str, Any]:
            if sent.is_set():
                return await never()
            sent.set()
            return {"type": "http.request", "body": b"a" * 80, "more_body": True}

        sent = asyncio.Event()
        first = asyncio.ensure_future(reader.read(Request({"type": "http", "headers": []}, receive)))
        await sent.wait()
        await asyncio.sleep(0)
        with pytest.raises(ProblemError) as caught:
            await reader.read(request("image/jpeg", [b"b" * 80]))
        assert caught.value.code == "overloaded"
        small = b"s" * 40
        assert await reader.read(request("image/jpeg", [small])) == small, "who holds little is not refused"
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        return await reader.read(request("image/jpeg", [b"c" * 80]))

    assert asyncio.run(two_at_once()) == b"c" * 80
