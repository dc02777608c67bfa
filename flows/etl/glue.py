"""The lake's catalog in AWS Glue: a database a data set, which Athena, EMR and Trino read too.

A commit replaces the version of the table that it was made from, or is refused.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.catalog import METADATA_LOCATION
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    TableAlreadyExistsError,
)
from pyiceberg.table import Table

from flows.errors import WatchkeeperError
from flows.s3 import connect
from flows.s3_path import S3Path


class BucketCatalog(GlueCatalog):
    """Glue, as far as its tables are below the lake's root.

    Args:
        root: the lake's folder.
    """

    def __init__(self, root: S3Path) -> None:
        ways = connect()
        client = ways.client_of("glue")
        super().__init__("lake", client, warehouse=str(root), **ways.in_iceberg)
        self._root = f"{root}/"

    def identifiers(self) -> list[str]:
        """The lake's tables; an account may have others."""
        found = []
        for space in self.list_namespaces():
            pages = self.glue.get_paginator("get_tables").paginate(DatabaseName=space[0])
            tables = (table for page in pages for table in page["TableList"])
            found += [f"{space[0]}.{table['Name']}" for table in tables if self._is_ours(table)]
        return sorted(found)

    def location(self, dataset: str, name: str) -> str | None:
        """Where the table's metadata is now."""
        try:
            table = self.glue.get_table(DatabaseName=dataset, Name=name)["Table"]
        except self.glue.exceptions.EntityNotFoundException:
            return None
        location: str | None = table.get("Parameters", {}).get(METADATA_LOCATION)
        return location

    def make_room(self, dataset: str) -> None:
        """See to it that the data set has a database, which somebody with more rights may have made."""
        if not self.namespace_exists(dataset):
            with contextlib.suppress(NamespaceAlreadyExistsError):
                self.create_namespace(dataset, {"location": f"{self._root}{dataset}"})

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Tell what AWS refuses, or that it cannot be reached.

        Raises:
            WatchkeeperError: with AWS's words and what to look at.
        """
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise WatchkeeperError(
                f"the Glue catalog of {self._root}: {error}; check AWS_REGION, credentials and permissions"
            ) from None
        except OSError as error:
            if "AWS Error" not in str(error):
                raise
            raise WatchkeeperError(f"{self._root}: {error}; check the bucket and the credentials") from None

    def _update_glue_table(
        self,
        database_name: str,
        table_name: str,
        table_input: Any,  # noqa: ANN401
        version_id: str,
    ) -> None:
        try:
            super()._update_glue_table(database_name, table_name, table_input, version_id)
        except CommitFailedException:
            if not self._has_landed(database_name, table_name, table_input):
                raise

    def _create_glue_table(self, database_name: str, table_name: str, table_input: Any) -> None:  # noqa: ANN401
        try:
            super()._create_glue_table(database_name, table_name, table_input)
        except TableAlreadyExistsError:
            if not self._has_landed(database_name, table_name, table_input):
                raise

    def _has_landed(self, database: str, name: str, table_input: Any) -> bool:  # noqa: ANN401
        """Whether what was refused is in the table all the same.

        Where no answer comes boto3 asks again, and is refused if the first time was heard. PyIceberg would
        take that for a conflict and remove the manifests of a snapshot that is there.
        """
        ours = table_input["Parameters"][METADATA_LOCATION]
        now = self.load_table((database, name))
        return ours in (now.metadata_location, *(entry.metadata_file for entry in now.metadata.metadata_log))

    def _is_ours(self, table: Any) -> bool:  # noqa: ANN401  # as Glue answers
        return str(table.get("Parameters", {}).get(METADATA_LOCATION, "")).startswith(self._root)

    def _convert_glue_to_iceberg(self, glue_table: Any) -> Table:  # noqa: ANN401
        """Read a table, for whatever purpose.

        Raises:
            WatchkeeperError: it is another lake's, which this one would overwrite, or none of Iceberg's.
        """
        if not self._is_ours(glue_table):
            name = f"{glue_table['DatabaseName']}.{glue_table['Name']}"
            where = glue_table.get("Parameters", {}).get(METADATA_LOCATION) or "no Iceberg table"
            raise WatchkeeperError(
                f"Glue has another {name} ({where}) than the lake at {self._root}: give the data set another "
                "name, or this lake a region or an account of its own"
            )
        return super()._convert_glue_to_iceberg(glue_table)
