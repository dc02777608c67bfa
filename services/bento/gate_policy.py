"""The gate's policy: `gate_policy.yaml`, refused where a field is missing, unknown or out of range."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from observability.errors import WatchkeeperError

POLICY = Path(__file__).with_name("gate_policy.yaml")
METRICS = {"classification": "macro_f1", "regression": "mean_absolute_error"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassRule(_Part):
    """When a class counts as worse."""

    minimum_rows: int = Field(ge=2)
    margin: float = Field(ge=0, lt=1)
    level: float = Field(gt=0, lt=0.5)


class LatencyRule(_Part):
    """How much slower the challenger may be."""

    ratio: float = Field(gt=0)
    floor_seconds: float = Field(ge=0)


class CalibrationRule(_Part):
    """How far probabilities may be from frequencies."""

    worse_by: float = Field(ge=0, le=1)
    at_most: float = Field(gt=0, le=1)


class FirstModelRule(_Part):
    """What the first model must show."""

    minimum_rows: int = Field(ge=2)
    macro_f1: float = Field(ge=0, le=1)
    error_reduction: float = Field(ge=0, lt=1)


class Policy(_Part):
    """The thresholds; `gate_policy.yaml` gives the reason of each."""

    task: Literal["classification", "regression"]
    metric: Literal["macro_f1", "mean_absolute_error"]
    level: float = Field(gt=0, lt=0.5)
    resamples: int = Field(ge=200)
    power: float = Field(ge=0.5, lt=1)
    minimum_rows: int = Field(ge=2)
    classes: ClassRule
    mcnemar_level: float = Field(gt=0, lt=1)
    latency: LatencyRule
    calibration: CalibrationRule
    first_model: FirstModelRule

    @model_validator(mode="after")
    def _metric_is_the_tasks(self) -> "Policy":
        if METRICS[self.task] != self.metric:
            raise ValueError(f"metric {self.metric} is not one of {self.task}; use {METRICS[self.task]}")
        return self


def load_policy(path: Path = POLICY) -> Policy:
    """Read a policy file.

    Raises:
        WatchkeeperError: it cannot be read, or a field is missing, unknown or out of range; both are named.
    """
    try:
        return Policy.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise WatchkeeperError(f"{path}: {name + ': ' if name else ''}{first['msg']}") from None
    except yaml.YAMLError as error:
        raise WatchkeeperError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise WatchkeeperError(f"{path} cannot be read: {error}") from None
