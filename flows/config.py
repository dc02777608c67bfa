"""The flows' settings. Only this module and its siblings of the other layers read the environment."""

from functools import cached_property
from pathlib import Path

from pydantic import Field, SecretStr

from flows.etl.runners.config import RunnerSettings
from services.bento.config import CHECKOUT, read_settings

__all__ = ["CHECKOUT", "Settings", "load_settings"]


class Settings(RunnerSettings):
    """Everything that the flows can be told; each field's unit is in its name or its description."""

    contracts: Path = Field(
        default=CHECKOUT / "flows" / "etl" / "contracts",
        description="Folder of the contracts, one `<dataset>/<table>.yaml` a table.",
    )
    prefect_api_url: str | None = Field(
        default=None,
        description="A shared Prefect server to report to; without it, the server that belongs to the home.",
    )
    prefect_api_key: SecretStr | None = Field(default=None, description="API key of that shared server.")
    prefect_auth_string: SecretStr | None = Field(
        default=None, description="`user:password` of it, where it asks for one instead of a key."
    )
    prefect_ui_url: str | None = Field(
        default=None, description="Address of its pages, for links; where its API is, unless said."
    )
    snapshot_retention_days: float = Field(
        default=30, gt=0, description="Days that a superseded lake snapshot stays readable."
    )
    listing_seconds: float = Field(
        default=60,
        gt=0,
        description="Seconds for which the exporter's reading of contracts and folders is good.",
    )
    orphan_age_hours: float = Field(
        default=24,
        gt=0,
        description="Hours before maintenance removes what nothing refers to; longer than any run or query.",
    )

    orphan_overdue_hours: float = Field(
        default=48,
        ge=0,
        description="Hours after that from which the watch tells of such a file: two nightly maintenances.",
    )

    @cached_property
    def lake(self) -> Path:
        """The lake: the catalog, one folder a table, and the raw zone."""
        return self.home / "lake"

    @cached_property
    def raw(self) -> Path:
        """The raw zone: every file that ever arrived, under its sha256."""
        return self.lake / "raw"

    @cached_property
    def staging(self) -> Path:
        """A folder a run: the job's arguments and its summary."""
        return self.home / "staging"

    @cached_property
    def jobs(self) -> Path:
        """What is remembered of Spark jobs that run elsewhere, where every worker finds it."""
        return self.staging.parent / "jobs"

    @cached_property
    def quarantine(self) -> Path:
        """Rows that broke a rule, one Parquet file a run and table."""
        return self.home / "quarantine"

    @cached_property
    def training(self) -> Path:
        """Decoded pictures and unfinished trainings; may be deleted at any time."""
        return self.home / "training"

    @cached_property
    def drift(self) -> Path:
        """Verdicts with their reports, a folder a subject, and the scales that profiles count on."""
        return self.home / "drift"

    @cached_property
    def prefect(self) -> Path:
        """Prefect's own home: its profile and SQLite database."""
        return self.home / "prefect"

    @cached_property
    def run(self) -> Path:
        """What is running now: `server.json` names the Prefect server of this home."""
        return self.home / "run"

    @cached_property
    def logs(self) -> Path:
        """Logs of the servers that belong to this home."""
        return self.home / "logs"


def load_settings() -> Settings:
    """Read the settings from the environment and `.env`; a `WatchkeeperError` names a refused value."""
    return read_settings(Settings)
