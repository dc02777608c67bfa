"""Pictures that cost their reader far more than their sender are refused before Pillow sees them.

Pillow walks the segments of a JPEG and the chunks of a PNG in Python, with the interpreter to itself: a body
of a few megabytes can hold millions. A progressive JPEG's scan is a pass over the whole picture, and can be a
dozen bytes long. Here each is counted, up to a bound that no camera and no encoder comes near.
"""

MOST_SEGMENTS = 1_000
MOST_CHUNKS = 10_000
MOST_SCANS = 64
MOST_FILL = 16
START_OF_SCAN = 0xDA
PNG = b"\x89PNG\r\n\x1a\n"


def why_costly(data: bytes) -> str | None:
    """What is wrong with a picture's bytes, or None; other formats than JPEG and PNG are decoded in C."""
    if data[:2] == b"\xff\xd8":
        return _jpeg(data)
    if data[:8] == PNG:
        return _png(data)
    return None


def _jpeg(data: bytes) -> str | None:
    if data.count(b"\xff\xda") > MOST_SCANS:
        return f"more than {MOST_SCANS} scans"
    at = 2
    for _ in range(MOST_SEGMENTS):
        fill = 0
        while data[at : at + 2] == b"\xff\xff" and fill < MOST_FILL:
            at, fill = at + 1, fill + 1
        if len(data) < at + 4 or data[at] != 0xFF:
            return "no segment where one must begin"
        if data[at + 1] == START_OF_SCAN:
            return None
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return f"more than {MOST_SEGMENTS} segments"


def _png(data: bytes) -> str | None:
    at = len(PNG)
    for _ in range(MOST_CHUNKS):
        if len(data) < at + 8:
            return None  # its end, or cut: Pillow says
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return f"more than {MOST_CHUNKS} chunks"
