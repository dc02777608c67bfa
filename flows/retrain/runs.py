"""Experiments: a record of every training and every trial, of the rejected ones too."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from services.bento.store import Store


@dataclass(frozen=True)
class Run:
    """One training or trial: from what, with what, and what came of it. `epochs` is its learning curve."""

    id: str
    kind: Literal["training", "trial"]
    when: str
    flow_run: str
    snapshot_id: int
    seed: int
    config: dict[str, Any]
    outcome: str
    seconds: float
    version: str | None = None
    scores: dict[str, float] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)


def record(store: Store, model: str, run: Run) -> None:
    """Keep a run; the same id again changes nothing."""
    store.create(f"{model}/runs/{run.id}.json", json.dumps(asdict(run), indent=1).encode())


def recorded(store: Store, model: str) -> list[Run]:
    """All runs of a model, oldest first."""
    keys = store.list(f"{model}/runs")
    return sorted((Run(**json.loads(store.read(key))) for key in keys), key=lambda run: (run.when, run.id))
