"""A table's contract: all that the ETL knows of it. A new data set is a new contract and no code."""

import re
from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field, model_validator

from flows.etl.contract_parts import TIME_TYPES, Column, FieldError, Name, Place, Rule, Strict

TRANSFORM = re.compile(r"identity|year|month|day|truncate\[[1-9]\d*\]")
VALUE_TYPES = ("string", "int", "long")
SOURCE_COLUMN = "_source_file"


class Source(Strict):
    """Which files of the source folder belong to the table, and how they are written."""

    pattern: str = Field(description="Glob of the files' paths below the source folder, such as `*.csv.gz`.")
    format: Literal["csv", "jsonl", "parquet", "images"]
    delimiter: str = Field(default=",", min_length=1, max_length=1)


class TableRules(Strict):
    """What a whole run must hold, or it does not commit (quarantine share) or warns (the others)."""

    max_quarantined_ratio: float = Field(default=0.05, ge=0, le=1)
    max_age_days: float | None = Field(
        default=None,
        gt=0,
        description="Of the newest event time; the alert TableStale watches tables that have it.",
    )
    rows_per_file_band: tuple[float, float] | None = Field(
        default=None, description="Bounds of this run's rows a file over the median of earlier runs'."
    )


class Partition(Strict):
    """An Iceberg partition transform of a column."""

    column: str
    transform: str = Field(pattern=rf"^({TRANSFORM.pattern})$")


class Bucket(Strict):
    """Iceberg's bucket transform of the key that queries name."""

    column: str
    count: int = Field(ge=1, le=4096)


class Images(Strict):
    """Which columns of an image index name the picture, its id and its label."""

    id: str
    path: str
    label: str


class Watch(Strict):
    """How the table is watched for drift."""

    period: Literal["hour", "day", "week", "month"] = Field(
        default="day",
        description="What of the rows is alike; of the event time, or of the commit without one.",
    )
    by: list[str] = Field(default=[], description="Columns whose values are watched apart.")
    current: int = Field(default=7, ge=1, description="Newest periods that are compared unless said.")
    reference: int = Field(default=56, ge=1, description="Periods before those that they are compared with.")


class Contract(Strict):
    """Everything that the ETL knows of one table."""

    dataset: Name
    table: Name
    description: str
    source: Source
    columns: dict[Name, Column]
    keys: list[str] = Field(default=[], description="Columns that are never null and unique together.")
    event_time: str | None = None
    rules: list[Rule] = Field(default=[])
    table_rules: TableRules = TableRules()
    partition: Partition | None = None
    bucket: Bucket | None = None
    sort: list[str] = Field(default=[])
    duplicates: Literal["drop", "keep"] = Field(
        description="Exact copies of a line within one file: `keep` where identical lines are real events."
    )
    images: Images | None = None
    watch: Watch = Watch()

    @property
    def identifier(self) -> str:
        """`dataset.table`."""
        return f"{self.dataset}.{self.table}"

    @property
    def references(self) -> set[str]:
        """Tables of the same data set that the rules refer to."""
        return {rule.references.split(".")[0] for rule in self.rules if rule.references}

    @property
    def layout(self) -> list[tuple[str, str]]:
        """(column, Iceberg transform) in the partition spec's order: time or value, then the bucket."""
        pairs = [(self.partition.column, self.partition.transform)] if self.partition else []
        return pairs + ([(self.bucket.column, f"bucket[{self.bucket.count}]")] if self.bucket else [])

    def row_rules(self) -> list[Rule]:
        """Every key is there, the contract's own rules, the keys are unique."""
        there = [Rule(name=f"missing_{key}", column=key, not_null=True) for key in self.keys]
        unique = [Rule(name="duplicate_key", unique=self.keys)] if self.keys else []
        return there + self.rules + unique

    @property
    def reading_rules(self) -> list[str]:
        """Names under which a line goes to quarantine that cannot be read as the columns' types."""
        cast = [f"bad_{n}" for n, c in self.columns.items() if c.is_read and c.type != "string"]
        return ["ragged_line", *cast, *(["picture_missing", "picture_unreadable"] if self.images else [])]

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        used: list[tuple[Place, Iterable[str | None]]] = [
            (("keys",), self.keys),
            (("sort",), self.sort),
            (("watch", "by"), self.watch.by),
            (("event_time",), [self.event_time]),
            (("partition", "column"), [self.partition.column] if self.partition else []),
            (("bucket", "column"), [self.bucket.column] if self.bucket else []),
            (("images",), [self.images.id, self.images.path, self.images.label] if self.images else []),
            *((("rules", n), [rule.column, *(rule.unique or [])]) for n, rule in enumerate(self.rules)),
        ]
        for place, names in used:
            for name in names:
                if name is not None and name not in self.columns:
                    raise FieldError(place, f"names column {name!r}, which the contract does not have")
        return self

    @model_validator(mode="after")
    def _rules_are_told_apart(self) -> Self:
        if len(set(self.keys)) != len(self.keys):
            raise FieldError(("keys",), "names a column twice")
        names = self.reading_rules + [rule.name for rule in self.row_rules()]
        for number, rule in enumerate(self.rules):
            if names.count(rule.name) > 1:
                message = f"the name {rule.name!r} is taken; a quarantined row must name one rule"
                raise FieldError(("rules", number), message)
            if rule.range and not rule.range.fits(self.columns[rule.column or ""].type):
                kind = self.columns[rule.column or ""].type
                message = f"{kind} column {rule.column!r} cannot be compared with {rule.range.bounds}"
                raise FieldError(("rules", number, "range"), message)
        return self

    @model_validator(mode="after")
    def _layout_is_possible(self) -> Self:
        if (self.source.format == "images") != (self.images is not None):
            raise FieldError(("source", "format"), "`images` and the source format `images` go together")
        for name in (name for name, column in self.columns.items() if column.picture and not self.images):
            raise FieldError(
                ("columns", name), "a picture's facts need `images` and the source format `images`"
            )
        if self.event_time and self.columns[self.event_time].type not in TIME_TYPES:
            raise FieldError(("event_time",), f"{self.event_time!r} is not a date or a time")
        if self.table_rules.max_age_days and not self.event_time:
            raise FieldError(
                ("table_rules", "max_age_days"), "is the age of the event_time, which is not set"
            )
        if self.partition:
            allowed = TIME_TYPES if self.partition.transform in ("year", "month", "day") else VALUE_TYPES
            if self.columns[self.partition.column].type not in allowed:
                message = f"{self.partition.transform} partitions {', '.join(allowed)} only"
                raise FieldError(("partition", "transform"), message)
        if self.bucket:
            self._bucket_is_icebergs(self.bucket.column)
        return self

    def _bucket_is_icebergs(self, column: str) -> None:
        """Spark's hash is Iceberg's for whole numbers, and for text of a length that four divides."""
        kind = self.columns[column].type
        if kind == "string" and not any(
            rule.column == column and rule.length and rule.length % 4 == 0 for rule in self.rules
        ):
            raise FieldError(
                ("bucket", "column"),
                f"{column!r} is text: add a rule with a `length` that is a multiple of four "
                "(Spark and Iceberg hash other lengths differently), or bucket by a whole number",
            )
        if kind not in VALUE_TYPES:
            raise FieldError(("bucket", "column"), f"{column!r} must be string, int or long, not {kind}")
