"""What Prometheus and Alertmanager read, written into a folder from the settings and the rules."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from observability.config import ObservabilitySettings
from observability.prometheus.rules import quicker, rendered

INTERVAL = "15s"
"""Between two scrapes, and between two evaluations."""
FASTEST = 5.0
"""Seconds of it at any pace."""
PATHS = {"prefect": "/api/metrics"}
"""Of jobs whose metrics are not at `/metrics`."""
SECRET_FILES = {"serve": "serve.token"}
"""Of jobs that may ask for a bearer token."""
JOBS = ("prometheus", "alertmanager", "relay", "node", "statsd", "exporter", "serve", "prefect")
GROUPED: dict[str, Any] = {
    "group_by": ["alertname"],
    "group_wait": "10s",
    "group_interval": "1m",
    "repeat_interval": "4h",
}
"""One alert's instances are one message, in Alertmanager and in Grafana."""
PAST_RELAY = "RelayDown|RelayUndelivered|PageWithoutRelay"
"""Alerts that the relay cannot be trusted with."""
REFUSING = "webhook|relay"
"""Of NotificationsFailing, the integrations that go past the relay: it takes nothing, or is refused."""
PAST_RELAY_GROUPED = [*GROUPED["group_by"], "fires"]
"""Each page that the relay does not tell is a message of its own."""
NATIVE = "native"
"""The receiver that reaches Slack without the relay."""
# No markup: Grafana does not ask Slack to read any in an attachment's text (`mrkdwn_in` of grafana/alerting
# receivers/slack; its issue 137). A bare address is a link everywhere.
NATIVE_TITLE = "{{ .CommonLabels.alertname }}: {{ .Status }}"
NATIVE_TEXT = """\
{{ range .Alerts }}{{ .Annotations.summary }}
{{ .Annotations.description }}
{{ range (.Labels.Remove (stringSlice "alertname" "severity" "owner" "grafana_folder")).SortedPairs }}\
{{ .Name }}={{ .Value }} {{ end }}
{{ .Labels.severity }}, since {{ .StartsAt.UTC.Format "2006-01-02 15:04" }} UTC
Runbook: {{ .Annotations.runbook_url }}
Dashboard: {{ .Annotations.dashboard_url }}
{{ end }}"""
"""What it says, of Alertmanager and of Grafana: what, where, how bad, since when, and the links."""


def write(
    folder: Path,
    settings: ObservabilitySettings,
    targets: Mapping[str, str],
    secrets: Mapping[str, SecretStr],
    pace: float = 1.0,
) -> None:
    """Write `prometheus.yml`, `rules.yml`, `alertmanager.yml` and a target file a job.

    Target files of other names, such as `targets/node-etl.yml`, are the user's own and stay.

    Args:
        folder: made where it is not there.
        settings: of ports, links and discovery.
        targets: host and port of each job that there is.
        secrets: bearer tokens by job.
        pace: windows, `for` and intervals are divided by it.
    """
    logins = {job: {"authorization": {"credentials_file": SECRET_FILES[job]}} for job in secrets}
    write_prometheus(folder, settings, targets, logins, pace)
    write_yaml(folder / "alertmanager.yml", alertmanager(settings, folder / "slack.url", pace))
    for job, secret in secrets.items():
        write_secret(folder / SECRET_FILES[job], secret)
    if settings.slack_webhook:
        write_secret(folder / "slack.url", settings.slack_webhook)


def write_prometheus(
    folder: Path,
    settings: ObservabilitySettings,
    targets: Mapping[str, str],
    logins: Mapping[str, dict[str, Any]],
    pace: float = 1.0,
) -> None:
    """Write what Prometheus alone reads: `prometheus.yml`, `rules.yml` and a target file a job.

    Args:
        logins: how to log in at each job that asks for it, in the words of its scrape configuration.
    """
    (folder / "targets").mkdir(parents=True, exist_ok=True)
    write_yaml(folder / "rules.yml", {"groups": rendered(settings, pace)})
    write_yaml(folder / "prometheus.yml", prometheus(settings, logins, pace))
    for job in jobs(settings):
        listed = [{"targets": [targets[job]]}] if job in targets else []
        write_yaml(folder / "targets" / f"{job}.yml", listed)


def jobs(settings: ObservabilitySettings) -> list[str]:
    """Every job; of the two that may send alerts on, the one that does."""
    return [settings.pager if job == "alertmanager" else job for job in JOBS]


def prometheus(
    settings: ObservabilitySettings, logins: Mapping[str, dict[str, Any]], pace: float = 1.0
) -> dict[str, Any]:
    """Prometheus's configuration; where Grafana sends alerts on, it sends none."""
    interval = quicker(INTERVAL, pace, FASTEST)
    receivers = [{"static_configs": [{"targets": [f"127.0.0.1:{settings.alertmanager_port}"]}]}]
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": receivers if settings.pager == "alertmanager" else []},
        "scrape_configs": [scraped(settings, job) | logins.get(job, {}) for job in jobs(settings)],
    }


def scraped(settings: ObservabilitySettings, job: str) -> dict[str, Any]:
    """One job: its targets by file, hosts also as EC2 knows them."""
    config: dict[str, Any] = {
        "job_name": job,
        "metrics_path": PATHS.get(job, "/metrics"),
        "file_sd_configs": [{"files": [f"targets/{job}.yml", f"targets/{job}-*.yml"]}],
    }
    if job == "node" and settings.ec2_region:
        # EMR gives its instances the cluster's tags, so this finds them too.
        tagged = [{"name": "tag:project", "values": ["watchkeeper"]}]
        running = [{"name": "instance-state-name", "values": ["running"]}]
        config["ec2_sd_configs"] = [
            {"region": settings.ec2_region, "port": settings.node_exporter_port, "filters": tagged + running}
        ]
        config["relabel_configs"] = [
            named("__meta_ec2_instance_id", "instance"),
            named("__meta_ec2_tag_aws_elasticmapreduce_job_flow_id", "cluster"),
        ]
    return config


def named(source: str, label: str) -> dict[str, Any]:
    """A label from what discovery says; untouched where it says nothing."""
    return {"source_labels": [source], "regex": "(.+)", "target_label": label}


def alertmanager(settings: ObservabilitySettings, webhook: Path, pace: float = 1.0) -> dict[str, Any]:
    """Alertmanager's configuration: all to the relay, and past it what it cannot tell.

    Args:
        settings: of the relay's port, and whether there is a webhook.
        webhook: the file that holds it; Alertmanager takes a relative one from where it was started.
        pace: intervals are divided by it.
    """
    relay = {"url": f"http://127.0.0.1:{settings.relay_port}/alerts", "send_resolved": True}
    native: dict[str, Any] = {"name": NATIVE}
    if settings.slack_webhook:
        native["slack_configs"] = [
            {
                "api_url_file": str(webhook),
                "send_resolved": True,
                "title": NATIVE_TITLE,
                "title_link": "{{ .CommonAnnotations.runbook_url }}",
                "text": NATIVE_TEXT,
            }
        ]
    return {
        "route": {
            "receiver": "relay",
            **GROUPED,
            "group_wait": quicker(GROUPED["group_wait"], pace),
            "group_interval": quicker(GROUPED["group_interval"], pace, 1.0),
            "routes": [
                {
                    "matchers": [f'alertname=~"{PAST_RELAY}"'],
                    "receiver": NATIVE,
                    "group_by": PAST_RELAY_GROUPED,
                },
                {
                    "matchers": ['alertname="NotificationsFailing"', f'integration=~"{REFUSING}"'],
                    "receiver": NATIVE,
                    "group_by": PAST_RELAY_GROUPED,
                },
                {"matchers": ['severity="info"'], "receiver": "relay", "repeat_interval": "7d"},
            ],
        },
        "receivers": [{"name": "relay", "webhook_configs": [relay]}, native],
    }


def write_yaml(path: Path, content: Any) -> None:  # noqa: ANN401
    """Write a file that a server may be reading: whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(yaml.safe_dump(content, sort_keys=False, width=1000), encoding="utf-8")
    new.replace(path)


def write_secret(path: Path, secret: SecretStr) -> None:
    """Write a file that only its owner can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret.get_secret_value())
