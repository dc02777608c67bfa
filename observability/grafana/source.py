"""Everything that Grafana is told, once: the files and the sync are made of it."""

from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from observability.config import ObservabilitySettings
from observability.grafana import notify, rules
from observability.grafana.dashboards import dashboards
from observability.grafana.dashboards.panels import SOURCE
from observability.prometheus.files import INTERVAL
from observability.prometheus.rules import rendered

Body = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """What there is to be in Grafana, in the words of its API."""

    data_source: Body
    mute_timings: list[Body]
    templates: list[Body]
    contact_points: list[Body]
    policies: Body
    dashboards: list[Body]
    rules: list[Body]

    @property
    def groups(self) -> list[str]:
        """The rule groups' names, in their order."""
        return list(dict.fromkeys(rule["ruleGroup"] for rule in self.rules))


def source(settings: ObservabilitySettings, slack: SecretStr | str | None) -> Source:
    """All of it.

    Args:
        settings: of links and ports.
        slack: the webhook of the native contact point, or what Grafana's files expand to it.
    """
    return Source(
        data_source={
            "name": "Prometheus",
            "uid": SOURCE,
            "type": SOURCE,
            "access": "proxy",
            "url": f"http://{settings.prometheus_host}:{settings.prometheus_port}",
            "jsonData": {"httpMethod": "POST", "timeInterval": INTERVAL},
        },
        mute_timings=notify.mute_timings(),
        templates=notify.templates(),
        contact_points=notify.contact_points(settings, slack),
        policies=notify.policies(native=slack is not None),
        dashboards=dashboards(),
        rules=rules.converted(rendered(settings)),
    )
