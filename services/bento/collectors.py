"""What the exporter says of models: read from the registry, which is the truth of them."""

from collections.abc import Iterator

from observability.exporter import Sample
from observability.metrics import (
    CHAMPION_CREATED,
    CHAMPION_INFO,
    CHAMPION_SCORE,
    CHAMPION_SINCE,
    PROMOTIONS,
    REFUSED,
)
from services.bento.config import BentoSettings
from services.bento.ledger import Entry
from services.bento.registry import Registry, models
from services.bento.store import open_store

VERDICTS = ("rejected", "inconclusive", "error")


def champions(settings: BentoSettings) -> Iterator[Sample]:
    """Of each model its champion and how its challengers fared; of one without a champion the latter."""
    store = open_store(settings.registry)
    for model in models(store):
        yield from of_model(Registry(store, model))


def of_model(registry: Registry) -> Iterator[Sample]:
    """One model."""
    label, history = {"model": registry.model}, registry.history()
    yield PROMOTIONS, label, sum(entry.event == "promoted" for entry in history)
    yield REFUSED, label, refused(history)
    moved = registry.champion()
    if moved is None or moved.champion is None:
        return
    manifest = registry.manifest(moved.champion)
    yield CHAMPION_INFO, {**label, "version": moved.champion}, 1.0
    yield CHAMPION_SINCE, label, moved.when.timestamp()
    yield CHAMPION_CREATED, label, manifest.created.timestamp()
    if "validation_macro_f1" in manifest.metrics:  # a trainer of somebody else's may say nothing
        yield CHAMPION_SCORE, label, manifest.metrics["validation_macro_f1"]


def refused(history: list[Entry]) -> int:
    """Verdicts against challengers since the last promotion."""
    count = 0
    for entry in history:
        if entry.event == "promoted":
            count = 0
        count += entry.event in VERDICTS
    return count
