"""The watch's settings: where events are sent, where its servers listen. Layers above extend this class."""

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from observability.errors import WatchkeeperError

USER = "watchkeeper"
"""Who logs in at the pages of `task up`."""


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

    listen_host: str = Field(
        default="127.0.0.1", description="Address that the exporter and the relay listen on."
    )
    pager: Literal["alertmanager", "grafana"] = Field(
        default="alertmanager",
        description="Who sends alerts on: alertmanager as under `task watch`, grafana as under `task up`.",
    )
    prometheus_host: str = Field(
        default="127.0.0.1", description="Host of Prometheus, for Grafana and `task deadman`."
    )
    prometheus_password: SecretStr | None = Field(
        default=None, description="Password of its user `watchkeeper`, where it asks for one."
    )
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
    relay_host: str = Field(default="127.0.0.1", description="Host of the relay, for whoever tells it.")
    relay_port: int = Field(
        default=9876, ge=1, le=65535, description="Port of the relay to Slack on 127.0.0.1."
    )
    notifier: Literal["slack", "discord", "email"] = Field(
        default="slack", description="Where messages go: slack, discord or email."
    )
    slack_webhook: SecretStr | None = Field(
        default=None, description="Incoming webhook of the Slack channel; without it messages are only kept."
    )
    discord_webhook: SecretStr | None = Field(
        default=None, description="Webhook of the Discord channel, without the `/slack` at its end."
    )
    email_host: str | None = Field(default=None, description="Mail server that takes messages.")
    email_port: int = Field(default=587, ge=1, le=65535, description="Its port.")
    email_from: str = Field(default="watchkeeper@localhost", description="Who sends the messages.")
    email_to: str | None = Field(default=None, description="Who gets them; several with commas between.")
    email_user: str | None = Field(default=None, description="Who we are to the mail server.")
    email_password: SecretStr | None = Field(
        default=None, description="The user's password; sent only after STARTTLS."
    )
    slack_events: dict[str, list[Literal["start", "success", "failure"]]] = Field(
        default={},
        description="What is told of each flow's runs, `*` being all others, and of tasks named here; "
        "alerts tell of failed deployments anyway.",
    )
    deadman_seconds: float = Field(
        default=120,
        gt=0,
        description="Seconds of silence of Prometheus or the relay that `task deadman` tells.",
    )
    grafana_url: str = Field(
        default="http://127.0.0.1:3001",
        description="Grafana's address, for links in alerts and for the sync.",
    )
    grafana_token: SecretStr | None = Field(
        default=None, description="Token of a service account with the role Admin, for the sync."
    )
    runbook_url: str = Field(
        default="http://127.0.0.1:9876/runbooks",
        description="Folder of the runbooks, for links in alerts; the relay shows them.",
    )
    ec2_region: str | None = Field(
        default=None,
        description="Region whose EC2 and EMR hosts with the tag `project: watchkeeper` are watched.",
    )


def variables(settings: ObservabilitySettings) -> dict[str, str]:
    """What the settings were told, as the environment would have told it; secrets in plain text."""
    said = {}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if value is not None:
            plain = value.get_secret_value() if isinstance(value, SecretStr) else value
            text = json.dumps(plain) if isinstance(plain, dict | list) else str(plain)
            said[f"WATCHKEEPER_{name.upper()}"] = text
    return said


Checked = TypeVar("Checked", bound=ObservabilitySettings)


def checked(of: type[Checked], **said: Any) -> Checked:  # noqa: ANN401  # the fields check them
    """Read the settings from the environment and `.env`; `said` are a command's own values, which come first.

    Raises:
        WatchkeeperError: a value that a field refuses, named by its environment variable, or a `.env` that
            is not text.
    """
    try:
        return of(**said)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = "WATCHKEEPER_" + str(first["loc"][0]).upper()
        raise WatchkeeperError(f"setting {name}: {first['msg']}; see .env.example") from None
    except SettingsError as error:  # it names the field, not the value
        raise WatchkeeperError(f"setting that is no JSON: {error}; see .env.example") from None
    except UnicodeDecodeError as error:
        raise WatchkeeperError(f"{Path('.env').absolute()} is not UTF-8: {error.reason}") from None
