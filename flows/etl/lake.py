"""The lake: Iceberg tables that PyIceberg commits and any engine reads. Spark writes, Iceberg commits.

Every change of a table is one snapshot: files deleted and added together, with the table's sources. A
commit that another one overtook is replanned on the new state, or refused; see ADR 4.
"""

import contextlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationException,
)
from pyiceberg.expressions import BooleanExpression, In, Reference
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, Transaction
from sqlalchemy import URL, select
from sqlalchemy.exc import IntegrityError, OperationalError

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl.contract import SOURCE_COLUMN, Contract
from flows.etl.schema import evolve, layout_of, schema_of, sort_of
from flows.etl.sources import PROPERTY, Sources
from flows.etl.staged import data_file

ATTEMPTS = 8
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

    files: list[Path]
    sources: Sources
    replaced: list[DataFile] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    """Source files that hold nothing any more."""
    exclusive: bool = False
    """Refuse any commit since planning: for tables whose rows were compared with all others."""


class Lake:
    """The tables of one home, through PyIceberg's SQLite catalog."""

    def __init__(self, settings: Settings) -> None:
        self.root = settings.lake

    @cached_property
    def catalog(self) -> SqlCatalog:
        """The catalog, created where there is none yet."""
        self.root.mkdir(parents=True, exist_ok=True)
        # SQLite's own default gives up on a locked database after 5 s.
        path = str(self.root / "catalog.db")
        # SQLAlchemy 2.0 takes the path as it stands up to a `?`: SQLite's own URI may hold any name.
        asked = {"uri": "true", "timeout": "60"}
        uri = URL.create("sqlite", database=f"file:{quote(path)}", query=asked).render_as_string()
        for attempt in range(ATTEMPTS):
            try:
                return SqlCatalog("lake", uri=uri, warehouse=str(self.root))
            except OperationalError:  # another process created the catalog's tables first
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def folder(self, identifier: str) -> Path:
        """Where a table's data, metadata and sources are."""
        return self.root.joinpath(*identifier.split("."))

    def tables(self) -> list[str]:
        """Identifiers of all tables."""
        if not (self.root / "catalog.db").exists():
            return []
        spaces = self.catalog.list_namespaces()
        return sorted(".".join(name) for space in spaces for name in self.catalog.list_tables(space))

    def table(self, identifier: str) -> Table | None:
        """The table as it is now; None before its first commit."""
        if not (self.root / "catalog.db").exists():
            return None
        try:
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
        with self._transaction(contract, table) as tx:
            if table is not None:
                evolve(contract, tx)
            files = [data_file(path, tx.table_metadata) for path in change.files]
            update = tx.update_snapshot(snapshot_properties=properties)
            with update.overwrite() if change.replaced else update.fast_append() as producer:
                for old in change.replaced:
                    producer.delete_data_file(old)
                for new in files:
                    producer.append_data_file(new)
        return self.catalog.load_table(contract.identifier)

    def _transaction(self, contract: Contract, table: Table | None) -> Transaction:
        """A transaction on the table; one that creates it, with its first snapshot, where there is none."""
        if table is not None:
            return table.transaction()
        with contextlib.suppress(NamespaceAlreadyExistsError):
            self.catalog.create_namespace(contract.dataset)
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
        if held is not None and held.metadata_location == self._location(*held.name()):
            return held
        table = super().table(identifier)
        if table is not None:
            self._held[identifier] = table
        return table

    def _location(self, dataset: str, name: str) -> str | None:
        """Where the table's metadata is now."""
        asked = select(IcebergTables.metadata_location).where(
            IcebergTables.table_namespace == dataset, IcebergTables.table_name == name
        )
        with self.catalog.engine.connect() as connection:
            return connection.scalar(asked)


def files_with(table: Table | None, rows: BooleanExpression) -> list[DataFile]:
    """Data files of the current snapshot that may hold such rows."""
    if table is None or table.current_snapshot() is None:
        return []
    return [task.file for task in table.scan(row_filter=rows).plan_files()]


def files_of_sources(table: Table | None, paths: list[str]) -> list[DataFile]:
    """Data files that may hold rows of these source files."""
    return files_with(table, In(Reference(SOURCE_COLUMN), paths)) if paths else []  # type: ignore[call-arg, arg-type]
