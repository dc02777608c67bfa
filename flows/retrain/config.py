"""What a training is told: everything that changes a model, and nothing else."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.errors import WatchkeeperError


class TrainingConfig(BaseModel):
    """One training's configuration; it is stored with the model and in every record of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = Field(
        default="small",
        description="`small`, from scratch, or a network of keras.applications with ImageNet weights.",
    )
    height: int = Field(default=96, ge=16, le=512, description="Pixels that the model sees.")
    width: int = Field(default=72, ge=16, le=512, description="Pixels that the model sees.")
    filters: int = Field(default=32, ge=4, le=256, description="Of the small network's first stage.")
    epochs: int = Field(default=44, ge=1, le=1000)
    patience: int = Field(
        default=12, ge=1, description="Epochs at full size without a better validation loss."
    )
    batch_size: int = Field(default=32, ge=1, le=1024)
    learning_rate: float = Field(default=2e-3, gt=0, lt=1, description="Highest of the cosine schedule.")
    weight_decay: float = Field(default=0.02, ge=0, lt=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    mixup: float = Field(default=0.2, ge=0, description="Alpha of the Beta distribution; 0 switches it off.")
    augment: bool = Field(default=True, description="Flips, shifts, zooms, turns and light.")
    balance: Literal["none", "root"] = Field(
        default="root", description="Weigh rows by one over the root of their class's share, or not at all."
    )


def load_config(path: Path | None, **overrides: object) -> TrainingConfig:
    """Read a YAML file of fields; `overrides` that are not None go before it.

    Raises:
        WatchkeeperError: not such a file, an unknown field, or a value that a field refuses.
    """
    given: object = {}
    if path is not None:
        try:
            given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise WatchkeeperError(f"training config {path} cannot be read: {error}") from None
    if not isinstance(given, dict):
        raise WatchkeeperError(f"training config {path} holds no fields; write `epochs: 20`, a line a field")
    given |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return TrainingConfig(**given)
    except ValidationError as error:
        first = error.errors(include_input=True)[0]
        field = ".".join(map(str, first["loc"]))
        raise WatchkeeperError(
            f"training config {path or '(from the command line)'}: {field}={first['input']!r}: {first['msg']}"
        ) from None
