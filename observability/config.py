"""The watch's settings: where events are sent. The layers above extend this class."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ObservabilitySettings(BaseSettings):
    """Settings of the observability layer, read from `WATCHKEEPER_*` in the environment and `.env`."""

    model_config = SettingsConfigDict(
        env_prefix="WATCHKEEPER_", env_file=".env", env_ignore_empty=True, extra="ignore"
    )

    statsd_host: str = Field(default="127.0.0.1", description="Host that StatsD events are sent to.")
    exporter_port: int = Field(
        default=9877, ge=1, le=65535, description="Port of the exporter on 127.0.0.1, for Prometheus."
    )
    statsd_port: int = Field(
        default=9125, ge=1, le=65535, description="Port of StatsD; statsd_exporter's default."
    )
    statsd_protocol: Literal["udp", "tcp"] = Field(default="udp", description="udp, or tcp: slower, surer.")
