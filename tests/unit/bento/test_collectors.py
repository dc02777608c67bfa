"""What the exporter says of models is what the registry says."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from observability.metrics import (
    CHAMPION_CREATED,
    CHAMPION_INFO,
    CHAMPION_SCORE,
    CHAMPION_SINCE,
    PROMOTIONS,
    REFUSED,
)
from services.bento.collectors import champions
from services.bento.config import BentoSettings
from services.bento.ledger import Event
from services.bento.registry import Registry
from services.bento.store import open_store
from tests.said import Said
from tests.versions import write_version

START = datetime(2026, 11, 21, tzinfo=UTC)


def said(tmp_path: Path) -> Said:
    return Said(champions(BentoSettings(home=tmp_path)))


def registry_of(tmp_path: Path) -> Registry:
    settings = BentoSettings(home=tmp_path)
    hours = iter(range(100))
    made = Registry(
        open_store(settings.registry), "articles", clock=lambda: START + timedelta(hours=next(hours))
    )
    for version in "ab":
        scores = {"validation_macro_f1": 0.6} if version == "b" else {}
        made.add(write_version(tmp_path / version, version=version, created=START, metrics=scores))
    return made


def test_nothing_is_said_of_an_empty_registry(tmp_path: Path) -> None:
    assert list(champions(BentoSettings(home=tmp_path))) == []


def test_a_model_without_a_champion_has_no_series_of_one(tmp_path: Path) -> None:
    registry_of(tmp_path).append("rejected", "a")
    found = said(tmp_path)
    assert found.of(REFUSED, model="articles") == 1
    assert found.of(PROMOTIONS, model="articles") == 0
    assert found.of(CHAMPION_SINCE, model="articles") is None


def test_the_champion_and_its_challengers(tmp_path: Path) -> None:
    registry = registry_of(tmp_path)
    registry.append("rejected", "a")
    registry.promote("b", None)
    promoted = registry.history()[-1].when
    events: tuple[Event, ...] = ("rejected", "inconclusive", "packaged", "error")
    for event in events:
        registry.append(event, "a")
    found = said(tmp_path)
    assert found.of(CHAMPION_INFO, model="articles", version="b") == 1
    assert found.of(CHAMPION_SINCE, model="articles") == promoted.timestamp()
    assert found.of(CHAMPION_CREATED, model="articles") == START.timestamp()
    assert found.of(CHAMPION_SCORE, model="articles") == 0.6
    assert found.of(REFUSED, model="articles") == 3, "since the last promotion"
    assert found.of(PROMOTIONS, model="articles") == 1


def test_after_a_rollback_the_version_before_is_champion_since_then(tmp_path: Path) -> None:
    registry = registry_of(tmp_path)
    registry.promote("a", None)
    registry.promote("b", "a")
    registry.rollback()
    found = said(tmp_path)
    assert found.of(CHAMPION_INFO, model="articles", version="a") == 1
    assert found.of(CHAMPION_INFO, model="articles", version="b") is None
    assert found.of(CHAMPION_SINCE, model="articles") == registry.history()[-1].when.timestamp()
    assert found.of(PROMOTIONS, model="articles") == 2
