"""One append-only log, both ledger and pointer: what happened to a model, and who is champion.

Each entry says who is champion after it, so the newest entry is the pointer, and pointer and ledger cannot
disagree. An entry is created under the next number, which only one writer can get: that is the
compare-and-swap. A process that dies did so before that step or after it.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, TypedDict

from pydantic import Field, ValidationError

from services.bento.manifest import Strict, UtcTime, VersionName
from services.bento.store import RegistryError, Store

Event = Literal["registered", "promoted", "rejected", "inconclusive", "error", "rolled_back", "packaged"]
MOVES = ("promoted", "rolled_back")
ENTRY = re.compile(r"\d{8}\.json")
ATTEMPTS = 1000


class Entry(Strict):
    """One line of the log. `champion` is who is live after it, `before` who was before it."""

    number: int
    event: Event
    version: VersionName | None
    champion: VersionName | None
    before: VersionName | None
    when: UtcTime
    flow_run: str = ""
    snapshot_id: int | None = None
    reason: str = ""
    verdict: dict[str, Any] = Field(default_factory=dict)
    detail: dict[str, str] = Field(default_factory=dict)


class Facts(TypedDict, total=False):
    """What a writer may say of an entry."""

    when: datetime
    flow_run: str
    snapshot_id: int | None
    reason: str
    verdict: dict[str, Any]
    detail: dict[str, str]


Step = tuple[Event, str | None, str | None]  # event, version, champion after it


def now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


class Ledger:
    """The log of one model."""

    def __init__(self, store: Store, model: str, clock: Callable[[], datetime] = now) -> None:
        self._store, self._model, self._clock = store, model, clock
        self._known = 0
        self._entries: dict[int, Entry] = {}  # an entry never changes

    def champion(self, at: datetime | None = None) -> Entry | None:
        """The entry that made the champion; `at`: the champion of that time."""
        for number in range(self._last(), 0, -1):
            entry = self._entry(number)
            if entry.event in MOVES and (at is None or entry.when <= at):
                return entry
        return None

    def history(self) -> list[Entry]:
        """The whole log, oldest first."""
        return [self._entry(number) for number in range(1, self._last() + 1)]

    def write(self, decide: Callable[[str | None], Step], facts: Facts) -> Entry:
        """Add one entry behind the last.

        Who loses the number to another decides again, on what is true then: `decide` gets the champion.
        """
        for _ in range(ATTEMPTS):
            last = self._last()
            before = self._entry(last).champion if last else None
            event, version, champion = decide(before)
            step = {"number": last + 1, "event": event, "version": version, "champion": champion}
            entry = Entry.model_validate({"when": self._clock(), **facts, **step, "before": before})
            if self._store.create(self._key(entry.number), entry.model_dump_json(indent=2).encode()):
                return entry
        raise RegistryError(f"{self._model}: {ATTEMPTS} writers were faster; try again when fewer write")

    def _last(self) -> int:
        """Number of the newest entry. There are no gaps: who makes an entry has seen the one before."""
        keys = self._store.list(f"{self._model}/ledger", self._key(self._known) if self._known else "")
        names = (key.rpartition("/")[2] for key in keys)
        self._known = max([self._known, *(int(name[:8]) for name in names if ENTRY.fullmatch(name))])
        return self._known

    def _entry(self, number: int) -> Entry:
        if number not in self._entries:
            key = self._key(number)
            try:
                self._entries[number] = Entry.model_validate_json(self._store.read(key))
            except ValidationError as error:
                problem = error.errors()[0]["msg"]
                raise RegistryError(f"{key} is damaged: {problem}; restore it from a backup") from None
        return self._entries[number]

    def _key(self, number: int) -> str:
        return f"{self._model}/ledger/{number:08}.json"


def line_of_champions(entries: list[Entry]) -> list[str]:
    """The champions that rollback can go back through, the live one last.

    A promotion puts a version on top; a rollback to one that lies below takes off all above it, so that
    rolling back twice goes two steps back, not back and forth.
    """
    line: list[str] = []
    for entry in entries:
        if entry.event not in MOVES or entry.champion is None:
            continue
        below = line[:-1]
        if entry.event == "rolled_back" and entry.champion in below:
            line = below[: len(below) - below[::-1].index(entry.champion)]
        else:
            line.append(entry.champion)
    return line
