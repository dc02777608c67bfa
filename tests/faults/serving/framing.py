"""HTTP that lies about itself: bodies without end, lengths that are false, heads without end, rubbish."""

import random
from collections.abc import Iterable, Iterator

from tests.faults.serving.case import Case, raw
from tests.faults.serving.pictures import picture
from tests.faults.serving.wire import HOST, head, post

TOO_LARGE, NOT_FOUND = "body_too_large closed", "not_found"
GIGABYTE = 1 << 30
SENT = 64 << 20
"""Of the gigabyte at most, should the server not have had enough before."""
JPEG = "Content-Type: image/jpeg"
CHUNKED = "Transfer-Encoding: chunked"
GET = "GET /model HTTP/1.1"
POST = "POST /predict HTTP/1.1"


def endless(first: bytes, piece: bytes) -> Iterator[bytes]:
    """A start, and the same piece again and again."""
    yield first
    for _ in range(SENT // len(piece)):
        yield piece


def without_end(name: str, right: str, first: bytes, piece: bytes) -> Case:
    """A case that does not end by itself."""
    return Case(name, right, lambda _: endless(first, piece))


def chunks(data: bytes, size: int) -> bytes:
    """In chunks of this size, with their end."""
    parts = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def bodies() -> list[Case]:
    """Bodies of a gigabyte, by length and by chunks."""
    length, piece = f"Content-Length: {GIGABYTE}", bytes(1 << 20)
    chunk = b"100000\r\n" + piece + b"\r\n"
    form = "Content-Type: multipart/form-data; boundary=x"
    json = "Content-Type: application/json"
    part = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
    targets = {
        "a picture": (POST, JPEG, b""),
        "a form": (POST, form, part),
        "JSON": (POST, json, b'{"image": "'),
        "a batch": ("POST /predict_batch HTTP/1.1", form, part),
        "feedback": ("POST /feedback HTTP/1.1", json, b'{"label": "'),
    }
    cases = []
    for name, (line, kind, start) in targets.items():
        cases += [
            without_end(f"1 GB: {name} by its length", TOO_LARGE, head(line, kind, length) + start, piece),
            without_end(f"1 GB: {name} in chunks", TOO_LARGE, head(line, kind, CHUNKED), chunk),
        ]
    return [
        *cases,
        raw("1 GB: said, not sent", "body_too_large", head(POST, JPEG, length)),
        raw("1 GB: asked before", "body_too_large", head(POST, JPEG, length, "Expect: 100-continue")),
        raw("10^4000 bytes", "body_too_large 400", head(POST, JPEG, "Content-Length: 1" + "0" * 4000)),
        raw("2^64 + 1 bytes", "body_too_large 400", head(POST, JPEG, f"Content-Length: {2**64 + 1}")),
        raw("2^63 bytes", "body_too_large 400", head(POST, JPEG, f"Content-Length: {2**63}")),
        without_end("1 GB: to no path", f"{NOT_FOUND} closed", head("POST /x HTTP/1.1", length), piece),
        without_end("1 GB: to a page", f"{NOT_FOUND} closed", head("POST / HTTP/1.1", CHUNKED), chunk),
        without_end("1 GB: by GET", "200 closed", head(GET, length), piece),
        without_end("1 GB: in one chunk", TOO_LARGE, head(POST, JPEG, CHUNKED) + b"40000000\r\n", piece),
        raw("a chunk's name of 1 MB", "bad_image 400 closed", *named_chunk()),
        raw("trailers without end", "body_timeout 400 431 closed", *trailers(16)),
        raw("trailers of 1 MB", "bad_image 400 431 closed", *trailers(1), b"\r\n"),
        raw("chunks of one byte", "bad_image", head(POST, JPEG, CHUNKED), chunks(bytes(100_000), 1)),
    ]


def named_chunk() -> Iterable[bytes]:
    """A chunk with an extension of a megabyte."""
    return head(POST, JPEG, CHUNKED), b"1;a=" + b"b" * (1 << 20) + b"\r\na\r\n0\r\n\r\n"


def trailers(megabytes: int) -> Iterator[bytes]:
    """So much of headers after the body, and no end of them."""
    yield head(POST, JPEG, CHUNKED) + b"1\r\na\r\n0\r\n"
    for _ in range(megabytes):
        yield b"a: b\r\n" * 170_000


def lies() -> list[Case]:
    """Lengths that are false, and requests within bodies that must not be answered."""
    good = picture("JPEG")
    size = f"Content-Length: {len(good)}"
    inner = head("GET /livez HTTP/1.1")
    ends = b"0\r\n\r\n" + inner
    length = f"Content-Length: {len(ends)}"
    bad_lengths = ["-1", "+5", "0x10", "1e3", "5, 5", "five", "1_000", "\uff15"]
    cases = [raw(f"length {text!a}", "400", bad_length(text), good) for text in bad_lengths]
    encodings = {
        "length, then chunks": (length, CHUNKED),
        "chunks, then length": (CHUNKED, length),
        "chunks in another case": (length, "Transfer-Encoding: cHuNkEd"),
        "chunks behind a tab": (length, "Transfer-Encoding:\tchunked"),
        "chunks and more": (length, "Transfer-Encoding: chunked, identity"),
        "chunks behind more": (length, "Transfer-Encoding: identity, chunked"),
        "chunks misspelt": (length, "Transfer-Encoding: xchunked"),
        "chunks, then nothing": (length, CHUNKED, "Transfer-Encoding: identity"),
        "chunks in a fold": (length, "Transfer-Encoding:\r\n chunked"),
        "chunks before a blank": (length, "Transfer-Encoding : chunked"),
        "chunks behind a control sign": (length, "Transfer-Encoding: \x0bchunked"),
    }
    cases += [
        raw(f"smuggled: {name}", "400", head(POST, JPEG, *lines), ends, answers=2)
        for name, lines in encodings.items()
    ]
    return [
        *cases,
        raw("length: two that differ", "400", head(POST, JPEG, size, "Content-Length: 1"), good, answers=2),
        raw("length: two that agree", "400 200", head(POST, JPEG, size, size), good),
        raw("length: none", "bad_image", head(POST, JPEG), answers=1),
        raw(
            "length: short by a half",
            "bad_image 400",
            head(POST, JPEG, "Content-Length: 900"),
            good,
            answers=2,
        ),
        raw(
            "length: nothing, with a body",
            "bad_image 400",
            head(POST, JPEG, "Content-Length: 0"),
            good,
            answers=2,
        ),
        raw(
            "length: long, then the end",
            "closed",
            head(POST, JPEG, "Content-Length: 99999"),
            good,
            half_close=True,
        ),
        raw(
            "chunks: no end, then the end", "closed", head(POST, JPEG, CHUNKED), b"5\r\nabc", half_close=True
        ),
        raw("chunks: of size -1", "400", head(POST, JPEG, CHUNKED), b"-1\r\nabc\r\n"),
        raw("chunks: of size zz", "400", head(POST, JPEG, CHUNKED), b"zz\r\nabc\r\n"),
        raw("chunks: of 2^64", "400", head(POST, JPEG, CHUNKED), b"10000000000000000\r\nabc\r\n"),
        raw("chunks: longer than said", "400", head(POST, JPEG, CHUNKED), b"1\r\nabc\r\n0\r\n\r\n"),
        raw("chunks: ends of Unix", "400 bad_image", head(POST, JPEG, CHUNKED), b"1\na\n0\n\n"),
        raw("head, then the end", "closed", head(POST, JPEG, size)[:-2], half_close=True),
    ]


def bad_length(text: str) -> bytes:
    """A head with this length."""
    return head(POST, JPEG)[:-2] + b"Content-Length: " + text.encode() + b"\r\n\r\n"


def heads() -> list[Case]:
    """Heads without end, and heads that no parser should like."""
    flood = "400 431 closed"
    start = GET.encode() + b"\r\n" + HOST
    lines = b"".join(b"X-%d: %s\r\n" % (n, b"a" * 40) for n in range(20_000))
    odd = {
        "a name with a blank": b"X A: 1\r\n",
        "no colon": b"abc\r\n",
        "no name": b": 1\r\n",
        "a zero in a value": b"X: a\0b\r\n",
        "a lone CR": b"X: a\rb\r\n",
        "a lone LF": b"X: a\nY: b\r\n",
        "a fold": b"X: a\r\n b\r\n",
        "letters beyond ASCII": "Ж: 1\r\n".encode(),
        "bytes beyond ASCII": b"X: \xff\xfe\r\n",
        "two hosts": HOST + b"Host: evil\r\n",
        "a host of signs": b"Host: ${jndi:ldap://127.0.0.1/a}\r\n",
        "authorization of 60 KB": b"Authorization: Bearer " + b"a" * 60_000 + b"\r\n",
        "authorization of bytes": b"Authorization: \xff\xff\r\n",
        "a request id that is a line": b"X-Request-Id: a\r\nX-Evil: b\r\n",
        "a trace of rubbish": b"traceparent: 00-zz-zz-zz\r\nbaggage: " + b"a=b," * 2000 + b"\r\n",
        "cookies": b"Cookie: " + b"a=b; " * 8000 + b"\r\n",
        "ranges": b"Range: bytes=0-,0-,0-,0-\r\n",
    }
    cases = [raw(f"head: {name}", "200 400", start + line + b"\r\n") for name, line in odd.items()]
    return [
        *cases,
        raw("head: 20,000 headers", flood, start + lines + b"\r\n"),
        without_end("head: headers without end", flood, start, lines),
        without_end("head: a header without end", flood, start + b"X: ", b"a" * 65536),
        without_end("head: a name without end", flood, start, b"a" * 65536),
        without_end("head: a line without end", flood, b"GET /", b"a" * 65536),
        without_end("head: a query without end", flood, b"GET /model?", b"a=b&" * 16384),
        without_end("head: a method without end", flood, b"GET", b"T" * 65536),
        without_end("head: nothing but line ends", flood, b"", b"\r\n" * 32768),
        raw("head: a query of 30 KB", "200", head(f"GET /model?{'a' * 30_000} HTTP/1.1")),
        raw("head: a path of 30 KB", NOT_FOUND, head(f"GET /{'a' * 30_000} HTTP/1.1")),
    ]


def rubbish() -> list[Case]:
    """Other protocols, and requests out of form."""
    refused = "400 431 closed"
    socket = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    said = {
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
        "SMTP": b"EHLO evil\r\n",
        "Redis": b"*1\r\n$8\r\nFLUSHALL\r\n",
        "PROXY": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + head(GET),
        "zeros": bytes(100_000),
        "noise": random.Random(3).randbytes(100_000),
        "HTTP/9.9": head("GET /model HTTP/9.9"),
        "a version of words": head("GET /model HTTP/one.one"),
        "a method of small letters": head("get /model HTTP/1.1"),
        "a method that is none": head("BREW /model HTTP/1.1"),
        "a method of signs": head("G\x00T /model HTTP/1.1"),
        "an empty line's path": head("GET  HTTP/1.1"),
        "a path without its slash": head("GET model HTTP/1.1"),
        "a path with a zero": head("GET /mod\x00el HTTP/1.1"),
        "a path with a line end": head("GET /mod\rel HTTP/1.1"),
        "a reply": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "a tunnel": head("CONNECT 169.254.169.254:80 HTTP/1.1"),
    }
    cases = [
        raw(f"rubbish: {name}", f"{refused} {NOT_FOUND}", data, half_close=True)
        for name, data in said.items()
    ]
    fifty = head("GET /livez HTTP/1.1") * 50
    return [
        *cases,
        raw("HTTP/0.9", "200 400 closed", b"GET /model\r\n\r\n"),
        raw("HTTP/0.9 with headers", "200 400 closed", head("GET /model")),
        raw("HTTP/1.0", "200", head("GET /model HTTP/1.0")),
        raw("a path in letters beyond ASCII", f"{NOT_FOUND} 400", head("GET /модель HTTP/1.1")),
        raw("an address for a path", "200", head("GET http://169.254.169.254/model HTTP/1.1")),
        raw("a star for a path", f"{NOT_FOUND} 400", head("OPTIONS * HTTP/1.1")),
        raw("50 in a row", "200", fifty, answers=50),
        raw("a bad one in a row", "200 400", fifty + b"rubbish\r\n\r\n" + fifty, answers=100),
        raw("bad pictures in a row", "bad_image", post("/predict", b"x", "image/jpeg") * 20, answers=20),
        raw("websocket to a page", "403 400 closed", head("GET / HTTP/1.1", *socket, key)),
        raw("websocket to a route", "403 400 closed", head("GET /predict HTTP/1.1", *socket, key)),
        raw("websocket without its key", "403 400 426 closed", head("GET / HTTP/1.1", *socket)),
        raw(
            "websocket of version 99",
            "403 400 426 closed",
            head("GET / HTTP/1.1", *socket[:2], socket[2] + "99", key),
        ),
        raw(
            "HTTP/2 by an upgrade",
            "200 400 closed",
            head(GET, "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings"),
        ),
    ]


def places() -> list[Case]:
    """Paths and methods that lead nowhere."""
    paths = [
        "/../../../../etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/static_content/../../../../../../../../etc/passwd",
        "/static_content/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/static_content/%2e%2e/%2e%2e/__init__.py",
        "/static_content//etc/passwd",
        "/static_content/%00",
        "/static_content/..%5c..%5cwindows",
        "/static_content/a.js%0d%0aX-Evil:%201",
        "/predict/",
        "//predict",
        "/PREDICT",
        "/predict%00",
        "/predict%2f..",
        "/predict;a=b",
        "/%ff%fe",
        "/%zz",
        "/model/../livez",
        "/.git/config",
        "/.env",
        "/admin",
        "/debug/pprof",
        "/actuator/env",
        "/__bentoml_internal__/predict",
        "/schema.json",
        "/docs",
        "/openapi.json",
        "/metricsx",
        "/healthzx",
        "/wp-login.php",
        "/cgi-bin/.%2e/.%2e/bin/sh",
        "/?<script>alert(1)</script>/../x",
    ]
    cases = [
        raw(
            f"path {path}",
            f"{NOT_FOUND} 404 400" + (" 200" if path.startswith("/?") else ""),
            head(f"GET {path} HTTP/1.1"),
        )
        for path in paths
    ]
    methods = ["DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "PURGE"]
    routes = {"/predict": "GET", "/predict_batch": "GET", "/feedback": "GET", "/model": "POST"}
    for path, wrong in routes.items():
        for method in (wrong, methods[len(path) % 7], methods[len(path) % 3]):
            cases.append(raw(f"{method} {path}", "method_not_allowed", head(f"{method} {path} HTTP/1.1")))
    for method in methods:
        cases.append(
            raw(f"{method} /metrics", f"{NOT_FOUND} method_not_allowed", head(f"{method} /metrics HTTP/1.1"))
        )
    cases.append(
        raw(
            "another method by a header",
            "method_not_allowed",
            head("GET /predict HTTP/1.1", "X-HTTP-Method-Override: POST"),
        )
    )
    return cases


def framings() -> list[Case]:
    """All of them."""
    return [*bodies(), *lies(), *heads(), *rubbish(), *places()]
