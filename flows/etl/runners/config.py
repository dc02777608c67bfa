"""The runners' settings: where Spark jobs run, with what, and what they may cost."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from services.bento.config import CHECKOUT, BentoSettings

RunnerName = Literal["local", "emr_serverless", "emr"]
STORE = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.-]+)*/?", re.ASCII)
"""A bucket as S3 names it, and a prefix that no engine has to quote."""


class RunnerSettings(BentoSettings):
    """Everything that runners can be told; each field's unit is in its name or its description."""

    store: str | None = Field(
        default=None,
        description="`s3://bucket/prefix` for lake, staging and quarantine, with Glue as the catalog; "
        "without it they are in the home, with SQLite.",
    )
    runner: RunnerName = Field(
        default="local",
        description="Where Spark jobs run, unless a flow run says: local, emr_serverless or emr.",
    )
    spark_cores: int = Field(default=0, ge=0, description="Cores for local Spark; 0 takes all there are.")
    spark_memory_mb: int = Field(default=2048, ge=512, description="Heap of local Spark, in MiB.")
    spark_log_level: str = Field(
        default="WARN",
        pattern="^(ERROR|WARN|INFO|DEBUG)$",
        description="Least severe level of Spark's driver log that reaches the run's log.",
    )
    spark_jars: str | None = Field(
        default=None,
        description="Jar files for local Spark, with commas between; hadoop-aws 3.3.4 and its AWS bundle let "
        "it read a store on S3.",
    )

    aws_region: str | None = Field(
        default=None, description="Region of EMR and the bucket; AWS's own variables and profile unless said."
    )
    owner: str = Field(
        default="watchkeeper",
        pattern=r"^[\w .:/=+@-]{1,128}$",
        description="Tag `owner` of what is created on AWS, beside project, flow and run.",
    )
    emr_store: str | None = Field(
        default=None,
        pattern="^s3://.+[^/]$",
        description="`s3://bucket/prefix` for the programs and the logs of EMR's jobs; "
        "where the store is, unless said.",
    )
    emr_release: str = Field(
        default="emr-7.12.0",
        pattern=r"^emr-7\.\d+\.\d+$",
        description="Release of EMR for what is created: Spark 3.5.6, Python 3.9 and 3.11.",
    )
    emr_python: str = Field(
        default="python3",
        description="Python of EMR's jobs, unless there is an archive; `python3` is 3.9.",
    )
    emr_archive: str | None = Field(
        default=None,
        pattern=r"^s3://.+\.tar\.gz$",
        description="Packed Python environment of EMR's jobs: batch scoring needs one.",
    )
    emr_timeout_minutes: int = Field(
        default=360, ge=1, description="Minutes after which a job of EMR is ended."
    )
    emr_driver_cores: int = Field(default=4, ge=1, description="Cores of the driver.")
    emr_driver_memory_gb: int = Field(default=14, ge=1, description="Memory of the driver, in GiB.")
    emr_executor_cores: int = Field(default=4, ge=1, description="Cores of an executor.")
    emr_executor_memory_gb: int = Field(default=14, ge=1, description="Memory of an executor, in GiB.")
    emr_executor_disk_gb: int = Field(
        default=20, ge=20, le=200, description="Disk of a worker of EMR Serverless, in GB; 20 are free."
    )
    emr_executors: int = Field(default=8, ge=1, description="Executors that a job has at most.")

    emr_serverless_application: str = Field(
        default="watchkeeper",
        pattern="^[A-Za-z0-9._/#-]{1,64}$",
        description="Id or name of the EMR Serverless application; created where none has the name.",
    )
    emr_serverless_role: str | None = Field(
        default=None,
        pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/.+$",
        description="ARN of the role that jobs of EMR Serverless run as.",
    )
    emr_serverless_image: str | None = Field(
        default=None, description="Image for the application, where it is created; EMR's own unless said."
    )
    emr_serverless_attempts: int = Field(
        default=1, ge=1, le=10, description="Attempts that EMR Serverless itself makes of a job."
    )
    emr_serverless_idle_minutes: int = Field(
        default=15, ge=1, le=10080, description="Idle minutes after which the application stops."
    )
    emr_serverless_vcpus: int = Field(
        default=64, ge=1, description="vCPUs that the application may use at once, where it is created."
    )

    emr_cluster: str | None = Field(
        default=None,
        pattern=r"^[\w .:/=+@-]{1,128}$",
        description="Id or name of a running EMR cluster for the jobs; without it each job gets its own.",
    )
    emr_service_role: str = Field(
        default="EMR_DefaultRole", description="Role of the service, for clusters that are created."
    )
    emr_instance_profile: str = Field(
        default="EMR_EC2_DefaultRole", description="Instance profile of their machines, which jobs run as."
    )
    emr_subnets: list[str] = Field(
        default=[], description="Subnets for them, as JSON: EMR takes the one with the most room."
    )
    emr_main_type: str = Field(default="m5.xlarge", description="Type of their main machine, on demand.")
    emr_worker_types: list[str] = Field(
        default=["m5.xlarge"], min_length=1, description="Types of their workers, as JSON."
    )
    emr_workers: int = Field(default=4, ge=1, description="Workers that such a cluster has at most.")
    emr_spot: bool = Field(
        default=True, description="Whether workers beyond the first are Spot, on demand where there is none."
    )

    emr_prices: Path = Field(
        default=CHECKOUT / "flows" / "etl" / "runners" / "prices.yaml",
        description="Dollars an hour by region and resource, with their date and source.",
    )
    budget_run_dollars: float | None = Field(
        default=None, gt=0, description="Dollars that the Spark jobs of one flow run may cost on AWS."
    )
    budget_day_dollars: float | None = Field(
        default=None, gt=0, description="Dollars that all of them may cost in one day, by UTC."
    )
    budget_action: Literal["warn", "stop"] = Field(
        default="warn",
        description="What follows where a budget is spent: warn, or stop: no job begins, and one is ended "
        "before it can cost more.",
    )

    @field_validator("store")
    @classmethod
    def _is_a_bucket(cls, said: str | None) -> str | None:
        if said is not None and not STORE.fullmatch(said):
            raise ValueError(
                "is s3://bucket or s3://bucket/prefix, of letters, digits and . _ - ; "
                "a folder of this machine is WATCHKEEPER_HOME"
            )
        return said
