"""Spark's files as Iceberg sees them: partition values from their folders, statistics from their footers."""

from collections.abc import Sequence
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Record
from pyiceberg.types import IntegerType, LongType, NestedField, StringType

from flows.etl.contract import SOURCE_COLUMN
from flows.etl.job import VERDICT_COLUMNS
from flows.paths import files_below, mapped, path_of, read_footer, read_rows
from flows.s3_path import AnyPath

NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
VERDICT_TYPES = {"string": StringType(), "bigint": LongType()}
NO_METRICS = {f"write.metadata.metrics.column.{name}": "none" for name, _, _ in VERDICT_COLUMNS}


def lake_files(output: AnyPath) -> list[AnyPath]:
    """The lake's part of a job's output."""
    return parquet_below(output / "_sink=0")


def quarantine_files(output: AnyPath) -> list[AnyPath]:
    """The quarantine's part of a job's output."""
    return parquet_below(output / "_sink=1")


def parquet_below(folder: AnyPath) -> list[AnyPath]:
    """Parquet files, in order."""
    return sorted((path for path in files_below(folder) if path.suffix == ".parquet"), key=str)


def count_rows(files: Sequence[AnyPath]) -> int:
    """Rows that the files' footers promise."""
    return sum(footer.num_rows for footer in mapped(read_footer, files))


def count_copies(files: Sequence[AnyPath]) -> int:
    """Exact copies that Spark dropped: each row that had some says how many."""
    counts = mapped(lambda file: pc.sum(read_rows(file, ["_copies"])["_copies"]), files)
    return sum(count.as_py() or 0 for count in counts)


def count_kept(replaced: list[DataFile], sources: list[str]) -> int:
    """Rows of replaced data files that come from other source files than the replaced ones."""
    paths = [path_of(file.file_path) for file in replaced]
    names = mapped(lambda path: read_rows(path, [SOURCE_COLUMN])[SOURCE_COLUMN], paths)
    gone = pa.array(sources, pa.string())
    return sum(len(column) - (pc.sum(pc.is_in(column, gone)).as_py() or 0) for column in names)


def data_file(path: AnyPath, table: TableMetadata) -> DataFile:
    """One Parquet file of a job, ready to be appended to the table."""
    verdict = [
        NestedField(number, name, VERDICT_TYPES[kind], required=False)
        for name, kind, number in VERDICT_COLUMNS
    ]
    written = Schema(*table.schema().fields, *verdict)
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=read_footer(path),
        stats_columns=compute_statistics_plan(written, {**table.properties, **NO_METRICS}),
        parquet_column_mapping=parquet_path_to_id_mapping(written),
    )
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=str(path),
        file_format=FileFormat.PARQUET,
        partition=partition_of(path, table),
        file_size_in_bytes=path.stat().st_size,
        sort_order_id=table.default_sort_order_id or None,
        spec_id=table.default_spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )


def partition_of(path: AnyPath, table: TableMetadata) -> Record:
    """The partition value that Spark wrote into the file's folders (`_p0=491/_p1=2`).

    Iceberg's own file statistics cannot tell a bucket, so the folder is the only witness.
    """
    folders = dict(part.split("=", 1) for part in path.parts if part.startswith("_p") and "=" in part)
    values: list[str | int | None] = []
    for number, field in enumerate(table.spec().fields):
        text = unquote(folders[f"_p{number}"])
        source = table.schema().find_type(field.source_id)
        whole = isinstance(field.transform.result_type(source), IntegerType | LongType) or not isinstance(
            source, StringType
        )
        values.append(None if text == NULL_FOLDER else int(text) if whole else text)
    return Record(*values)


def profile_path(data: str | AnyPath) -> AnyPath:
    """Where a data file's profile is kept; engines pass over names that begin with a point."""
    path = path_of(str(data))
    return path.with_name(f".{path.name}.profile")


def plain_path(location: str) -> str:
    """A location of the lake as this code writes it: a file of this machine without its scheme."""
    return str(path_of(location))
