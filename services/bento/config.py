"""The service's settings: what is served, where, and how much of it at once."""

from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, SecretStr

from observability.config import ObservabilitySettings, checked

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGED = "version"
"""A version's folder within a model of BentoML's store: BentoML keeps a file of its own beside it."""


class BentoSettings(ObservabilitySettings):
    """Everything that serving can be told; each field's unit is in its name or its description."""

    home: Path = Field(
        default=CHECKOUT / ".watchkeeper",
        description="Folder that holds all state: lake, landing, staging, quarantine, Prefect's database.",
    )
    model: str | None = Field(
        default=None,
        description="Name of the model to serve; without it a Bento answers with the version it carries.",
    )
    serve_host: str = Field(default="127.0.0.1", description="Address that the service listens on.")
    serve_port: int = Field(default=3000, ge=1, le=65535, description="Port of the service.")
    serve_workers: int = Field(default=0, ge=0, description="Processes that answer; 0 takes all cores.")
    serve_token: SecretStr | None = Field(
        default=None, description="Bearer token that guards everything but /livez and /readyz."
    )
    serve_queue: int = Field(
        default=24, ge=1, description="Inputs that a worker holds for long; more are answered with 429."
    )
    serve_burst: int = Field(
        default=96, ge=1, description="Inputs that a worker holds where its queue is full for under a second."
    )
    serve_batch: int = Field(default=8, ge=1, description="Inputs that a worker gives the model at once.")
    serve_body_mb: int = Field(default=10, ge=1, description="Largest request body, in MiB.")
    serve_megapixels: int = Field(default=24, ge=1, description="Largest picture, in millions of pixels.")
    serve_timeout_seconds: float = Field(
        default=10, gt=0, description="Seconds for a body to arrive, and again for its answer."
    )
    serve_poll_seconds: float = Field(
        default=0.5, gt=0, description="Seconds between two looks of a worker at who is champion."
    )
    serve_log_rows: int = Field(
        default=1000, ge=1, description="Answers that one file of the prediction log holds at most."
    )
    serve_log_seconds: float = Field(
        default=10, gt=0, description="Seconds after which the prediction log is written, however short."
    )
    probation_seconds: float = Field(
        default=300, ge=0, description="Seconds that a new champion is on probation; 0 for none."
    )
    probation_error_ratio: float = Field(
        default=0.05, gt=0, le=1, description="Share of answers that fail which ends a probation."
    )
    probation_latency_ratio: float = Field(
        default=2.0,
        gt=1,
        description="Seconds an input, by those of the champion before, that end a probation.",
    )
    shadow_version: str | None = Field(
        default=None, description="Version that answers beside the champion, logged and never returned."
    )
    shadow_share: float = Field(
        default=0.1, gt=0, le=1, description="Share of the requests that the shadow version sees."
    )

    @property
    def max_pixels(self) -> int:
        """Of a picture in a request."""
        return self.serve_megapixels * 1_000_000

    @cached_property
    def registry(self) -> Path:
        """The models: versions, ledger and runs, one folder a model."""
        return self.home / "registry"

    @cached_property
    def landing(self) -> Path:
        """Where sources are looked for when none is named: one folder a dataset."""
        return self.home / "landing"

    @cached_property
    def bento(self) -> Path:
        """BentoML's home: its store of models and Bentos."""
        return self.home / "bento"


Settings = TypeVar("Settings", bound=BentoSettings)


def read_settings(of: type[Settings], **said: Any) -> Settings:  # noqa: ANN401  # the fields check them
    """Read the settings from the environment and `.env`; `said` are a command's own values, which come first.

    Raises:
        WatchkeeperError: a value that a field refuses, named by its environment variable, or a `.env` that
            is not text.
    """
    settings = checked(of, **said)
    settings.home = settings.home.expanduser().absolute()
    return settings
