"""Which metadata file of each table is the current one: SQLite says for a lake of this machine, Glue for S3.

PyIceberg's own catalogs, with what the lake asks of them beside: what there is, where it is, and plain words
for what goes wrong. The one for Glue is imported only for a lake in a bucket.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError
from sqlalchemy import URL, select
from sqlalchemy.exc import OperationalError

ATTEMPTS = 8


class HomeCatalog(SqlCatalog):
    """SQLite beside the tables, made where there is none yet.

    Args:
        root: the lake's folder.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        # SQLite's own default gives up on a locked database after 5 s.
        asked = {"uri": "true", "timeout": "60"}
        # SQLAlchemy 2.0 takes the path as it stands up to a `?`: SQLite's own URI may hold any name.
        path = quote(str(root / "catalog.db"))
        uri = URL.create("sqlite", database=f"file:{path}", query=asked).render_as_string()
        for attempt in range(ATTEMPTS):
            try:
                super().__init__("lake", uri=uri, warehouse=str(root))
                return
            except OperationalError:  # another process created the catalog's tables first
                if attempt == ATTEMPTS - 1:
                    raise

    def identifiers(self) -> list[str]:
        """All tables."""
        return sorted(".".join(name) for space in self.list_namespaces() for name in self.list_tables(space))

    def location(self, dataset: str, name: str) -> str | None:
        """Where the table's metadata is now."""
        asked = select(IcebergTables.metadata_location).where(
            IcebergTables.table_namespace == dataset, IcebergTables.table_name == name
        )
        with self.engine.connect() as connection:
            return connection.scalar(asked)

    def make_room(self, dataset: str) -> None:
        """See to it that the data set may have tables."""
        with contextlib.suppress(NamespaceAlreadyExistsError):
            self.create_namespace(dataset)

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """What goes wrong here is a defect, or told by whoever sees it."""
        yield
