"""What is compared with what: a table's windows, or a model's traffic with what it was trained on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import Scanner
from pyiceberg.io.pyarrow import schema_to_pyarrow

from flows.config import Settings
from flows.console import OnProgress, no_log, no_progress
from flows.drift import traffic
from flows.drift.summaries import Profiled, Summaries, days_added, files_at, kinds_of, profiled, watched
from flows.drift.windows import NEWEST, SECONDS, Season, Window, refuse_parts, resolve, snapshot_in, trailing
from flows.errors import WatchkeeperError
from flows.etl.contract import Contract
from flows.etl.datasets import load_table
from flows.etl.lake import Lake
from flows.etl.runners.life import Engine
from flows.etl.staged import plain_path
from flows.paths import path_of, rows_of
from observability.drift.profiles import Cells, Profile, windows
from services.bento.registry import Registry
from services.bento.store import open_store

TRAINING = "its training"
FILES = 32
"""That a sample is drawn from."""
NOT_YET = "no answer of it is in the lake; bring the prediction log in with `task etl -- --dataset serving`"


class NoDataError(WatchkeeperError):
    """Nothing to compare yet: a verdict of its own, and no failure."""


@dataclass(frozen=True)
class Question:
    """What a person, or a deployment, asks.

    Attributes:
        table: `dataset.table`; the prediction log's where a model is asked for.
        model: whose traffic is compared with its reference.
        reference: window; see `windows.py`. A model's is what it was trained on unless said.
        current: window; the newest periods unless said.
        season: compare with the same weekdays, or the same months, only.
    """

    table: str
    model: str | None = None
    reference: str | None = None
    current: str | None = None
    season: Season | None = None

    @classmethod
    def of(
        cls,
        dataset: str | None,
        table: str | None,
        model: str | None,
        reference: str | None = None,
        current: str | None = None,
        season: Season | None = None,
    ) -> "Question":
        """The question about a table or a model.

        Raises:
            WatchkeeperError: neither of them, or both.
        """
        if (model is None) == (table is None) or (table is None) != (dataset is None):
            raise WatchkeeperError("name a table with --dataset and --table, or a model with --model")
        name = f"{dataset}.{table}" if table else "serving.predictions"
        return cls(name, model, reference, current, season)

    @property
    def of_now(self) -> bool:
        """Whether it is about the newest rows: a look back is no news, and starts nothing."""
        return self.current is None or NEWEST.fullmatch(self.current) is not None

    @property
    def subject(self) -> str:
        """What the verdict is about, as a name for folders and labels."""
        return f"model.{self.model}" if self.model else self.table


def check(settings: Settings, question: Question) -> None:
    """Stop at a question about nothing that there is.

    Raises:
        WatchkeeperError: no such table; no such model, or it has no champion.
    """
    contract_of(settings, question)
    if question.model:
        Registry(open_store(settings.registry), question.model).live()


def contract_of(settings: Settings, question: Question) -> Contract:
    """The contract of the table that a question is about."""
    dataset_name, _, table = question.table.partition(".")
    return load_table(settings.contracts, dataset_name, table)


@dataclass
class Comparison:
    """A question with the lake behind it.

    Raises:
        NoDataError: the table is empty.
        WatchkeeperError: no such table or model, or no column is watched.
    """

    settings: Settings
    question: Question
    contract: Contract = field(init=False)
    lake: Lake = field(init=False)

    def __post_init__(self) -> None:
        self.contract, self.lake = contract_of(self.settings, self.question), Lake(self.settings)
        self.summaries = Summaries(self.settings, self.contract)
        found = self.lake.table(self.question.table)
        if found is None or found.current_snapshot() is None:
            why = NOT_YET if self.question.model else f"run `task etl -- --dataset {self.contract.dataset}`"
            raise NoDataError(f"{self.question.subject}: {why}")
        self.table = found

    @cached_property
    def champion(self) -> "traffic.Champion | None":
        """Whose traffic it is; None of a table."""
        model = self.question.model
        if model is None:
            return None
        registry = Registry(open_store(self.settings.registry), model)
        version, _ = registry.live()
        return traffic.Champion(registry.manifest(version), registry.fetch(version))

    @cached_property
    def schema(self) -> pa.Schema:
        """The table's columns as PyArrow has them."""
        return schema_to_pyarrow(self.table.schema(), include_field_ids=False)

    def profile(
        self,
        engine: Engine,
        on_progress: OnProgress = no_progress,
        on_log: Callable[[str], None] = no_log,
    ) -> Profiled:
        """The profiles of all files that the windows may need; of a model its own cells.

        Raises:
            NoDataError: nothing has been committed yet, or nothing of the model.
        """
        named = {snapshot_in(text) for text in (self.question.reference, self.question.current)} - {None}
        current = files_at(self.table)
        files = {f.file_path: f for f in current}
        files |= {f.file_path: f for number in named for f in files_at(self.table, number)}
        if not files:
            raise NoDataError(f"{self.question.table} holds no row")
        tables = self.summaries.load(list(files.values()), engine, on_progress, on_log)
        added = days_added(self.table, {None, *named}) if self.contract.event_time is None else None
        found = profiled(tables, {plain_path(file.file_path) for file in current}, added)
        if self.champion:
            found = found.at(np.asarray(found.segment == self.champion.segment))
        if not len(found.file):
            raise NoDataError(f"{self.question.subject}: {NOT_YET}")
        return found

    def windows(self, cells: Profiled) -> tuple[Profile, Profile, Window, Window]:
        """The profiles of the reference and of the current window, and what they are.

        Raises:
            NoDataError: a window holds no row.
            WatchkeeperError: a window cannot be understood, or both hold the same rows.
        """
        if self.champion and self.question.reference is None:
            before, now, reference, current = self._beside_training(self.champion, cells)
        else:
            reference, current = resolve(
                self.question.reference, self.question.current, self.table, self.contract, cells
            )
            before, now = (cells.where(window.cells(cells)) for window in (reference, current))
        for window, held in ((reference, before), (current, now)):
            if not len(held.count):
                raise NoDataError(f"{self.question.subject} has no row in {window.said}")
        return *windows(before, now, kinds_of(self.contract)), reference, current

    def _beside_training(
        self, champion: "traffic.Champion", own: Profiled
    ) -> tuple[Cells, Cells, Window, Window]:
        if self.question.season:
            raise WatchkeeperError(
                "what a model was trained on has no season; name a --reference of its traffic"
            )
        unit = SECONDS[self.contract.watch.period]
        newest = int(own.cells.period.max()) + unit
        current = trailing(self.question.current or "", newest, self.contract.watch.current * unit)
        refuse_parts(current, self.contract.watch.period)
        cells = traffic.reference_cells(champion, self.contract, self.summaries.scales)
        return cells, own.where(current.cells(own)), Window(TRAINING), current

    @property
    def watched(self) -> dict[str, list[str]]:
        """See `summaries.watched`."""
        return watched(self.contract)

    def rows(self, window: Window, cells: Profiled, count: int, seed: int = 0) -> pa.Table:
        """A sample of a window's rows: the watched columns of at most `count`, from at most `FILES` files."""
        kinds = kinds_of(self.contract)
        if self.champion and window.said == TRAINING:
            return self.champion.reference.select(list(kinds))
        files = np.unique(cells.file[window.cells(cells)].astype(str))
        chosen = np.random.default_rng(seed).permutation(files)[:FILES].tolist()
        kept = sample(self.scanner(window, chosen, list(kinds)), count, seed)
        for number, (name, kind) in enumerate(kinds.items()):
            if kind == "numeric":
                kept = kept.set_column(number, name, kept[name].cast(pa.float64()))
        return kept

    def scanner(self, window: Window, files: list[str], columns: list[str]) -> Scanner:
        """Columns of the rows of a window in some files."""
        chosen = pc.scalar(True)
        if window.files is None and self.contract.event_time:
            name = self.contract.event_time
            kind = self.schema.field(name).type
            zone = UTC if getattr(kind, "tz", None) else None
            first, last = (
                pa.scalar(datetime.fromtimestamp(at, UTC).replace(tzinfo=zone)).cast(kind)
                for at in (window.start, window.end)
            )
            chosen = (pc.field(name) >= first) & (pc.field(name) < last)
        if self.champion:
            manifest = self.champion.manifest
            chosen &= (pc.field("model") == manifest.model) & (pc.field("model_version") == manifest.version)
            chosen &= ~pc.field("shadow")
        rows = rows_of([path_of(file) for file in files], self.schema)
        return rows.scanner(columns=columns, filter=chosen)


def sample(scanner: Scanner, count: int, seed: int) -> pa.Table:
    """At most `count` rows, each as likely as the next, in memory for little more than that."""
    rng, kept = np.random.default_rng(seed), scanner.projected_schema.empty_table()
    keys = np.empty(0)
    for batch in scanner.to_batches():
        kept = pa.concat_tables([kept, pa.Table.from_batches([batch])])
        keys = np.concatenate([keys, rng.random(len(batch))])
        if len(kept) > count:
            least = np.sort(np.argpartition(keys, count)[:count])
            kept, keys = kept.take(least).combine_chunks(), keys[least]
    return kept
