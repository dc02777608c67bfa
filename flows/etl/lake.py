"""The lake: Iceberg tables that PyIceberg commits and any engine reads. Spark writes, Iceberg commits.

Every change of a table is one snapshot: files deleted and added together, with the table's sources. A
commit that another one overtook is replanned on the new state, or refused; see ADR 4.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pyiceberg.exceptions import (
    CommitFailedException,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationException,
)
from pyiceberg.expressions import BooleanExpression, In, Reference
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, Transaction
from sqlalchemy.exc import IntegrityError

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl.catalogs import ATTEMPTS, HomeCatalog
from flows.etl.contract import SOURCE_COLUMN, Contract
from flows.etl.schema import evolve, layout_of, schema_of, sort_of
from flows.etl.sources import PROPERTY, Sources
from flows.etl.staged import data_file
from flows.s3_path import AnyPath

if TYPE_CHECKING:
    from flows.etl.glue import BucketCatalog

TABLE_PROPERTIES = {
    # PyIceberg's own retry would repeat the sources that were planned on, and forget the other commit's.
    "commit.retry.num-retries": "0",
    # Whole names, not their first 16 letters, so that a corrected file finds the data files that hold it.
    f"write.metadata.metrics.column.{SOURCE_COLUMN}": "full",
    # Maintenance asks these which files a reader may still need; it forgets them itself.
    "write.metadata.previous-versions-max": "1000",
}


class OvertakenError(WatchkeeperError):
    """Another commit took away what this one was planned on: plan again."""


@dataclass(frozen=True)
class Change:
    """What one commit does: Spark's files in, replaced files out, and the sources that this concerns."""

    files: list[AnyPath]
    sources: Sources
    replaced: list[DataFile] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    """Source files that hold nothing any more."""
    exclusive: bool = False
    """Refuse any commit since planning: for tables whose rows were compared with all others."""


class Lake:
    """The tables of one home or store, through PyIceberg's catalog of it."""

    def __init__(self, settings: Settings) -> None:
        self.root = settings.lake

    @cached_property
    def catalog(self) -> "HomeCatalog | BucketCatalog":
        """The catalog, created where there is none yet."""
        if isinstance(self.root, Path):
            return HomeCatalog(self.root)
        from flows.etl.glue import BucketCatalog

        return BucketCatalog(self.root)

    @property
    def is_new(self) -> bool:
        """Whether there is no catalog yet: who only reads makes none."""
        return isinstance(self.root, Path) and not (self.root / "catalog.db").exists()

    def folder(self, identifier: str) -> AnyPath:
        """Where a table's data, metadata and sources are."""
        return self.root.joinpath(*identifier.split("."))

    def tables(self) -> list[str]:
        """Identifiers of all tables."""
        if self.is_new:
            return []
        with self.catalog.asking():
            return self.catalog.identifiers()

    def table(self, identifier: str) -> Table | None:
        """The table as it is now; None before its first commit."""
        if self.is_new:
            return None
        try:
            with self.catalog.asking():
                return self.catalog.load_table(identifier)
        except NoSuchTableError:
            return None

    def sources(self, table: Table | None) -> Sources:
        """The source files that the table's current snapshot holds."""
        snapshot = table.current_snapshot() if table else None
        if table is None or snapshot is None or snapshot.summary is None:
            return Sources()
        return Sources.load(self.folder(".".join(table.name())) / "sources", snapshot.summary[PROPERTY])

    def commit(self, contract: Contract, base: Table | None, change: Change) -> Table:
        """Commit in one snapshot; retried where another commit does not concern this one.

        Raises:
            OvertakenError: another commit concerns the same sources or files; plan again.
        """
        planned = self.sources(base)
        for _ in range(ATTEMPTS):
            table = self.table(contract.identifier)
            if table is not None and (base is None or table.metadata_location != base.metadata_location):
                self._refuse_conflict(table, base, planned, change)
            try:
                return self._commit_once(contract, table, change)
            except (CommitFailedException, TableAlreadyExistsError, IntegrityError):
                continue
            except ValidationException as error:
                raise OvertakenError(f"{contract.identifier}: {error}") from None
        raise OvertakenError(f"{contract.identifier}: {ATTEMPTS} commits in a row were overtaken by others")

    def _refuse_conflict(self, table: Table, base: Table | None, planned: Sources, change: Change) -> None:
        now = self.sources(table)
        name = ".".join(table.name())
        moved = base is None or table.current_snapshot() != base.current_snapshot()
        if change.exclusive and moved:
            raise OvertakenError(f"{name}: another run committed since this one was planned")
        contents = {entry.sha256 for entry in now.committed.values()} - {
            e.sha256 for e in planned.committed.values()
        }
        for path in change.sources.committed.keys() | change.gone:
            entry = change.sources.committed.get(path)
            if now.committed.get(path) != planned.committed.get(path) or (entry and entry.sha256 in contents):
                raise OvertakenError(f"{name}: another run committed source file {path} meanwhile")

    def _commit_once(self, contract: Contract, table: Table | None, change: Change) -> Table:
        digest = (
            self.sources(table)
            .after(change.sources, change.gone)
            .store(self.folder(contract.identifier) / "sources")
        )
        properties = {**change.properties, PROPERTY: digest}
        with self.catalog.asking(), self._transaction(contract, table) as tx:
            if table is not None:
                evolve(contract, tx)
            files = [data_file(path, tx.table_metadata) for path in change.files]
            update = tx.update_snapshot(snapshot_properties=properties)
            with update.overwrite() if change.replaced else update.fast_append() as producer:
                for old in change.replaced:
                    producer.delete_data_file(old)
                for new in files:
                    producer.append_data_file(new)
        with self.catalog.asking():
            return self.catalog.load_table(contract.identifier)

    def _transaction(self, contract: Contract, table: Table | None) -> Transaction:
        """A transaction on the table; one that creates it, with its first snapshot, where there is none."""
        if table is not None:
            return table.transaction()
        self.catalog.make_room(contract.dataset)
        schema = schema_of(contract)
        return self.catalog.create_table_transaction(
            contract.identifier,
            schema,
            location=str(self.folder(contract.identifier)),
            partition_spec=layout_of(contract, schema),
            sort_order=sort_of(contract, schema),
            properties=TABLE_PROPERTIES,
        )


class WatchedLake(Lake):
    """The lake for one who looks often and changes nothing: a table is read again only when it is another."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._held: dict[str, Table] = {}

    def table(self, identifier: str) -> Table | None:
        """See `Lake.table`."""
        held = self._held.get(identifier)
        if held is not None:
            with self.catalog.asking():
                if held.metadata_location == self.catalog.location(*held.name()):
                    return held
        table = super().table(identifier)
        if table is not None:
            self._held[identifier] = table
        return table


def files_with(table: Table | None, rows: BooleanExpression) -> list[DataFile]:
    """Data files of the current snapshot that may hold such rows."""
    if table is None or table.current_snapshot() is None:
        return []
    return [task.file for task in table.scan(row_filter=rows).plan_files()]


def files_of_sources(table: Table | None, paths: list[str]) -> list[DataFile]:
    """Data files that may hold rows of these source files."""
    return files_with(table, In(Reference(SOURCE_COLUMN), paths)) if paths else []  # type: ignore[call-arg, arg-type]
