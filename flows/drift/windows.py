"""Which rows are compared: what a person writes, and which cells of a table that names.

`2011-08`, `2011-08-15`, `2011`, `2011-08..2011-10` and `2011-08-15T06..2011-08-15T18` are times, both ends
inclusive; `7d`, `12h` the newest so many periods; `snapshot:ID` what a snapshot of the table held.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pyiceberg.table import Table

from flows.drift.summaries import DAY, Profiled, files_at
from flows.errors import WatchkeeperError
from flows.etl.contract import Contract
from flows.etl.staged import plain_path

Mask = NDArray[np.bool_]
Season = Literal["weekday", "month"]
MOMENT = re.compile(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?(?:T(\d\d))?")
NEWEST = re.compile(r"(\d+)([hdw])")
SECONDS = {
    "h": 3600,
    "d": DAY,
    "w": 7 * DAY,
    "hour": 3600,
    "day": DAY,
    "week": 7 * DAY,
    "month": 31 * DAY,
}


@dataclass(frozen=True)
class Window:
    """Rows from `start` to before `end`, in seconds since 1970, or those of some files."""

    said: str
    start: int = 0
    end: int = 2**48
    files: frozenset[str] | None = None

    def cells(self, profiled: Profiled) -> Mask:
        """The cells of the window."""
        if self.files is not None:
            return np.isin(profiled.file, list(self.files))
        period = profiled.cells.period
        return np.asarray((period >= self.start) & (period < self.end) & profiled.live)


def span(text: str) -> Window:
    """A window of times.

    Raises:
        WatchkeeperError: not a time that there is.
    """
    first, _, last = text.partition("..")
    try:
        (start, _), (last_start, end) = moment(first), moment(last or first)
    except (ValueError, OverflowError) as error:
        raise WatchkeeperError(
            f"{text!r} is no window ({error}); write 2011-08, 2011-08-15, 2011-08..2011-10, 7d or snapshot:ID"
        ) from None
    if last_start < start:
        raise WatchkeeperError(f"{text!r} ends before it begins")
    return Window(text, int(start.timestamp()), int(end.timestamp()))


def refuse_parts(window: Window, period: str) -> None:
    """Stop at a window that cuts a period: profiles know whole ones only.

    Raises:
        WatchkeeperError: naming the period.
    """
    unit = min(SECONDS[period], DAY)
    if window.files is None and (window.start % unit or window.end % unit):
        raise WatchkeeperError(f"the window {window.said!r} cuts a {period}; write whole ones")


def moment(text: str) -> tuple[datetime, datetime]:
    """Start and end of a year, month, day or hour in UTC."""
    match = MOMENT.fullmatch(text.strip())
    if not match:
        raise ValueError("neither a year, a month, a day nor an hour")
    year, month, day, hour = (int(part) if part else None for part in match.groups())
    start = datetime(year or 1, month or 1, day or 1, hour or 0, tzinfo=UTC)
    if hour is not None:
        return start, start + timedelta(hours=1)
    if day is not None:
        return start, start + timedelta(days=1)
    if month is not None:
        return start, (start + timedelta(days=32)).replace(day=1)
    return start, start.replace(year=start.year + 1)


def resolve(
    reference: str | None, current: str | None, table: Table, contract: Contract, profiled: Profiled
) -> tuple[Window, Window]:
    """The two windows; without a word the newest periods of the table, and those before them.

    Raises:
        WatchkeeperError: a window that cannot be understood, or both hold the same rows.
    """
    unit = SECONDS[contract.watch.period]
    held = profiled.cells.period
    newest = int(held.max()) + unit if len(held) else 0
    old = of_snapshot(reference, table)
    if old and old.files is not None and current is None:
        live = frozenset(profiled.file[profiled.live].tolist())
        if rewritten := old.files - live:
            raise WatchkeeperError(
                f"{len(rewritten)} files of {old.said} were rewritten since, its rows are among newer ones; "
                "name the current window by its time"
            )
        return old, Window("the commits since", files=live - old.files)
    now = of_snapshot(current, table) or trailing(current or "", newest, contract.watch.current * unit)
    before = old or trailing(
        reference or "", now.start if now.files is None else newest, contract.watch.reference * unit
    )
    for window in (before, now):
        refuse_parts(window, contract.watch.period)
    if (before.cells(profiled) & now.cells(profiled)).any():
        raise WatchkeeperError(
            f"the reference {before.said} and the current window {now.said} hold the same rows; part them"
        )
    return before, now


def snapshot_in(text: str | None) -> int | None:
    """The snapshot that a text names; None where it names none.

    Raises:
        WatchkeeperError: it names one without a number.
    """
    if text is None or not text.startswith("snapshot:"):
        return None
    number = text.removeprefix("snapshot:")
    if not number.isdecimal():
        raise WatchkeeperError(f"{text!r}: a snapshot is named by its number, such as snapshot:4811")
    return int(number)


def of_snapshot(text: str | None, table: Table) -> Window | None:
    """The files of a named snapshot; None where the text names none."""
    number = snapshot_in(text)
    if number is None:
        return None
    return Window(str(text), files=frozenset(plain_path(file.file_path) for file in files_at(table, number)))


def trailing(text: str, end: int, seconds: int) -> Window:
    """So long before `end` as the text says, or `seconds` where it says nothing; or the text's own time."""
    match = NEWEST.fullmatch(text)
    if text and not match:
        return span(text)
    if match:
        seconds = int(match[1]) * SECONDS[match[2]]
    if not 0 < seconds <= end:
        raise WatchkeeperError(f"{text!r} is a window without a length, or longer than time; write 7d")
    first, last = (datetime.fromtimestamp(max(0, at), UTC) for at in (end - seconds, end))
    return Window(text or f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}", end - seconds, end)


def weekday(period: NDArray[np.int64]) -> NDArray[np.int64]:
    """The day of the week of each period."""
    return np.asarray((period // DAY + 3) % 7)


def month(period: NDArray[np.int64]) -> NDArray[np.int64]:
    """The month of the year of each period."""
    return period.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12


SEASONS = {"weekday": weekday, "month": month}
