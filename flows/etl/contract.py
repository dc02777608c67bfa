"""A table's contract: one YAML file in `flows/etl/contracts/<dataset>/`, refused where it is not understood.

A new data set is a new contract and no code. `load_dataset` reads a data set's contracts in the order in
which their tables must be loaded (a table after those that its rules refer to).
"""

import re
from collections.abc import Hashable, Iterable
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from flows.errors import WatchkeeperError

NAME = re.compile(r"[a-z][a-z0-9_]*")
TYPE = re.compile(
    r"string|int|long|double|boolean|date|timestamp|timestamptz|decimal\((\d{1,2}),\s*(\d{1,2})\)"
)
TRANSFORM = re.compile(r"identity|year|month|day|truncate\[[1-9]\d*\]")
TIME_TYPES = ("date", "timestamp", "timestamptz")
VALUE_TYPES = ("string", "int", "long")
WITHOUT_ORDER = ("string", "boolean")
SOURCE_COLUMN = "_source_file"

Place = tuple[int | str, ...]
Name = Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]


class FieldError(ValueError):
    """A refusal of more than one field's making; `place` is the field to look at."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place


class Strict(BaseModel):
    """Refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Strict):
    """Which files of the source folder belong to the table, and how they are written."""

    pattern: str = Field(description="Glob of the files' paths below the source folder, such as `*.csv.gz`.")
    format: Literal["csv", "jsonl", "parquet", "images"]
    delimiter: str = Field(default=",", min_length=1, max_length=1)


class Column(Strict):
    """One column: where its value comes from (a source column, a picture or an expression) and its type."""

    type: str
    source: str | None = Field(default=None, description="Its name in the files; its own name unless said.")
    optional: bool = Field(default=False, description="Files may lack the column; its value is then null.")
    format: str | None = Field(default=None, description="Spark pattern of a date or time, unless ISO 8601.")
    expression: str | None = Field(default=None, description="Spark SQL over the other columns.")
    picture: Literal["sha256", "width", "height", "bytes"] | None = Field(
        default=None, description="A fact of the row's picture, in pixels or bytes."
    )
    drift: bool | Name = Field(
        default=False, description="Watched for drift; columns of one name are watched together under it."
    )
    description: str | None = None

    @property
    def is_read(self) -> bool:
        """Whether its value stands in the files."""
        return self.expression is None and self.picture is None

    @field_validator("type")
    @classmethod
    def _known_type(cls, value: str) -> str:
        match = TYPE.fullmatch(value)
        if not match:
            raise ValueError(
                f"unknown type {value!r}; use string, int, long, double, boolean, date, timestamp, "
                "timestamptz or decimal(precision,scale)"
            )
        if match[1] and not (1 <= int(match[1]) <= 38 and int(match[2]) <= int(match[1])):
            raise ValueError(f"{value}: precision is at most 38 and scale at most the precision")
        return value.replace(" ", "")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(x is not None for x in (self.source, self.expression, self.picture)) > 1:
            raise ValueError("a column has one origin: source, expression or picture")
        if self.format and self.type not in TIME_TYPES:
            raise ValueError(f"format is for dates and times, not for {self.type}")
        if self.drift and self.type in TIME_TYPES:
            raise ValueError(f"drift is for numbers, texts and booleans, not for {self.type}")
        return self


class Range(Strict):
    """Inclusive bounds: numbers, or dates and times in ISO 8601."""

    min: float | int | str | None = None
    max: float | int | str | None = None

    @property
    def bounds(self) -> list[float | int | str]:
        """Those that are set."""
        return [bound for bound in (self.min, self.max) if bound is not None]

    def fits(self, kind: str) -> bool:
        """Whether the bounds can be compared with a column of this type; Spark would pass every row."""
        if kind not in TIME_TYPES:
            return kind not in WITHOUT_ORDER and not any(isinstance(bound, str) for bound in self.bounds)
        return all(isinstance(bound, str) and is_iso(bound) for bound in self.bounds)

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if not self.bounds:
            raise ValueError("a range needs min, max or both")
        if self.min is not None and self.max is not None and type(self.min) is type(self.max):
            low, high = self.min, self.max
            if low > high:  # type: ignore[operator]
                raise ValueError(f"min {low} is more than max {high}: no row could pass")
        return self


def is_iso(text: str) -> bool:
    """Whether a text is a date or a time as Spark reads it."""
    try:
        return bool(re.match(r"\d{4}-\d{2}-\d{2}", text) and datetime.fromisoformat(text))
    except ValueError:
        return False


RULE_KINDS = ("not_null", "range", "allowed", "pattern", "length", "references", "check", "unique")


class Rule(Strict):
    """A row that breaks it goes to quarantine under its name. A null breaks `not_null` only."""

    name: Name
    column: str | None = None
    not_null: Literal[True] | None = None
    range: Range | None = None
    allowed: list[str | int] | None = None
    pattern: str | None = Field(default=None, description="Java regular expression that the text must match.")
    length: int | None = Field(default=None, ge=1, description="Exact length in bytes of UTF-8.")
    references: str | None = Field(default=None, description="`table.column` of the same data set.")
    check: str | None = Field(default=None, description="Spark SQL that must not be false.")
    unique: list[str] | None = Field(
        default=None, min_length=1, description="Columns whose values no later row repeats."
    )

    @property
    def kind(self) -> str:
        """The one kind of rule that is set."""
        return next(kind for kind in RULE_KINDS if getattr(self, kind) is not None)

    @field_validator("allowed", mode="before")
    @classmethod
    def _no_booleans(cls, values: object) -> object:
        if isinstance(values, list) and any(isinstance(value, bool) for value in values):
            raise ValueError("YAML reads yes, no, true and false as booleans; quote them")
        return values

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [kind for kind in RULE_KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"rule {self.name!r} needs exactly one of {', '.join(RULE_KINDS)}")
        if (self.column is None) != (kinds[0] in ("check", "unique")):
            raise ValueError(f"rule {self.name!r}: `column` goes with every kind but check and unique")
        if self.references and not re.fullmatch(rf"{NAME.pattern}\.{NAME.pattern}", self.references):
            raise ValueError(f"rule {self.name!r}: references takes `table.column`, not {self.references!r}")
        return self


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
    rules: list[Rule] = []
    table_rules: TableRules = TableRules()
    partition: Partition | None = None
    bucket: Bucket | None = None
    sort: list[str] = []
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


class Loader(yaml.SafeLoader):
    """YAML in which a key is written once, and a date is text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """See PyYAML, which takes the last of two equal keys."""
        keys = [key for key, _ in node.value]
        for number, key in enumerate(keys):
            if key.value in [before.value for before in keys[:number]]:
                message = f"{key.value!r} is written twice"
                raise yaml.constructor.ConstructorError(None, None, message, key.start_mark)
        return super().construct_mapping(node, deep)


Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_contract(path: Path) -> Contract:
    """Read one contract.

    Raises:
        WatchkeeperError: unreadable, not YAML, or refused; names file, line where known, and field.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise WatchkeeperError(f"contract {path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise WatchkeeperError(f"contract {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise WatchkeeperError(f"contract {path} must be a mapping of fields, not {type(document).__name__}")
    try:
        for name in ("dataset", "table"):
            if name in document:
                raise refusal(path, [((name,), "the folder and the file name say it; remove it here")])
        return Contract.model_validate({"dataset": path.parent.name, "table": path.stem, **document})
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise refusal(path, [(place_of(f), f["msg"].removeprefix("Value error, ")) for f in faults]) from None


def place_of(fault: ErrorDetails) -> Place:
    """The field that pydantic or a validator of ours complains of."""
    cause = fault.get("ctx", {}).get("error")
    return fault["loc"] + (cause.place if isinstance(cause, FieldError) else ())


def refusal(path: Path, faults: Iterable[tuple[Place, str]]) -> WatchkeeperError:
    """The error that names the file, and each fault's line and field."""
    text = path.read_text(encoding="utf-8")
    lines = []
    for place, message in faults:
        line = _line_of(text, place)
        field = ".".join(str(part) for part in place) or "contract"
        lines.append(f"  {f'line {line}, ' if line else ''}{field}: {message}")
    return WatchkeeperError(f"contract {path} is refused:\n" + "\n".join(lines))


def _line_of(text: str, location: Place) -> int | None:
    """Line (from 1) of the deepest part of `location` that the YAML text holds."""
    node, line = yaml.compose(text), None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def datasets(folder: Path) -> list[str]:
    """Names of the data sets that have contracts."""
    return sorted({path.parent.name for path in folder.glob("*/*.yaml")})


def load_all(folder: Path) -> list[Contract]:
    """Every contract of every data set.

    Raises:
        WatchkeeperError: see `load_dataset`.
    """
    return [contract for dataset in datasets(folder) for contract in load_dataset(folder, dataset)]


def with_event_time(contracts: list[Contract]) -> list[Contract]:
    """Those tables that can be rebuilt by dates.

    Raises:
        WatchkeeperError: there are none.
    """
    found = [contract for contract in contracts if contract.event_time]
    if not found:
        names = ", ".join(contract.identifier for contract in contracts)
        raise WatchkeeperError(f"no event_time in the contracts of {names}: they cannot be rebuilt by dates")
    return found


def load_dataset(folder: Path, dataset: str) -> list[Contract]:
    """A data set's contracts, each after those whose tables it refers to.

    Raises:
        WatchkeeperError: no such data set, a refused contract, or references that form a circle.
    """
    known = datasets(folder)
    if dataset not in known:
        raise WatchkeeperError(
            f"no data set {dataset!r}: contracts exist for {', '.join(known) or 'none'} (in {folder})"
        )
    contracts = {path.stem: load_contract(path) for path in sorted((folder / dataset).glob("*.yaml"))}
    for contract in contracts.values():
        _refuse_dangling(contract, contracts, folder / dataset / f"{contract.table}.yaml")
    try:
        order = list(TopologicalSorter({name: c.references for name, c in contracts.items()}).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise WatchkeeperError(f"contracts of {folder / dataset} refer to each other: {circle}") from None
    return [contracts[name] for name in order]


def load_table(folder: Path, dataset: str, table: str) -> Contract:
    """One contract of a data set.

    Raises:
        WatchkeeperError: see `load_dataset`; or the data set has no such table.
    """
    contracts = {contract.table: contract for contract in load_dataset(folder, dataset)}
    if table not in contracts:
        raise WatchkeeperError(f"data set {dataset} has no table {table!r}; it has {', '.join(contracts)}")
    return contracts[table]


def _refuse_dangling(contract: Contract, contracts: dict[str, Contract], path: Path) -> None:
    """Every `references` rule names a table and a column that there are."""
    for number, rule in enumerate(contract.rules):
        table, _, column = (rule.references or "").partition(".")
        place = ("rules", number, "references")
        if table and table not in contracts:
            raise refusal(path, [(place, f"refers to {table!r}, which has no contract in {path.parent}")])
        if table and column not in contracts[table].columns:
            raise refusal(
                path, [(place, f"refers to {rule.references}, a column that {table} does not have")]
            )
