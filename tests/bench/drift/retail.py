"""A year of a real shop, day by day, and what can happen to its days."""

import gzip
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from observability.drift.profiles import Cells, Ints, Kind, Scale, cells_of, scale_of

KINDS: dict[str, Kind] = {
    "quantity": "numeric",
    "unit_price": "numeric",
    "country": "categorical",
    "is_cancelled": "categorical",
    "is_christmas": "categorical",
}
WATCHED = {name: [name] for name in KINDS}


@dataclass(frozen=True)
class Days:
    """Rows with the start of their day, in seconds since 1970."""

    period: Ints
    values: dict[str, Any]

    def where(self, chosen: "np.ndarray[Any, np.dtype[np.bool_]]") -> "Days":
        """Some of the rows."""
        return Days(self.period[chosen], {name: held[chosen] for name, held in self.values.items()})

    def cells(self, scales: dict[str, Scale]) -> Cells:
        """Their profile's cells."""
        kinds = KINDS | {name: "numeric" for name in self.values if name not in KINDS}
        return cells_of({n: (kinds[n], held) for n, held in self.values.items()}, self.period, scales)

    def changed(self, **columns: Any) -> "Days":
        """With other values in some columns."""
        return replace(self, values=self.values | columns)


def read(folder: Path) -> Days:
    """The shop's year: the columns that its contract marks, without copies and rows that break a rule."""
    frames = []
    for path in sorted(folder.glob("*.csv.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            frames.append(pd.read_csv(stream, dtype={"InvoiceNo": str, "StockCode": str}).drop_duplicates())
    rows = pd.concat(frames)
    cancelled = rows["InvoiceNo"].str.startswith("C").to_numpy()
    good = (rows["UnitPrice"].to_numpy() >= 0) & ((rows["Quantity"].to_numpy() >= 0) | cancelled)
    rows, cancelled = rows[good], cancelled[good]
    day = pd.to_datetime(rows["InvoiceDate"]).to_numpy().astype("datetime64[D]").astype("datetime64[s]")
    christmas = rows["Description"].str.upper().str.contains("CHRISTMAS")
    return Days(
        day.astype(np.int64),
        {
            "quantity": rows["Quantity"].to_numpy(np.float64),
            "unit_price": rows["UnitPrice"].to_numpy(np.float64),
            "country": rows["Country"].to_numpy(object),
            "is_cancelled": np.where(cancelled, "true", "false").astype(object),
            "is_christmas": christmas.map({True: "true", False: "false"})
            .astype(object)
            .where(christmas.notna(), None)
            .to_numpy(),
        },
    )


def scales_of(days: Days) -> dict[str, Scale]:
    """As they are fixed by what came first."""
    return {
        name: scale_of(held) for name, held in days.values.items() if KINDS.get(name, "numeric") == "numeric"
    }


def dearer(days: Days, size: float, _: np.random.Generator) -> Days:
    """All prices higher by a share."""
    return days.changed(unit_price=days.values["unit_price"] * (1 + size))


def wholesale(days: Days, size: float, rng: np.random.Generator) -> Days:
    """A share of the lines has twelve times the pieces."""
    many = rng.random(len(days.period)) < size
    return days.changed(quantity=np.where(many, 12 * days.values["quantity"], days.values["quantity"]))


def abroad(days: Days, size: float, rng: np.random.Generator) -> Days:
    """A share of the lines comes from one other country."""
    moved = rng.random(len(days.period)) < size
    country = days.values["country"].copy()
    country[moved] = "Germany"
    return days.changed(country=country)


SHIFTS = {
    "prices higher by": (dearer, (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)),
    "lines of 12 times the pieces": (wholesale, (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)),
    "lines from Germany instead": (abroad, (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)),
}
