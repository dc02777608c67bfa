"""Bodies that are well sent and badly meant: content types, forms, JSON, pickles, addresses, feedback."""

import base64
import json
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.serving.case import Case, Traps, posting
from tests.faults.serving.pictures import PNG, SIDE, after_start, chunk, picture, png, segment, zeros

JSON = "application/json"
FORM = "multipart/form-data; boundary=x"
OTHER_TYPE, BAD_FORM, BAD_JSON, BAD_REQUEST = (
    "unsupported_media_type",
    "bad_multipart",
    "bad_json",
    "bad_request",
)
PICKLED = "application/vnd.bentoml+pickle"


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self._file), "w")


def trap(traps: Traps, protocol: int = 2) -> bytes:
    """A pickle that is armed."""
    return pickle.dumps(Trap(traps.file), protocol)


def object_array(traps: Traps) -> bytes:
    """A NumPy file of pickled objects."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\0v\0" + header + trap(traps, 3)


def encoded(data: bytes) -> str:
    """As JSON carries it."""
    return base64.b64encode(data).decode()


def part(data: bytes, disposition: str = 'form-data; name="image"', *headers: str) -> bytes:
    """A part of a form."""
    lines = [f"Content-Disposition: {disposition}", *headers]
    return b"--x\r\n" + "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A whole form."""
    return b"".join(parts) + b"--x--\r\n"


def types() -> list[Case]:
    """A good picture under a content type that is not taken."""
    refused = [
        "application/octet-stream",
        "text/plain",
        "",
        "image/gif",
        "image/svg+xml",
        "image/*",
        "*/*",
        "image/jpeg/png",
        "image/jpeg, image/png",
        "image",
        "multipart/mixed; boundary=x",
        "multipart/x-mixed-replace; boundary=x",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/vnd.apache.arrow.stream",
        "application/vnd.bentoml+parquet",
        "application/zip",
        "\xff\xfe",
        "a" * 8000,
    ]
    good = picture("JPEG")
    cases = [posting(f"type {kind[:40]!a}", OTHER_TYPE, kind, good) for kind in refused]
    cases.append(posting("no type", OTHER_TYPE, None, good))
    cases += [
        posting(f"encoding {name}", OTHER_TYPE, "image/jpeg", good, "/predict", f"Content-Encoding: {name}")
        for name in ("gzip", "deflate, gzip", "br", "zstd", "gzip, identity")
    ]
    cases.append(
        posting("two types", f"{OTHER_TYPE} 200", "image/jpeg", good, "/predict", f"Content-Type: {PICKLED}")
    )
    return cases


def pickles() -> list[Case]:
    """Armed pickles, by every way in."""
    kinds = [PICKLED, "application/x-pickle", "application/python-pickle", "application/octet-stream"]
    cases = [posting(f"pickle as {kind}", OTHER_TYPE, kind, trap) for kind in kinds]
    cases += [
        posting(f"pickle of protocol {number}", "bad_image", "image/jpeg", partial(trap, protocol=number))
        for number in range(6)
    ]
    bentoml = ("Args-Number: 1", "Payload-Container: default", "Payload-Meta: {}", "Bentoml-Name: predict")
    whole = picture("PNG")
    return [
        *cases,
        posting("pickle for a runner", OTHER_TYPE, PICKLED, trap, "/predict", *bentoml),
        posting("pickle for a batch", OTHER_TYPE, PICKLED, trap, "/predict_batch"),
        posting("pickle as feedback", BAD_JSON, PICKLED, trap, "/feedback"),
        posting("pickle to BentoML", "not_found", PICKLED, trap, "/__bentoml_internal__/predict"),
        posting("pickle in a form", "bad_image", FORM, lambda t: form(part(trap(t)))),
        posting(
            "pickle in a form with its type",
            "bad_image",
            FORM,
            lambda t: form(
                part(trap(t), 'form-data; name="image"; filename="a.pkl"', f"Content-Type: {PICKLED}")
            ),
        ),
        posting("pickle in JSON", "bad_image", JSON, lambda t: said({"image": encoded(trap(t))})),
        posting("pickle as JSON", BAD_JSON, JSON, trap),
        posting("objects of NumPy", "bad_image", "image/png", object_array),
        posting(
            "pickle in a PNG",
            "200",
            PNG,
            lambda t: whole[:33] + chunk(b"tEXt", b"Comment\0" + trap(t, 0)) + whole[33:],
        ),
        posting(
            "pickle in a JPEG",
            "200",
            "image/jpeg",
            lambda t: after_start(picture("JPEG"), segment(0xFE, trap(t))),
        ),
    ]


def said(value: object) -> bytes:
    """As JSON."""
    return json.dumps(value).encode()


def forms() -> list[Case]:
    """Forms that are none."""
    good = picture("JPEG")
    once = part(good)
    bad: dict[str, tuple[str, str, bytes]] = {
        "no boundary": (BAD_FORM, "multipart/form-data", form(once)),
        "an empty boundary": (BAD_FORM, "multipart/form-data; boundary=", form(once)),
        "another boundary": (BAD_FORM, "multipart/form-data; boundary=y", form(once)),
        "a boundary of 9000": (BAD_FORM, f"multipart/form-data; boundary={'b' * 9000}", form(once)),
        "a boundary of signs": (BAD_FORM, 'multipart/form-data; boundary="\\"\xff;=,"', form(once)),
        "a boundary in RFC 2231": (BAD_FORM, "multipart/form-data; boundary*0=x; boundary*1=y", form(once)),
        "no end": (BAD_FORM, FORM, once),
        "half an end": (BAD_FORM, FORM, once + b"--x-"),
        "cut in its header": (BAD_FORM, FORM, once[:20]),
        "cut in its picture": (BAD_FORM, FORM, once[: len(once) // 2]),
        "nothing": (BAD_FORM, FORM, b""),
        "only its end": (f"{BAD_FORM} {BAD_REQUEST}", FORM, b"--x--\r\n"),
        "no form at all": (BAD_FORM, FORM, good),
        "JSON": (BAD_FORM, FORM, said({"image": encoded(good)})),
        "another field": (BAD_FORM, FORM, form(part(good, 'form-data; name="file"'))),
        "another field beside": (BAD_FORM, FORM, form(once, part(b"1", 'form-data; name="threshold"'))),
        "a field without a name": (BAD_FORM, FORM, form(part(good, "form-data"))),
        "a field in capitals": (BAD_FORM, FORM, form(part(good, 'form-data; name="IMAGE"'))),
        "no disposition": (BAD_FORM, FORM, b"--x\r\n\r\n" + good + b"\r\n--x--\r\n"),
        "two dispositions": (
            BAD_FORM,
            FORM,
            form(part(good, 'form-data; name="image"', 'Content-Disposition: form-data; name="y"')),
        ),
        "two pictures": (BAD_REQUEST, FORM, form(once, once)),
        "65 pictures": ("too_many_images", FORM, form(*[part(b"a")] * 65)),
        "100,000 pictures": ("too_many_images", FORM, form(*[part(b"")] * 100_000)),
        "a header of 9 MB": (BAD_FORM, FORM, form(part(good, "form-data; " + "a" * 9_000_000))),
        "a header's name of 1 MB": (BAD_FORM, FORM, form(part(good, "form-data", "a" * 1_000_000 + ": b"))),
        "100,000 headers": (
            f"{BAD_FORM} 200",
            FORM,
            form(part(good, 'form-data; name="image"', *["a: b"] * 100_000)),
        ),
        "a header that brings another": (
            f"{BAD_FORM} 200",
            FORM,
            form(part(good, 'form-data; name="image"; filename="a\r\nX-Evil: 1"')),
        ),
        "a header without a colon": (BAD_FORM, FORM, form(part(good, 'form-data; name="image"', "evil"))),
        "a name of bytes": (BAD_FORM, FORM, form(part(good, 'form-data; name="\xff\x00"'))),
        "a form in a form": (
            "bad_image",
            FORM,
            form(
                part(
                    once.replace(b"--x", b"--y"),
                    'form-data; name="image"',
                    "Content-Type: multipart/mixed; boundary=y",
                )
            ),
        ),
        "a path as its file name": (
            "200",
            FORM,
            form(part(good, 'form-data; name="image"; filename="../../../../tmp/evil.jpg"')),
        ),
        "a file name of 7000": (
            f"{BAD_FORM} 200",
            FORM,
            form(part(good, f'form-data; name="image"; filename="{"a" * 7000}"')),
        ),
        "base64 within": ("bad_image", FORM, form(part(base64.b64encode(good), 'form-data; name="image"'))),
        "line ends of Unix": (BAD_FORM, FORM, form(once).replace(b"\r\n", b"\n")),
        "a megabyte before it": (BAD_FORM, FORM, bytes(1_000_000) + form(once)),
        "a megabyte of dashes": (BAD_FORM, FORM, b"-" * 1_000_000),
        "a megabyte behind it": (f"{BAD_FORM} 200", FORM, form(once) + bytes(1_000_000)),
    }
    cases = [posting(f"form: {name}", right, kind, body) for name, (right, kind, body) in bad.items()]
    for name in ("no end", "nothing", "only its end", "65 pictures", "another field"):
        right, kind, body = bad[name]
        cases.append(posting(f"form of a batch: {name}", right, kind, body, "/predict_batch"))
    return cases


def jsons() -> list[Case]:
    """JSON that is none, or not ours."""
    good = encoded(picture("JPEG"))
    bad: dict[str, tuple[str, bytes]] = {
        "nothing": (BAD_JSON, b""),
        "half": (BAD_JSON, b'{"image": "abc'),
        "not UTF-8": (BAD_JSON, b'{"image": "\xff\xfe\xfd"}'),
        "UTF-16": (f"{BAD_JSON} 200", said({"image": good}).decode().encode("utf-16")),
        "UTF-32": (f"{BAD_JSON} 200", said({"image": good}).decode().encode("utf-32")),
        "a zero byte": (BAD_JSON, b'{"image": "\0"}'),
        "NaN": (BAD_JSON, b'{"image": NaN}'),
        "Infinity": (BAD_JSON, b'{"image": -Infinity}'),
        "200,000 deep": (BAD_JSON, b"[" * 200_000),
        "200,000 deep, closed": (BAD_JSON, b'{"image":' * 200_000 + b"1" + b"}" * 200_000),
        "a number of a million digits": (BAD_JSON, b'{"image": ' + b"9" * 1_000_000 + b"}"),
        "1e999999": (BAD_REQUEST, b'{"image": 1e999999}'),
        "a lone surrogate": ("bad_image", b'{"image": "\\ud800"}'),
        "a lone surrogate as a name": (BAD_REQUEST, b'{"\\udfff": "a"}'),
        "null": (BAD_REQUEST, b"null"),
        "a string": (BAD_REQUEST, b'"image"'),
        "a list": (BAD_REQUEST, said([good])),
        "an image of null": (BAD_REQUEST, b'{"image": null}'),
        "an image of lists": (BAD_REQUEST, said({"image": [[0, 0, 0]]})),
        "an image that is an object": (BAD_REQUEST, said({"image": {"$ref": "#/image"}})),
        "no image": (BAD_REQUEST, b"{}"),
        "an image twice": ("bad_image", b'{"image": 1, "image": "!"}'),
        "an image and more": (BAD_REQUEST, said({"image": good, "model": "../other"})),
        "a row of features": (BAD_REQUEST, said({"height": 1, "weight": 2})),
        "__proto__": (BAD_REQUEST, b'{"__proto__": {"admin": true}}'),
        "base64 of rubbish": ("bad_image", said({"image": "!!!! no base64 !!!!"})),
        "base64 that is cut": ("bad_image", said({"image": good[:-3]})),
        "base64 in lines": ("bad_image", said({"image": good[:76] + "\n" + good[76:]})),
        "base64 for addresses": ("bad_image", said({"image": "_-_-"})),
        "base64 in other letters": ("bad_image", said({"image": "\u0430\u0431\u0432\u0433"})),
        "a data URL": ("bad_image", said({"image": "data:image/jpeg;base64," + good})),
        "base64 of nothing": ("bad_image", said({"image": ""})),
        "base64 of a bomb": ("too_many_pixels", said({"image": encoded(png(65535, 65535, data=b"a"))})),
        "comments": (BAD_JSON, b'{"image": "a"} // yes'),
        "two values": (BAD_JSON, b'{"image": "a"}{"image": "b"}'),
        "500,000 names": (BAD_REQUEST, said({str(n): 0 for n in range(500_000)})),
        "a picture": (BAD_JSON, picture("JPEG")),
    }
    cases = [posting(f"json: {name}", right, JSON, body) for name, (right, body) in bad.items()]
    batch: dict[str, tuple[str, bytes]] = {
        "one image": (BAD_REQUEST, said({"image": good})),
        "a string": (BAD_REQUEST, said({"images": good})),
        "an object": (BAD_REQUEST, said({"images": {"0": good}})),
        "none": (BAD_REQUEST, said({"images": []})),
        "both": (BAD_REQUEST, said({"images": [good], "rows": []})),
        "65 images": ("too_many_images", said({"images": [""] * 65})),
        "a million rows": ("bad_json", b'{"rows": [' + b"{}," * 1_000_000 + b"{}]}"),
        "64 that are refused": ("200", said({"images": [None, 1, "!", [], {}, "", True, 1.5] * 8})),
        "64 rows for pictures": ("200", said({"rows": [{}] * 64})),
    }
    cases += [
        posting(f"json of a batch: {name}", right, JSON, body, "/predict_batch")
        for name, (right, body) in batch.items()
    ]
    cases.append(
        posting(
            "batch of 9 at the limit of pixels",
            "200 too_many_pixels bad_request busy timeout",
            FORM,
            lambda _: form(*[part(png(SIDE, SIDE, data=zeros(70)))] * 9),
            "/predict_batch",
        )
    )
    return cases


def addresses() -> list[Case]:
    """Addresses where a picture should be: nobody may go there."""

    def to(traps: Traps) -> str:
        return f"http://127.0.0.1:{traps.port}/a.jpg"

    fixed = [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "s3://bucket/key",
        "/etc/passwd",
        "../../../../etc/passwd",
        "\\\\127.0.0.1\\share",
        "${jndi:ldap://127.0.0.1/a}",
    ]
    cases = [posting(f"address {text!a}", "bad_image", JSON, said({"image": text})) for text in fixed]
    svg = '<svg xmlns:x="http://www.w3.org/1999/xlink"><image x:href="{}"/></svg>'
    good = picture("JPEG")
    return [
        *cases,
        posting("address of the trap", "bad_image", JSON, lambda t: said({"image": to(t)})),
        posting("address as url", BAD_REQUEST, JSON, lambda t: said({"url": to(t)})),
        posting("address as image_url", BAD_REQUEST, JSON, lambda t: said({"image": {"url": to(t)}})),
        posting("address in base64", "bad_image", JSON, lambda t: said({"image": encoded(to(t).encode())})),
        posting(
            "addresses in a batch", "200", JSON, lambda t: said({"images": [to(t)] * 64}), "/predict_batch"
        ),
        posting("address as a picture", "bad_image", "image/jpeg", lambda t: to(t).encode()),
        posting("address in a form", "bad_image", FORM, lambda t: form(part(to(t).encode()))),
        posting(
            "address of a part elsewhere",
            "bad_image",
            "multipart/form-data; boundary=x",
            lambda t: form(
                part(
                    b"",
                    'form-data; name="image"',
                    f"Content-Type: message/external-body; access-type=URL; URL={to(t)}",
                )
            ),
        ),
        posting("address in SVG", "bad_image", "image/png", lambda t: svg.format(to(t)).encode()),
        posting(
            "address in XMP",
            "200",
            "image/jpeg",
            lambda t: after_start(good, segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + to(t).encode())),
        ),
        posting(
            "addresses in headers",
            "bad_image",
            "image/jpeg",
            b"",
            "/predict?url=http://169.254.169.254/&callback=http://169.254.169.254/",
            "X-Forwarded-For: 169.254.169.254",
            "X-Forwarded-Host: 169.254.169.254",
            "Forwarded: for=169.254.169.254;host=169.254.169.254",
            "X-Original-URL: http://169.254.169.254/",
            "Origin: http://169.254.169.254",
            "Referer: http://169.254.169.254/",
            "traceparent: 00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-01",
            "b3: http://169.254.169.254",
        ),
    ]


def feedbacks() -> list[Case]:
    """Labels of nothing."""
    known = "0" * 32
    bad: dict[str, object] = {
        "no id": {"label": "boot"},
        "no label": {"request_id": known},
        "more": {"request_id": known, "label": "boot", "weight": 9},
        "a short id": {"request_id": "abc", "label": "boot"},
        "an id in capitals": {"request_id": "A" * 32, "label": "boot"},
        "an id with a line end": {"request_id": known + "\n", "label": "boot"},
        "an id of SQL": {"request_id": "' OR 1=1 --", "label": "boot"},
        "an id that is a path": {"request_id": "../../../etc/passwd", "label": "boot"},
        "an id that is a number": {"request_id": 7, "label": "boot"},
        "an id of other digits": {"request_id": "\u0661" * 32, "label": "boot"},
        "an unknown label": {"request_id": known, "label": "crown"},
        "a label of null": {"request_id": known, "label": None},
        "a label that is a list": {"request_id": known, "label": ["boot"]},
        "a label that is an object": {"request_id": known, "label": {"boot": 1}},
        "a label of surrogates": {"request_id": known, "label": "\ud800"},
        "a list": [known, "boot"],
        "null": None,
    }
    cases = [
        posting(f"feedback: {name}", BAD_REQUEST, JSON, said(body), "/feedback") for name, body in bad.items()
    ]
    cases.append(posting("feedback: a million digits", BAD_JSON, JSON, b"9" * 1_000_000, "/feedback"))
    return cases


def payloads() -> list[Case]:
    """All of them."""
    return [*types(), *pickles(), *forms(), *jsons(), *addresses(), *feedbacks()]
