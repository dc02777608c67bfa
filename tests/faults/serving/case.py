"""What a hostile case is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.serving.wire import post


@dataclass(frozen=True)
class Traps:
    """What must stay untouched."""

    port: int
    """Of a listener that nothing may connect to."""
    file: Path
    """That the pickles would create."""


@dataclass(frozen=True)
class Case:
    """Bytes for one connection, and the outcomes that are right: problem codes, statuses, or `closed`.

    At most `answers` replies are read.
    """

    name: str
    right: str
    pieces: Callable[[Traps], Iterable[bytes]]
    answers: int = 1
    half_close: bool = False


Body = bytes | Callable[[Traps], bytes]


def raw(name: str, right: str, *pieces: bytes, answers: int = 1, half_close: bool = False) -> Case:
    """A case of these bytes."""
    return Case(name, right, lambda _: pieces, answers, half_close)


def posting(
    name: str, right: str, kind: str | None, body: Body, path: str = "/predict", *headers: str
) -> Case:
    """A case of a well-formed POST of a bad body."""

    def pieces(traps: Traps) -> list[bytes]:
        return [post(path, body(traps) if callable(body) else body, kind, *headers)]

    return Case(name, right, pieces)
