"""Pictures that are none, or no more, or far too much of one."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from PIL import Image

from tests.faults.serving.case import Case, Traps, posting

JPEG, PNG, WEBP = "image/jpeg", "image/png", "image/webp"
REFUSED = "bad_image"
TOO_LARGE = "too_many_pixels"
MAY_DECODE = "200 bad_image too_many_pixels"
SIDE = 4898
"""Of the largest square picture that the service takes: 24 million pixels."""
FLIPS = 20
Makers = dict[str, tuple[str, Callable[[], bytes]]]
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"


@cache
def picture(form: str, **options: Any) -> bytes:
    """A good picture of 120 x 160."""
    image = Image.effect_mandelbrot((120, 160), (-2.0, -1.5, 1.0, 1.5), 60).convert("RGB")
    return saved(image, form, **options)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    """A picture's file."""
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def zeros(megabytes: int) -> bytes:
    """A zlib stream that inflates to so much, made without deflating so much."""
    packer = zlib.compressobj(9)
    start = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * (megabytes - 1) + packer.flush()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int = 8,
    height: int = 8,
    depth: int = 8,
    colour: int = 2,
    interlace: int = 0,
    *,
    data: bytes | None = None,
    before: bytes = b"",
) -> bytes:
    """A PNG with this header, whatever its data; `before` stands before the data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    if data is None:
        data = zeros(1) if width * height < 65536 else zeros(width * height * 8 // (1 << 20) + 2)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def after_start(data: bytes, segments: bytes) -> bytes:
    """A JPEG with more segments behind its first marker."""
    return data[:2] + segments + data[2:]


def segment(marker: int, data: bytes) -> bytes:
    """A segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def exif(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """Exif of one directory at offset 8: (tag, type, count, value) each."""
    rows = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(entries)) + rows + struct.pack("<I", following)


def resized(width: int, height: int) -> bytes:
    """A JPEG whose header says another size than its data has."""
    data = picture("JPEG")
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


@cache
def progressive(side: int) -> bytes:
    """A black progressive JPEG."""
    return saved(Image.new("RGB", (side, side)), "JPEG", progressive=True)


def scans(number: int, side: int = 160) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    data = progressive(side)
    last = data[data.rindex(START_OF_SCAN) : -2]
    return data[:-2] + last * (number - data.count(START_OF_SCAN)) + END_OF_IMAGE


def without(data: bytes, marker: int) -> bytes:
    """A JPEG without the segments of a marker."""
    while (at := data.find(bytes([0xFF, marker]))) >= 0:
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    return data


def riff(*chunks: tuple[bytes, bytes], size: int | None = None) -> bytes:
    """A WebP file of these chunks."""
    body = b"WEBP" + b"".join(k + struct.pack("<I", len(d)) + d + b"\0" * (len(d) % 2) for k, d in chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def canvas(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    """A WebP's extended header."""
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X", bytes([flags, 0, 0, 0]) + sizes


def lossless(width: int, height: int) -> tuple[bytes, bytes]:
    """A lossless WebP's header, and no picture."""
    return b"VP8L", b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little") + bytes(40)


def frame() -> bytes:
    """One frame of an animated WebP: its header, and a whole lossless picture of 8 x 8."""
    inner = saved(Image.new("RGB", (8, 8)), "WEBP", lossless=True)[12:]
    return bytes(6) + bytes([7, 0, 0, 7, 0, 0, 1, 0, 0, 0]) + inner


def named(family: str, kind: str, made: Makers) -> list[Case]:
    """Cases of pictures that are made when they are sent."""

    def late(make: Callable[[], bytes]) -> Callable[[Traps], bytes]:
        return lambda _: make()

    return [posting(f"{family}: {name}", right, kind, late(make)) for name, (right, make) in made.items()]


def pngs() -> list[Case]:
    """Bombs and broken headers of PNG."""
    ends, loop = b"Comment\0\0", exif((0x8769, 4, 1, 8), following=8)
    made: Makers = {
        "2147483647 x 2147483647": (TOO_LARGE, lambda: png(2**31 - 1, 2**31 - 1, data=zeros(1))),
        "4294967295 x 4294967295": (f"{TOO_LARGE} {REFUSED}", lambda: png(2**32 - 1, 2**32 - 1, data=b"")),
        "65535 x 65535": (TOO_LARGE, lambda: png(65535, 65535, data=zeros(64))),
        "just above the limit": (TOO_LARGE, lambda: png(SIDE + 2, SIDE + 1)),
        "one pixel high, 2 billion wide": (TOO_LARGE, lambda: png(2**31 - 1, 1, data=zeros(1))),
        "one pixel wide, 24 million high": (MAY_DECODE, lambda: png(1, 24_000_000)),
        "24 million wide": (MAY_DECODE, lambda: png(24_000_000, 1)),
        "16 bits, four channels, interlaced, at the limit": (
            MAY_DECODE,
            lambda: png(SIDE, SIDE, 16, 6, 1),
        ),
        "1 GB behind the picture": (MAY_DECODE, lambda: png(data=zeros(1024))),
        "data that ends too early": (REFUSED, lambda: png(SIDE, SIDE, data=zeros(1)[:500])),
        "zTXt of 1 GB": (MAY_DECODE, lambda: png(before=chunk(b"zTXt", ends + zeros(1024)))),
        "iTXt of 1 GB": (MAY_DECODE, lambda: png(before=chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(1024)))),
        "iCCP of 1 GB": (MAY_DECODE, lambda: png(before=chunk(b"iCCP", b"icc\0\0" + zeros(1024)))),
        "100,000 comments": (MAY_DECODE, lambda: png(before=chunk(b"tEXt", b"a\0b") * 100_000)),
        "comments of 9 MB": (MAY_DECODE, lambda: png(before=chunk(b"tEXt", b"a\0" + bytes(9_000_000)))),
        "Exif in a loop": (MAY_DECODE, lambda: png(before=chunk(b"eXIf", loop))),
        "Exif of rubbish": (MAY_DECODE, lambda: png(before=chunk(b"eXIf", b"II*\0" + b"\xff" * 400))),
        "orientation of 4294967295": (
            MAY_DECODE,
            lambda: png(before=chunk(b"eXIf", exif((0x112, 4, 1, 2**32 - 1)))),
        ),
        "a million frames": (MAY_DECODE, lambda: png(before=chunk(b"acTL", struct.pack(">II", 10**6, 0)))),
        "a frame outside": (
            MAY_DECODE,
            lambda: png(
                before=chunk(b"acTL", struct.pack(">II", 2, 0))
                + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 2**31 - 1, 2**31 - 1, 9, 9, 0, 0, 0, 0))
            ),
        ),
        "no pixels": (REFUSED, lambda: png(0, 0)),
        "77 bits": (REFUSED, lambda: png(depth=77)),
        "colour type 9": (REFUSED, lambda: png(colour=9)),
        "interlace 9": (MAY_DECODE, lambda: png(interlace=9)),
        "no data": (REFUSED, lambda: png(data=b"")),
        "data that is no zlib": (REFUSED, lambda: png(data=b"\xff" * 4000)),
        "two headers": (MAY_DECODE, lambda: png(before=png(2**31 - 1, 2**31 - 1, data=b"")[8:33])),
        "an index outside its palette": (MAY_DECODE, lambda: png(colour=3, before=chunk(b"PLTE", b"abc"))),
        "a palette of 300": (MAY_DECODE, lambda: png(colour=3, before=chunk(b"PLTE", bytes(900)))),
        "no palette": (MAY_DECODE, lambda: png(colour=3)),
        "transparency too long": (MAY_DECODE, lambda: png(before=chunk(b"tRNS", bytes(5000)))),
        "a false checksum": (REFUSED, lambda: png()[:29] + b"abcd" + png()[33:]),
        "a chunk of 4 GB": (MAY_DECODE, lambda: png()[:33] + b"\xff\xff\xff\xff" + png()[37:]),
        "an unknown critical chunk": (MAY_DECODE, lambda: png(before=chunk(b"ABCD", bytes(99)))),
        "only a signature": (REFUSED, lambda: png()[:8]),
    }
    return named("png", PNG, made)


def jpegs() -> list[Case]:
    """Bombs and broken headers of JPEG."""
    good = picture("JPEG")
    loop = segment(0xE1, b"Exif\0\0" + exif((0x8769, 4, 1, 8), (0x8825, 4, 1, 8), following=8))
    made: Makers = {
        "65535 x 65535": (TOO_LARGE, lambda: resized(65535, 65535)),
        "one row of 65535": (MAY_DECODE, lambda: resized(65535, 1)),
        "a header of 4000 x 4000 on less data": (MAY_DECODE, lambda: resized(4000, 4000)),
        "no pixels": (REFUSED, lambda: resized(0, 0)),
        "65 scans": (REFUSED, lambda: scans(65)),
        "500 scans": (REFUSED, lambda: scans(500)),
        "5000 scans at the limit": (REFUSED, lambda: scans(5000, SIDE)),
        "64 scans at the limit": (MAY_DECODE, lambda: scans(64, SIDE)),
        "64 scans": (MAY_DECODE, lambda: scans(64)),
        "no Huffman tables": (MAY_DECODE, lambda: without(good, 0xC4)),
        "no quantisation tables": (MAY_DECODE, lambda: without(good, 0xDB)),
        "no frame": (REFUSED, lambda: without(good, 0xC0)),
        "two frames of other sizes": (
            REFUSED,
            lambda: good.replace(
                b"\xff\xda", resized(9, 9)[resized(9, 9).index(b"\xff\xc0") :][:19] + b"\xff\xda"
            ),
        ),
        "a lossless frame": (REFUSED, lambda: good.replace(b"\xff\xc0", b"\xff\xc3")),
        "an arithmetic frame": (MAY_DECODE, lambda: good.replace(b"\xff\xc0", b"\xff\xc9")),
        "12 bits": (REFUSED, lambda: good.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c")),
        "200 components": (REFUSED, lambda: good[: good.index(b"\xff\xc0") + 9] + b"\xc8" + bytes(900)),
        "a segment of no bytes": (MAY_DECODE, lambda: after_start(good, b"\xff\xe5\0\0")),
        "a segment beyond the end": (REFUSED, lambda: after_start(good, b"\xff\xe5\xff\xff")[:3000]),
        "100,000 segments": (MAY_DECODE, lambda: after_start(good, segment(0xFE, b"a") * 100_000)),
        "Exif in a loop": (MAY_DECODE, lambda: after_start(good, loop)),
        "Exif of 60,000 entries": (
            MAY_DECODE,
            lambda: after_start(
                good, segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 30_000)
            ),
        ),
        "orientation that is a rational by nothing": (
            MAY_DECODE,
            lambda: after_start(good, segment(0xE1, b"Exif\0\0" + exif((0x112, 5, 1, 26)) + bytes(8))),
        ),
        "a colour profile in 255 parts, of which one": (
            MAY_DECODE,
            lambda: after_start(good, segment(0xE2, b"ICC_PROFILE\0\xff\xff" + bytes(900))),
        ),
        "a colour profile of rubbish": (MAY_DECODE, lambda: picture("JPEG", icc_profile=b"\xff" * 200_000)),
        "many pictures in one": (
            MAY_DECODE,
            lambda: after_start(good, segment(0xE2, b"MPF\0" + exif((0xB001, 4, 1, 2**31)))),
        ),
        "a Photoshop segment cut": (
            MAY_DECODE,
            lambda: after_start(good, segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\x00\xff\xff")),
        ),
        "an Adobe segment cut": (MAY_DECODE, lambda: after_start(good, segment(0xEE, b"Adobe"))),
        "restarts where none are due": (MAY_DECODE, lambda: good[:-200] + b"\xff\xd7" * 50 + good[-100:]),
        "only its first marker": (REFUSED, lambda: good[:2]),
        "only its ends": (REFUSED, lambda: good[:2] + END_OF_IMAGE),
        "9 MB of fill bytes": (MAY_DECODE, lambda: after_start(good, b"\xff" * 9_000_000)),
    }
    return named("jpeg", JPEG, made)


def webps() -> list[Case]:
    """Bombs and broken headers of WebP."""
    good = picture("WEBP")
    play = (b"ANIM", bytes(6))
    made: Makers = {
        "a canvas of 16384 x 16384": (
            f"{TOO_LARGE} {REFUSED}",
            lambda: riff(canvas(16384, 16384), lossless(8, 8)),
        ),
        "a canvas of 16777216 x 16777216": (
            f"{TOO_LARGE} {REFUSED}",
            lambda: riff(canvas(1 << 24, 1 << 24), lossless(8, 8)),
        ),
        "an animated canvas of 16384 x 16384": (
            f"{TOO_LARGE} {REFUSED}",
            lambda: riff(canvas(16384, 16384, 2), play, (b"ANMF", frame())),
        ),
        "lossless, 16384 x 16384, empty": (f"{TOO_LARGE} {REFUSED}", lambda: riff(lossless(16384, 16384))),
        "lossless, 16384 x 16384, whole": (
            TOO_LARGE,
            lambda: saved(Image.new("L", (16383, 2048)), "WEBP", lossless=True, method=0),
        ),
        "lossless at the limit": (
            MAY_DECODE,
            lambda: saved(Image.new("L", (SIDE, SIDE)), "WEBP", lossless=True, method=0),
        ),
        "5000 frames": (MAY_DECODE, lambda: riff(canvas(8, 8, 2), play, *[(b"ANMF", frame())] * 5000)),
        "an animation without frames": (REFUSED, lambda: riff(canvas(8, 8, 2), play)),
        "a frame outside its canvas": (
            MAY_DECODE,
            lambda: riff(canvas(8, 8, 2), play, (b"ANMF", b"\xff" * 6 + frame()[6:])),
        ),
        "a colour profile of 9 MB": (
            MAY_DECODE,
            lambda: riff(canvas(8, 8, 0x20), (b"ICCP", bytes(9_000_000)), lossless(8, 8)),
        ),
        "Exif in a loop": (
            MAY_DECODE,
            lambda: saved(Image.new("RGB", (8, 8)), "WEBP", exif=exif((0x8769, 4, 1, 8), following=8)),
        ),
        "Exif of rubbish": (MAY_DECODE, lambda: saved(Image.new("RGB", (8, 8)), "WEBP", exif=b"\xff" * 999)),
        "transparency of rubbish": (MAY_DECODE, lambda: riff(canvas(120, 160, 16), (b"ALPH", b"\xff" * 99))),
        "a size of nothing": (REFUSED, lambda: good[:4] + bytes(4) + good[8:]),
        "a size of 4 GB": (REFUSED, lambda: good[:4] + b"\xff\xff\xff\xff" + good[8:]),
        "a chunk of 4 GB": (REFUSED, lambda: good[:16] + b"\xff\xff\xff\xff" + good[20:]),
        "a header without a picture": (REFUSED, lambda: riff(canvas(8, 8))),
        "only RIFF": (REFUSED, lambda: riff()),
        "a sound": (REFUSED, lambda: b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0" + bytes(24)),
    }
    return named("webp", WEBP, made)


def others() -> list[Case]:
    """Files of other kinds under the name of a JPEG."""
    forms = ["GIF", "TIFF", "BMP", "ICO", "PPM", "TGA", "JPEG2000", "PCX", "SGI", "EPS", "PDF", "DDS"]
    made: dict[str, Callable[[], bytes]] = {form: partial(picture, form) for form in forms}
    xml = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>'
    bombs = b"".join(b'<!ENTITY e%d "&e%d;&e%d;&e%d;">' % (n, n - 1, n - 1, n - 1) for n in range(1, 40))
    made |= {
        "SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "SVG with an external entity": lambda: xml + b"<svg>&b;</svg>",
        "a billion laughs": lambda: b"<!DOCTYPE a [<!ENTITY e0 'ha'>" + bombs + b"]><svg>&e39;</svg>",
        "ZIP": lambda: b"PK\x03\x04" + bytes(26) + b"PK\x05\x06" + bytes(18),
        "gzip of 64 MB": lambda: b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + zeros(64)[2:],
        "tar": lambda: b"../../etc/cron.d/x".ljust(257, b"\0") + b"ustar\x0000" + bytes(248),
        "ELF": lambda: b"\x7fELF\x02\x01\x01" + bytes(200),
        "a shell script": lambda: b"#!/bin/sh\ntouch /tmp/x\n",
        "HTML": lambda: b"<html><script>alert(1)</script></html>",
        "AVIF": lambda: b"\0\0\0\x1cftypavif\0\0\0\0mif1miaf" + bytes(200),
        "a film": lambda: b"\0\0\0\x18ftypmp42" + bytes(200),
        "Photoshop": lambda: b"8BPS\0\x01" + bytes(6) + b"\0\x03\xff\xff\xff\xff\xff\xff\xff\xff\0\x08\0\x03",
        "PostScript that runs": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) (w) file\n",
        "NumPy": lambda: b"\x93NUMPY\x01\0v\0{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n",
        "zeros": lambda: bytes(100_000),
        "noise": lambda: random.Random(1).randbytes(100_000),
        "one byte": lambda: b"\xff",
        "nothing": lambda: b"",
    }
    return named("no jpeg", JPEG, {name: (REFUSED, make) for name, make in made.items()})


def polyglots() -> list[Case]:
    """Two kinds in one file: never more than the picture is read."""
    jpeg, small = picture("JPEG"), picture("PNG")
    archive = b"PK\x03\x04" + bytes(26) + b"PK\x05\x06" + bytes(18)
    script = segment(0xFE, b"<script>alert(1)</script><?php system($_GET[0]); ?>")
    made = {
        "JPEG, then ZIP": (MAY_DECODE, jpeg + archive),
        "ZIP, then JPEG": (REFUSED, archive + jpeg),
        "JPEG with a script": (MAY_DECODE, after_start(jpeg, script)),
        "GIF's name on a JPEG": (REFUSED, b"GIF89a" + jpeg),
        "PDF, then JPEG": (REFUSED, b"%PDF-1.7\n1 0 obj\nstream\n" + jpeg),
        "JPEG, then PDF": (MAY_DECODE, jpeg + picture("PDF")),
        "PNG, then JPEG": (MAY_DECODE, small + jpeg),
        "JPEG, then a bomb": (MAY_DECODE, jpeg + resized(65535, 65535)),
        "PNG under a JPEG's name": (MAY_DECODE, small),
        "JPEG behind a blank": (REFUSED, b" " + jpeg),
        "JPEG behind a byte order mark": (REFUSED, b"\xef\xbb\xbf" + jpeg),
        "JPEG, then 9 MB": (MAY_DECODE, jpeg + bytes(9_000_000)),
    }
    return [posting(f"polyglot: {name}", right, JPEG, data) for name, (right, data) in made.items()]


def damaged() -> list[Case]:
    """Cut at many places, and with a bit turned at places drawn."""
    cases, draw = [], random.Random(5)
    for form, kind in (("JPEG", JPEG), ("PNG", PNG), ("WEBP", WEBP)):
        data = picture(form)
        for percent in (1, 2, 4, 7, 11, 16, 22, 29, 37, 46, 56, 67, 79, 90, 97):
            cut = data[: len(data) * percent // 100]
            cases.append(posting(f"cut {form} at {percent}%", REFUSED, kind, cut))
        cases.append(posting(f"cut {form} by a byte", MAY_DECODE, kind, data[:-1]))
        for number in range(FLIPS):
            turned = bytearray(data)
            for _ in range(1 + number % 4):
                turned[draw.randrange(len(data) if number % 2 else 700)] ^= 1 << draw.randrange(8)
            cases.append(posting(f"turned {form} {number}", MAY_DECODE, kind, bytes(turned)))
    return cases


def pictures() -> list[Case]:
    """All of them."""
    return [*pngs(), *jpegs(), *webps(), *others(), *polyglots(), *damaged()]
