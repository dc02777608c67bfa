"""The outbox: what is to be told lies on disk, in order, until it has been delivered.

One writer, SQLite with a write-ahead log, each change on disk before it is acknowledged. Between Slack's
answer and its entry here a process may die: that message is sent twice, and none is lost.
"""

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from observability.errors import WatchkeeperError
from observability.slack.items import ITEMS, Item

MERGED_SECONDS = 3600.0
"""For which what has been told is not told again; less than the evaluators' reminders."""
KEPT_SECONDS = 7 * 86_400.0
"""For which a message waits; later it is no news."""
MOST_WAITING = 10_000
"""Messages; of more the newest are kept."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    items TEXT NOT NULL,
    added REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    ended REAL
);
CREATE INDEX IF NOT EXISTS waiting ON messages (number) WHERE ended IS NULL;
CREATE TABLE IF NOT EXISTS keys (
    key TEXT PRIMARY KEY,
    number INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS keys_of ON keys (number);
"""


@dataclass(frozen=True)
class Waiting:
    """The message that is next.

    Attributes:
        number: its place.
        items: what came together, as JSON.
        added: when.
        attempts: made so far.
        due: when the next may be made.
    """

    number: int
    items: str
    added: float
    attempts: int
    due: float


class Outbox:
    """The messages of one folder.

    Args:
        folder: made where it is not there; one process has it at a time.
        clock: seconds since 1970.

    Raises:
        WatchkeeperError: another process has the folder, or its file cannot be used.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._clock, self._mine = clock, threading.Lock()
        self._place = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WatchkeeperError(f"{folder} is in use by another process; end that one first") from None
        path = folder / "outbox.db"
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.executescript(SCHEMA)
        except sqlite3.DatabaseError as error:
            raise WatchkeeperError(f"{path}: {error}; free space, or move the file away") from None

    def append(self, items: Sequence[Item]) -> int:
        """Keep what came together as one message, without what is known; give how many items were new.

        Raises:
            sqlite3.Error: it is not on disk.
        """
        now = self._clock()
        with self._mine, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM messages WHERE ended < ?", [now - MERGED_SECONDS])
            new = {item.key: item for item in items if not any(map(self._knows, item.told_by))}
            if new:
                said = ITEMS.dump_json(list(new.values()), by_alias=True).decode()
                added = self._db.execute("INSERT INTO messages (items, added) VALUES (?, ?)", [said, now])
                keys = [(key, added.lastrowid) for key in new]
                self._db.executemany("INSERT INTO keys (key, number) VALUES (?, ?)", keys)
        return len(new)

    def next(self) -> Waiting | None:
        """The oldest message that waits, due or not: later ones wait for it."""
        asked = "SELECT number, items, added, attempts, due FROM messages WHERE ended IS NULL ORDER BY number"
        with self._mine:
            found = self._db.execute(f"{asked} LIMIT 1").fetchone()
        return Waiting(*found) if found else None

    def is_stale(self, waiting: Waiting) -> bool:
        """Whether the oldest message has waited in vain: for too long, or before too many others."""
        if self._clock() - waiting.added > KEPT_SECONDS:
            return True
        asked = f"SELECT 1 FROM messages WHERE ended IS NULL LIMIT 1 OFFSET {MOST_WAITING}"
        with self._mine:
            return self._db.execute(asked).fetchone() is not None

    def postpone(self, number: int, due: float) -> None:
        """An attempt failed; the next is `due`."""
        with self._mine:
            self._db.execute(
                "UPDATE messages SET attempts = attempts + 1, due = ? WHERE number = ?", [due, number]
            )

    def end(self, number: int) -> None:
        """A message waits no more."""
        with self._mine:
            self._db.execute("UPDATE messages SET ended = ? WHERE number = ?", [self._clock(), number])

    def waiting(self) -> tuple[int, float | None]:
        """How many messages wait, and since when the oldest."""
        asked = "SELECT count(*), min(added) FROM messages WHERE ended IS NULL"
        with self._mine:
            number, oldest = self._db.execute(asked).fetchone()
        return number, oldest

    def close(self) -> None:
        """Leave the folder to others."""
        with self._mine:
            self._db.close()
            os.close(self._place)

    def _knows(self, key: str) -> bool:
        return self._db.execute("SELECT 1 FROM keys WHERE key = ?", [key]).fetchone() is not None
