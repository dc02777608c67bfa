"""A model version is a folder, and its manifest says all of it: what goes in and out, from what, how good.

A version's name, its files' names and its numbers are checked here; the files themselves in `verify.py`.
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from pydantic import model_validator as validates

from observability.errors import WatchkeeperError

MANIFEST = "manifest.json"
REQUIRED = ("model.onnx", "reference.parquet", "trained_on.parquet", "card.md")
SESSION_FILES = (MANIFEST, "model.onnx")
"""All that answering needs of a version."""
MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
# A version's name carries a time with its T and Z.
VERSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


class ManifestError(WatchkeeperError):
    """A version that must not be loaded."""


def model_name(name: str) -> str:
    """The name, if it can be a model's. ValueError otherwise: names become paths and keys."""
    return _named(MODEL_NAME, "model", name)


def version_name(name: str) -> str:
    """The name, if it can be a version's. ValueError otherwise."""
    return _named(VERSION_NAME, "version", name)


def _named(pattern: re.Pattern[str], kind: str, name: str) -> str:
    if not pattern.fullmatch(name) or ".." in name:
        raise ValueError(f"{kind} {name!r}: use letters, digits, '_', '-' and single '.' ({pattern.pattern})")
    return name


def new_version(now: datetime, sha256_of_onnx: str) -> str:
    """A version's name: when and what, as `20261121T142233Z-1a2b3c4d`."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{sha256_of_onnx[:8]}"


def _utc(when: datetime) -> datetime:
    if when.utcoffset() != timedelta(0):
        raise ValueError("must be in UTC")
    return when


def _file_name(name: str) -> str:
    if not FILE_NAME.fullmatch(name) or name == MANIFEST:
        raise ValueError(f"{name!r} is no path of a file inside the version's folder")
    return name


UtcTime = Annotated[AwareDatetime, AfterValidator(_utc)]
ModelName = Annotated[str, AfterValidator(model_name)]
VersionName = Annotated[str, AfterValidator(version_name)]
FileName = Annotated[str, AfterValidator(_file_name)]
Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """What is written once: no unknown field, no change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageInput(Strict):
    """A batch of shape (n, height, width, channels): pixels from 0 to 255, times `scale`, plus `offset`."""

    kind: Literal["image"] = "image"
    height: int = Field(gt=0)
    width: int = Field(gt=0)
    channels: Literal[3] = 3
    scale: FiniteFloat
    offset: FiniteFloat

    @property
    def row(self) -> tuple[int, ...]:
        """Shape of one row of a batch."""
        return (self.height, self.width, self.channels)


class TabularInput(Strict):
    """A batch of shape (n, features): columns in this order."""

    kind: Literal["tabular"] = "tabular"
    features: list[Text] = Field(min_length=1)

    @property
    def row(self) -> tuple[int, ...]:
        """Shape of one row of a batch."""
        return (len(self.features),)


class Snapshot(Strict):
    """The state of the lake's table that a model was trained on."""

    table: str
    snapshot_id: int


class FileInfo(Strict):
    """What a file must be, byte for byte."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Manifest(Strict):
    """All there is to know of a version without loading it."""

    model: ModelName
    version: VersionName
    task: Literal["classification", "regression"]
    created: UtcTime
    input: Annotated[ImageInput | TabularInput, Field(discriminator="kind")]
    outputs: list[Text]
    classes: list[Text]
    embedding_size: int | None = Field(gt=0, le=32)
    metrics: dict[str, FiniteFloat]
    snapshot: Snapshot
    holdout_sha256: str | None
    code_revision: str
    training: dict[str, Any]
    files: dict[FileName, FileInfo]

    @validates(mode="after")
    def _is_consistent(self) -> "Manifest":
        for problem, wrong in self._problems().items():
            if wrong:
                raise ValueError(problem)
        return self

    def _problems(self) -> dict[str, bool]:
        classifies = self.task == "classification"
        return {
            "classes: at least two, each once, for a classification": classifies
            and (len(self.classes) < 2 or len(set(self.classes)) < len(self.classes)),
            "classes: none for a regression": not classifies and bool(self.classes),
            f"outputs: {self.answer!r} is missing": self.answer not in self.outputs,
            "outputs: a name twice": len(set(self.outputs)) < len(self.outputs),
            "embedding_size and the output 'embedding': one without the other": (
                (self.embedding_size is None) == ("embedding" in self.outputs)
            ),
            f"files: needs {', '.join(REQUIRED)}": not set(REQUIRED) <= self.files.keys(),
        }

    @property
    def answer(self) -> str:
        """The output that answers the task."""
        return "probabilities" if self.task == "classification" else "value"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a version's manifest, the last file of its folder."""
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Read a version's manifest.

    Raises:
        ManifestError: missing, truncated, an unknown or missing field, or fields that contradict each other.
    """
    path = folder / MANIFEST
    try:
        return parse_manifest(path.read_bytes(), str(path))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise ManifestError(f"{path} is missing; a version without a manifest is never loaded") from None


def parse_manifest(data: bytes, where: str) -> Manifest:
    """The manifest in these bytes; `where` is how an error calls them."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ManifestError(
            f"{where}: {place + ': ' if place else ''}{first['msg']}{more}; train the version again"
        ) from None
