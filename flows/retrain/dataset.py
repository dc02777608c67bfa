"""From a lake snapshot to arrays: pictures decoded once, articles on their sides.

The decoded pixels of a snapshot are kept in a memory-mapped file of the home's `training` folder: a second
run on the same snapshot, and every epoch after the first, never touches a JPEG.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table import Table

from flows.config import Settings
from flows.console import OnProgress, no_progress
from flows.errors import WatchkeeperError
from flows.etl.contract import Contract
from flows.etl.datasets import load_dataset
from flows.etl.lake import Lake
from flows.etl.raw_zone import raw_path
from flows.paths import refuse_outage
from flows.retrain.split import Item, SplitFile, counts, perceptual_hash
from flows.s3_path import AnyPath
from services.bento.manifest import Snapshot
from services.bento.predictor import Picture, UnreadableImageError, decode, descriptors


@dataclass(frozen=True)
class Dataset:
    """The articles of a snapshot whose pictures decode, in the order of their ids.

    `pixels` has shape (n, height, width, 3), uint8; `labels` are numbers of `classes`; `looks` holds each
    picture's descriptors.
    """

    snapshot: Snapshot
    ids: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    sides: npt.NDArray[np.str_]
    pixels: npt.NDArray[np.uint8]
    looks: tuple[dict[str, float], ...]
    unreadable: dict[str, str]
    holdout_sha256: str

    def rows(self, side: str) -> npt.NDArray[np.int64]:
        """Row numbers of a side."""
        return np.flatnonzero(self.sides == side)

    @property
    def counts(self) -> dict[str, int]:
        """How many articles are on each side, left out, or unreadable."""
        return {
            **counts(dict(zip(self.ids.tolist(), self.sides.tolist(), strict=True))),
            "unreadable": len(self.unreadable),
        }


def contract_with_pictures(settings: Settings, dataset: str) -> Contract:
    """The data set's contract that has pictures.

    Raises:
        WatchkeeperError: none has.
    """
    for contract in load_dataset(settings.contracts, dataset):
        if contract.images:
            return contract
    raise WatchkeeperError(f"no contract of {dataset} has `images`: there is nothing to classify")


def load(
    settings: Settings,
    contract: Contract,
    split: SplitFile,
    size: tuple[int, int],
    snapshot: int | None = None,
    on_progress: OnProgress = no_progress,
) -> Dataset:
    """Read a snapshot's articles, decode their pictures to `size` (height, width) and give each its side.

    Raises:
        WatchkeeperError: no table, no such snapshot, or fewer than two classes.
    """
    table, number = find_snapshot(Lake(settings), contract, snapshot)
    articles = read_articles(table, contract, number)
    folder = settings.training / "decoded" / contract.identifier / f"{number}-{size[0]}x{size[1]}"
    facts, pixels = decoded(folder, list(pictures_of(settings, articles)), size, on_progress)
    good = [n for n, error in enumerate(facts["error"].to_pylist()) if error is None]
    labels = [articles["label"][n].as_py() for n in good]
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise WatchkeeperError(
            f"{contract.identifier} holds {len(classes)} classes in snapshot {number}; a classifier needs two"
        )
    rows = facts.take(good).to_pylist()
    items = [
        Item(articles["id"][n].as_py(), articles["sha256"][n].as_py(), int(row["phash"], 16))
        for n, row in zip(good, rows, strict=True)
    ]
    sides = split.split(items)
    held = sorted((i.id, i.sha256, c) for i, c in zip(items, labels, strict=True) if sides[i.id] == "holdout")
    return Dataset(
        snapshot=Snapshot(table=contract.identifier, snapshot_id=number),
        ids=np.array([item.id for item in items]),
        labels=np.array([classes.index(label) for label in labels]),
        classes=classes,
        sides=np.array([sides[item.id] for item in items]),
        pixels=pixels[np.array(good)] if len(good) < len(facts) else pixels,
        looks=tuple({name: row[name] for name in row if name not in ("phash", "error")} for row in rows),
        unreadable={
            articles["id"][n].as_py(): error
            for n, error in enumerate(facts["error"].to_pylist())
            if error is not None
        },
        holdout_sha256=hashlib.sha256(repr(held).encode()).hexdigest(),
    )


def find_snapshot(lake: Lake, contract: Contract, snapshot: int | None) -> tuple[Table, int]:
    """The table, and the snapshot that is meant: its current one unless said."""
    table = lake.table(contract.identifier)
    current = table.current_snapshot() if table else None
    if table is None or current is None:
        raise WatchkeeperError(
            f"the lake has no {contract.identifier} yet; bring it in with "
            f"`task etl -- --dataset {contract.dataset} --source FOLDER`"
        )
    number = snapshot or current.snapshot_id
    if table.snapshot_by_id(number) is None:
        raise WatchkeeperError(
            f"{contract.identifier} has no snapshot {number}; the current one is {current.snapshot_id}"
        )
    return table, number


def read_articles(table: Table, contract: Contract, snapshot: int) -> pa.Table:
    """Columns `id`, `label`, `sha256` and `path`, by id; an id that stands twice is taken once."""
    assert contract.images
    sha256 = next(name for name, column in contract.columns.items() if column.picture == "sha256")
    names = {
        contract.images.id: "id",
        contract.images.label: "label",
        sha256: "sha256",
        contract.images.path: "path",
    }
    rows = table.scan(snapshot_id=snapshot, selected_fields=tuple(names)).to_arrow()
    rows = rows.rename_columns([names[name] for name in rows.column_names]).sort_by("id")
    ids = rows["id"].to_pylist()
    return rows.take([n for n, article in enumerate(ids) if n == 0 or ids[n - 1] != article])


def pictures_of(settings: Settings, articles: pa.Table) -> Iterator[AnyPath]:
    """Where the raw zone keeps each article's picture, as it was in this snapshot."""
    for sha256, path in zip(articles["sha256"].to_pylist(), articles["path"].to_pylist(), strict=True):
        yield raw_path(settings.raw, sha256, path)


def decoded(
    folder: Path, pictures: Sequence[AnyPath], size: tuple[int, int], on_progress: OnProgress
) -> tuple[pa.Table, npt.NDArray[np.uint8]]:
    """Facts (`phash`, `error`, descriptors) and pixels of all pictures, from the cache where it has them."""
    if not (folder / "facts.parquet").exists():
        folder.mkdir(parents=True, exist_ok=True)
        decode_all(folder, pictures, size, on_progress)
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    return pq.read_table(folder / "facts.parquet"), pixels


def decode_all(
    folder: Path, pictures: Sequence[AnyPath], size: tuple[int, int], on_progress: OnProgress
) -> None:
    """Decode in threads, straight into the file; the facts are written last and mean that all is there."""
    shape = (len(pictures), *size, 3)
    pixels = np.lib.format.open_memmap(folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)
    facts = []
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for number, picture in enumerate(pool.map(lambda path: decode_one(path, size), pictures)):
            if isinstance(picture, Picture):
                pixels[number] = picture.pixels
                looks = {"phash": f"{perceptual_hash(picture.pixels):016x}", "error": None}
                facts.append({**looks, **{k: float(v) for k, v in descriptors(picture).items()}})
            else:
                facts.append({"phash": None, "error": picture})
            on_progress(number + 1, len(pictures))
    pixels.flush()
    names = list(dict.fromkeys(name for row in facts for name in row))
    kinds = [(name, pa.string() if name in ("phash", "error") else pa.float64()) for name in names]
    temporary = folder / "facts.tmp"
    pq.write_table(pa.Table.from_pylist(facts, schema=pa.schema(kinds)), temporary)
    temporary.replace(folder / "facts.parquet")


def decode_one(path: AnyPath, size: tuple[int, int]) -> Picture | str:
    """A picture, or why there is none."""
    try:
        return decode(path.read_bytes(), *size)
    except (UnreadableImageError, OSError) as error:
        refuse_outage(path, error)
        return str(error)
