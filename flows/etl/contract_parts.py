"""The parts of a contract that a row meets: columns, bounds and rules, each refused where it is none."""

import re
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

NAME = re.compile(r"[a-z][a-z0-9_]*")
TYPE = re.compile(
    r"string|int|long|double|boolean|date|timestamp|timestamptz|decimal\((\d{1,2}),\s*(\d{1,2})\)"
)
TIME_TYPES = ("date", "timestamp", "timestamptz")
WITHOUT_ORDER = ("string", "boolean")

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
