"""Which articles are trained on, which choose the epoch, and which judge: an article never changes sides.

A new article's side follows from a hash of its id, unless its picture is nearly one that has a side: then it
takes that one. Near both sides it is left out, since either would leak. Sides once given are kept in a file.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

NEAR_BITS = 4
"""Perceptual hashes this close are one picture. On the garments 8 bits already chain 44 articles together."""

BITS = 64
SHARES = {"train": 0.75, "validation": 0.10, "holdout": 0.15}
LEFT_OUT = "left_out"


@dataclass(frozen=True)
class Item:
    """An article with its picture's content hash and perceptual hash."""

    id: str
    sha256: str
    phash: int


def perceptual_hash(pixels: npt.NDArray[np.uint8]) -> int:
    """The 64 bits of a picture's pHash (Zauner, "Implementation and benchmarking of ... hashes", 2010)."""
    return int(str(imagehash.phash(Image.fromarray(pixels))), 16)


def side_of(article: str) -> str:
    """The side that an article's id gives it, for ever."""
    share = int.from_bytes(hashlib.sha256(article.encode()).digest()[:8], "big") / 2**64
    for side, size in SHARES.items():
        share -= size
        if share < 0:
            return side
    return "holdout"


def assign(items: Sequence[Item], before: dict[str, str], known: Sequence[Item] = ()) -> dict[str, str]:
    """A side for each item: `train`, `validation`, `holdout` or `left_out`.

    Args:
        items: the articles of a snapshot.
        before: the sides that articles have been given, also of articles that are gone by now.
        known: pictures that those articles had then; a corrected picture does not free its old neighbours.
    """
    everyone = [*items, *(item for item in known if item.id in before)]
    groups: dict[int, list[int]] = {}
    for number, group in enumerate(connected(everyone)):
        groups.setdefault(group, []).append(number)
    pictures = {item.id: item.sha256 for item in known}
    sides: dict[str, str] = {}
    for members in groups.values():
        held = {before[everyone[n].id] for n in members if everyone[n].id in before}
        first = min(everyone[n].id for n in members)
        newcomers = LEFT_OUT if len(held) > 1 else next(iter(held), side_of(first))
        for n in (n for n in members if n < len(items)):
            item = items[n]
            # A corrected picture that is now near another side's leaves; the article's side stays its own.
            moved = pictures.get(item.id, item.sha256) != item.sha256
            straddles = moved and near_another(everyone, n, members, before)
            sides[item.id] = LEFT_OUT if straddles else before.get(item.id, newcomers)
    return {item.id: sides[item.id] for item in items}


def near_another(
    everyone: Sequence[Item], number: int, members: Sequence[int], before: dict[str, str]
) -> bool:
    """Whether a picture that has a side is near one of another side."""
    mine = everyone[number]
    others = (everyone[n] for n in members if everyone[n].id in before)
    return any(before[o.id] != before[mine.id] and is_near(mine, o) for o in others)


def is_near(one: Item, other: Item) -> bool:
    """The same bytes, or nearly the same picture."""
    return one.sha256 == other.sha256 or (one.phash ^ other.phash).bit_count() <= NEAR_BITS


def connected(items: Sequence[Item]) -> list[int]:
    """A group number for each item: chains of near pictures are one group."""
    parent = list(range(len(items)))

    def root(n: int) -> int:
        while parent[n] != n:
            parent[n] = parent[parent[n]]
            n = parent[n]
        return n

    for one, other in candidates(items):
        if is_near(items[one], items[other]):
            parent[root(other)] = root(one)
    return [root(n) for n in range(len(items))]


def candidates(items: Sequence[Item]) -> set[tuple[int, int]]:
    """Pairs that may be near: of five bands of bits, hashes four bits apart share one (pigeonhole)."""
    bands = np.array_split(np.arange(BITS), NEAR_BITS + 1)
    masks = [sum(1 << int(bit) for bit in band) for band in bands]
    pairs: set[tuple[int, int]] = set()
    keys = [[(band, item.phash & mask) for band, mask in enumerate(masks)] for item in items]
    for place in range(len(masks) + 1):
        buckets: dict[object, list[int]] = {}
        for number, item in enumerate(items):
            key = keys[number][place] if place < len(masks) else item.sha256
            buckets.setdefault(key, []).append(number)
        for held in buckets.values():
            pairs.update((a, b) for index, a in enumerate(held) for b in held[index + 1 :])
    return pairs


class SplitFile:
    """Sides that were given, with the pictures that they were given for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        rows = pq.read_table(path).to_pylist() if path.exists() else []
        self.items = [Item(row["id"], row["sha256"], int(row["phash"], 16)) for row in rows]
        self.sides: dict[str, str] = {row["id"]: row["side"] for row in rows}

    def split(self, items: Sequence[Item]) -> dict[str, str]:
        """Assign, and remember. An article that was left out may get a side when its neighbours' are one."""
        sides = assign(items, self.sides, self.items)
        new = {item.id: item for item in items if item.id not in self.sides and sides[item.id] != LEFT_OUT}
        if new:
            self.items += new.values()
            self.sides |= {article: sides[article] for article in new}
            self._write()
        return sides

    def _write(self) -> None:
        rows = [
            {"id": i.id, "sha256": i.sha256, "phash": f"{i.phash:016x}", "side": self.sides[i.id]}
            for i in self.items
        ]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        pq.write_table(pa.Table.from_pylist(rows), temporary)
        temporary.replace(self.path)


def counts(sides: dict[str, str]) -> dict[str, int]:
    """How many articles each side has."""
    return dict(Counter(sides.values()))
