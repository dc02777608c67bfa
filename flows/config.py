"""The flows' settings. Only this module and its siblings of the other layers read the environment."""

import os
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from flows.etl.runners.config import RunnerSettings
from flows.s3_path import AnyPath, S3Path
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
    athena_workgroup: str = Field(
        default="watchkeeper", description="Athena's workgroup: where results go, how much a query may read."
    )
    athena_dollars_per_tb: float = Field(
        default=5.0,
        ge=0,
        description="Price of Athena, dollars a terabyte read; us-east-1 and eu-west-1, 2026-11.",
    )
    serve_url: str | None = Field(
        default=None,
        description="Where the health flow asks the service; its host and port of above, unless said.",
    )
    grafana_api_url: str | None = Field(
        default=None,
        description="Where the health flow asks Grafana, where that is not the address for links.",
    )
    work_pool: str = Field(
        default="watchkeeper", description="Prefect work pool that the deployments run in."
    )
    work_pool_type: Literal["process", "kubernetes"] = Field(
        default="process", description="What it starts a run as: process (of a worker) or kubernetes (a pod)."
    )
    kubernetes_namespace: str = Field(default="watchkeeper", description="Where such pods run.")
    kubernetes_image: str = Field(
        default="watchkeeper:local", description="Image of such pods, of deployments/local/Dockerfile."
    )
    repository: str | None = Field(
        default=None,
        description="Git repository that each run clones its code from; without it, the worker's own code.",
    )
    branch: str | None = Field(
        default=None, description="Its branch; the repository's own choice unless said."
    )
    repository_token: SecretStr | None = Field(
        default=None, description="Token for it over https; `task deploy` keeps it in a Prefect Secret block."
    )
    repository_block: str | None = Field(
        default=None,
        description="Name of that block, `watchkeeper-repository` unless said; yours, where no token is set.",
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
    def shared(self) -> AnyPath:
        """Where lake, staging and quarantine are: the store, or else the home."""
        return S3Path(self.store) if self.store else self.home

    @cached_property
    def lake(self) -> AnyPath:
        """The lake: the catalog (where it is SQLite), one folder a table, and the raw zone."""
        return self.shared / "lake"

    @cached_property
    def raw(self) -> AnyPath:
        """The raw zone: every file that ever arrived, under its sha256."""
        return self.lake / "raw"

    @cached_property
    def staging(self) -> AnyPath:
        """A folder a run: the job's arguments and its summary."""
        return self.shared / "staging"

    @cached_property
    def jobs(self) -> AnyPath:
        """What is remembered of Spark jobs that run elsewhere, where every worker finds it."""
        return self.shared / "jobs"

    @cached_property
    def quarantine(self) -> AnyPath:
        """Rows that broke a rule, one Parquet file a run and table."""
        return self.shared / "quarantine"

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
    settings = read_settings(Settings)
    if settings.aws_region:
        os.environ["AWS_REGION"] = settings.aws_region  # for whatever asks AWS's own variables
    return settings
