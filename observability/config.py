"""The watch's settings: where events are sent, where its servers listen. Layers above extend this class."""

from typing import Literal

from pydantic import Field, SecretStr
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

    prometheus_port: int = Field(
        default=9090,
        ge=1,
        le=65535,
        description="Port of Prometheus on 127.0.0.1, where `task watch` starts it.",
    )
    alertmanager_port: int = Field(
        default=9093, ge=1, le=65535, description="Port of Alertmanager on 127.0.0.1, as above."
    )
    node_exporter_port: int = Field(
        default=9100, ge=1, le=65535, description="Port of node-exporter on 127.0.0.1, as above."
    )
    statsd_metrics_port: int = Field(
        default=9102, ge=1, le=65535, description="Port of statsd_exporter's metrics on 127.0.0.1, as above."
    )
    relay_port: int = Field(
        default=9876, ge=1, le=65535, description="Port of the relay to Slack on 127.0.0.1."
    )
    slack_webhook: SecretStr | None = Field(
        default=None, description="Incoming webhook of the Slack channel; without it messages are only kept."
    )
    grafana_url: str = Field(
        default="http://127.0.0.1:3001",
        description="Grafana's address, for links in alerts and for the sync.",
    )
    runbook_url: str = Field(
        default="http://127.0.0.1:9876/runbooks",
        description="Folder of the runbooks, for links in alerts; the relay shows them.",
    )
    ec2_region: str | None = Field(
        default=None,
        description="Region whose EC2 and EMR hosts with the tag `project: watchkeeper` are watched.",
    )
