"""The runners' settings: where Spark jobs run, with what, and what they may cost."""

from typing import Literal

from pydantic import Field

from services.bento.config import BentoSettings

RunnerName = Literal["local"]


class RunnerSettings(BentoSettings):
    """Everything that runners can be told; each field's unit is in its name or its description."""

    runner: RunnerName = Field(
        default="local", description="Where Spark jobs run, unless a flow run says: local."
    )
    spark_cores: int = Field(default=0, ge=0, description="Cores for local Spark; 0 takes all there are.")
    spark_memory_mb: int = Field(default=2048, ge=512, description="Heap of local Spark, in MiB.")
    spark_log_level: str = Field(
        default="WARN",
        pattern="^(ERROR|WARN|INFO|DEBUG)$",
        description="Least severe level of Spark's driver log that reaches the run's log.",
    )
