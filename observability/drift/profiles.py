"""Profiles: how often each value of a column came, period by period, in so few cells that windows are sums.

Numbers are counted in bins that never move: `Scale` fixes them for a column once, so that the cells of any
files add up. Of each cell the mean is known, which makes distances between profiles those of the rows, but
for what rows of one bin differ by.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Texts = NDArray[np.object_]
Kind = Literal["numeric", "categorical"]

STEPS = 32
"""Bins a spread."""
LINEAR = 8
"""Spreads on each side of the centre with bins of equal width; beyond, each is 3% wider than the last."""
MISSING = 2**30
"""The bin of nulls; NaN and the infinities follow it."""
NAN, INFINITE, MINUS_INFINITE = MISSING + 1, MISSING + 2, MISSING + 3


MOST = 10_000
"""Values of a column: text that names each row cannot drift."""
LATER = 2**50
"""Seconds; tells the periods of two windows apart."""


class ProfileError(ValueError):
    """Profiles that cannot be compared, and why."""


@dataclass(frozen=True)
class Scale:
    """Where a numeric column's bins lie: its median and the spread of its middle, as they were first seen."""

    centre: float
    spread: float


def scale_of(values: Floats) -> Scale:
    """The scale of a column's first values; the spread is one standard deviation of a normal column."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Scale(0.0, 1.0)
    low, centre, high = np.quantile(finite, [0.25, 0.5, 0.75])
    spread = (high - low) / 1.35 or finite.std() or max(1.0, abs(centre))
    return Scale(float(centre), float(spread))


def bins_of(values: Floats, scale: Scale) -> Ints:
    """The bin of each value; the Spark job counts in the same (`flows/etl/profile_job.py`)."""
    z = (values - scale.centre) / scale.spread
    with np.errstate(all="ignore"):
        far = np.sign(z) * (LINEAR * STEPS + np.floor(np.log(np.abs(z) / LINEAR) * STEPS))
        found = np.where(np.abs(z) < LINEAR, np.floor(z * STEPS), far)
    found[np.isnan(values)] = NAN
    found[np.isposinf(values)] = INFINITE
    found[np.isneginf(values)] = MINUS_INFINITE
    return found.astype(np.int64)


@dataclass(frozen=True)
class Cells:
    """Profiles as they are stored, a row a cell: how many rows of a period have a column's value in a bin.

    Attributes:
        period: its start, in seconds since 1970.
        column: the column's name.
        bin: of numbers, and `MISSING` of categories.
        category: of texts; None of numbers and of nulls.
        count: rows.
        total: the sum of their values.
        squares: the sum of their squares.
    """

    period: Ints
    column: Texts
    bin: Ints
    category: Texts
    count: Ints
    total: Floats
    squares: Floats


@dataclass(frozen=True)
class Column:
    """One column over all periods.

    Attributes:
        kind: what can be said of its values.
        support: the values that came, (j,): numbers in their order, or categories in theirs.
        counts: (periods, j).
        missing: rows without a finite value, (periods,).
        total: sum of the finite values, (periods,).
        squares: sum of their squares, (periods,).
    """

    kind: Kind
    support: NDArray[np.float64] | Texts
    counts: Floats
    missing: Floats
    total: Floats
    squares: Floats

    def at(self, periods: NDArray[np.bool_]) -> "Column":
        """Some of the periods."""
        rest = (self.missing[periods], self.total[periods], self.squares[periods])
        return Column(self.kind, self.support, self.counts[periods], *rest)

    @property
    def valued(self) -> float:
        """Rows with a finite value."""
        return float(self.counts.sum())

    @property
    def deviation(self) -> float:
        """Standard deviation of the finite values."""
        if not self.valued:
            return 0.0
        mean = self.total.sum() / self.valued
        return float(np.sqrt(max(0.0, self.squares.sum() / self.valued - mean**2)))


@dataclass(frozen=True)
class Profile:
    """Columns over the same periods.

    Attributes:
        periods: their starts in seconds since 1970, ascending.
        rows: of each period.
        columns: by name.
    """

    periods: Ints
    rows: Floats
    columns: dict[str, Column]

    def at(self, periods: NDArray[np.bool_]) -> "Profile":
        """Some of the periods."""
        columns = {name: column.at(periods) for name, column in self.columns.items()}
        return Profile(self.periods[periods], self.rows[periods], columns)


def profile(cells: Cells, kinds: dict[str, Kind]) -> Profile:
    """Merge cells of any files.

    Raises:
        ProfileError: columns whose cells do not add up to the same rows.
    """
    periods, place = np.unique(cells.period, return_inverse=True)
    columns, rows = {}, None
    for name, kind in kinds.items():
        mine = cells.column == name
        column = _column(kind, cells, mine, place[mine], len(periods))
        held = column.counts.sum(axis=1) + column.missing
        if rows is not None and not np.array_equal(held, rows):
            raise ProfileError(
                f"column {name} was counted in {held.sum():,.0f} rows, others in {rows.sum():,.0f}"
            )
        rows, columns[name] = held, column
    return Profile(periods, np.zeros(len(periods)) if rows is None else rows, columns)


def windows(reference: Cells, current: Cells, kinds: dict[str, Kind]) -> tuple[Profile, Profile]:
    """The profiles of two windows, over the same values; a period may have rows in both.

    Raises:
        ProfileError: see `profile`.
    """
    later = replace(current, period=current.period + LATER)
    both = profile(joined([reference, later]), kinds)
    is_current = both.periods >= LATER // 2
    now = both.at(is_current)
    return both.at(~is_current), replace(now, periods=now.periods - LATER)


def _column(kind: Kind, cells: Cells, mine: NDArray[np.bool_], place: Ints, periods: int) -> Column:
    bins, count = cells.bin[mine], cells.count[mine].astype(np.float64)
    there = (
        bins < MISSING if kind == "numeric" else np.array([c is not None for c in cells.category[mine]], bool)
    )
    missing = _sums(place[~there], count[~there], periods)
    keys = bins[there] if kind == "numeric" else cells.category[mine][there].astype(str)
    names, at = np.unique(keys, return_inverse=True)
    if len(names) > MOST:
        raise ProfileError(
            f"a column has {len(names):,} values; drift is for at most {MOST:,}: watch a coarser one"
        )
    flat = _sums(place[there] * len(names) + at, count[there], periods * len(names))
    counts = flat.reshape(periods, len(names)) if len(names) else np.zeros((periods, 0))
    total, squares = cells.total[mine][there], cells.squares[mine][there]
    moments = [_sums(place[there], weights, periods) for weights in (total, squares)]
    support: NDArray[np.float64] | Texts = names.astype(object)
    if kind == "numeric":
        support = _sums(at, total, len(names)) / np.maximum(counts.sum(axis=0), 1)
    return Column(kind, support, counts, missing, *moments)


def cells_of(
    values: dict[str, tuple[Kind, NDArray[np.object_] | Floats]], periods: Ints, scales: dict[str, Scale]
) -> Cells:
    """The cells of rows in memory: what the Spark job makes of a file.

    Args:
        values: by column its kind and a value a row: floats with NaN for null, or texts with None.
        periods: of each row.
        scales: of the numeric columns.
    """
    parts = []
    for name, (kind, held) in values.items():
        numbers = held.astype(np.float64) if kind == "numeric" else np.full(len(held), np.nan)
        bins = bins_of(numbers, scales[name]) if kind == "numeric" else np.full(len(held), MISSING)
        bins[bins == NAN] = MISSING
        keys = (
            bins if kind == "numeric" else np.array(["" if v is None else f"={v}" for v in held], dtype=str)
        )
        parts.append(_counted(name, kind, keys, numbers, periods))
    return joined(parts)


def _counted(name: str, kind: Kind, keys: NDArray[np.generic], numbers: Floats, periods: Ints) -> Cells:
    names, key = np.unique(keys, return_inverse=True)
    starts, period = np.unique(periods, return_inverse=True)
    cell, at, count = np.unique(period * len(names) + key, return_inverse=True, return_counts=True)
    finite = np.where(np.isfinite(numbers), numbers, 0.0)
    of = names[cell % len(names)]
    numeric = kind == "numeric"
    categories = [None if numeric or not text else str(text)[1:] for text in of]
    return Cells(
        period=starts[cell // len(names)],
        column=np.full(len(cell), name, object),
        bin=of.astype(np.int64) if numeric else np.full(len(cell), MISSING),
        category=np.array(categories, object),
        count=count.astype(np.int64),
        total=_sums(at, finite, len(cell)),
        squares=_sums(at, np.square(finite), len(cell)),
    )


def _sums(place: NDArray[np.int64], weights: NDArray[np.generic], length: int) -> Floats:
    """The sum of the weights of each place."""
    return np.bincount(place, weights.astype(np.float64), length).astype(np.float64)


def joined(parts: Sequence[Cells]) -> Cells:
    """Cells of several files."""
    if not parts:
        raise ProfileError("no cells to join")
    names = Cells.__dataclass_fields__
    return Cells(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
