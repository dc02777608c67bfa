"""Settings as the environment would have told them, for processes that are started elsewhere."""

from pathlib import Path

import pytest

from flows.config import Settings
from observability.config import variables
from tests.factories import settings_of


def test_settings_survive_the_way_through_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = settings_of(
        tmp_path,
        emr_subnets=["subnet-1", "subnet-2"],
        slack_events={"etl": ["failure"]},
        serve_token="hidden-word",
        work_pool="night",
    )
    for name, value in variables(said).items():
        monkeypatch.setenv(name, value)
    read = Settings(_env_file=None)  # type: ignore[call-arg]

    def told(settings: Settings) -> dict[str, object]:
        return settings.model_dump(exclude_unset=True, exclude_none=True)

    assert told(read) == told(said)
