from pathlib import Path

import pytest

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.score.champion import find_champion
from services.bento.registry import Registry, model_meant
from services.bento.store import open_store
from tests.versions import IMAGE, TABULAR, image_model, write_version


def promoted(settings: Settings, folder: Path, model: str) -> None:
    registry = Registry(open_store(settings.registry), model)
    registry.promote(registry.add(folder), None)


def test_without_a_name_it_is_the_model_promoted_last(settings: Settings, tmp_path: Path) -> None:
    for model in ("zebras", "articles"):
        promoted(settings, write_version(tmp_path / model, model=model), model)
    assert model_meant(open_store(settings.registry), None) == "articles"
    assert model_meant(open_store(settings.registry), "zebras") == "zebras"
    assert find_champion(settings, "articles").version == "v1"


def test_no_champion_names_the_way_to_one(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(WatchkeeperError, match="task retrain"):
        model_meant(open_store(settings.registry), None)
    with pytest.raises(WatchkeeperError, match=r"model shirts has no champion .*`task retrain"):
        find_champion(settings, "shirts")
    promoted(settings, write_version(tmp_path / "v", model="articles"), "articles")
    Registry(open_store(settings.registry), "shirts").add(write_version(tmp_path / "w", model="shirts"))
    with pytest.raises(WatchkeeperError, match=r"shirts has no champion.* articles was promoted last"):
        find_champion(settings, "shirts")


def test_a_tabular_model_and_a_regression_are_refused(settings: Settings, tmp_path: Path) -> None:
    promoted(settings, write_version(tmp_path / "t", TABULAR, model="rows"), "rows")
    with pytest.raises(WatchkeeperError, match="model rows takes rows of features, not pictures"):
        find_champion(settings, "rows")
    number = image_model()
    number.graph.node[2].output[0] = number.graph.output[0].name = "value"
    number.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
    number.graph.initializer[0].CopyFrom(image_model().graph.initializer[0])
    del number.graph.output[1]
    fields = IMAGE | {"task": "regression", "outputs": ["value"], "classes": [], "embedding_size": None}
    promoted(settings, write_version(tmp_path / "n", fields, number, model="prices"), "prices")
    with pytest.raises(WatchkeeperError, match="model prices answers with numbers, not labels"):
        find_champion(settings, "prices")
