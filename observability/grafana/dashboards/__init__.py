"""The dashboards as code: Grafana's own typed builders, compiled to JSON that is committed."""

import json
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from observability.grafana.dashboards import model, nodes, overview, pipelines, serving, watch


def dashboards() -> list[dict[str, Any]]:
    """Every dashboard as Grafana reads it."""
    modules = (overview, pipelines, model, serving, nodes, watch)
    return [json.loads(json.dumps(module.render(), cls=JSONEncoder)) for module in modules]
