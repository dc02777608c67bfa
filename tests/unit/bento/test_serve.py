"""`task serve` hands its settings to the server's process as they can be read there."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.bento.config import BentoSettings
from services.bento.serve import environment


def test_every_kind_of_setting_arrives_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {
        "home": tmp_path,
        "slack_events": {"*": [], "etl": ["start", "failure"]},
        "slack_webhook": SecretStr("https://h.example/word"),
        "serve_port": 3333,
        "notifier": "email",
    }
    said = environment(BentoSettings(_env_file=None, **given))  # type: ignore[call-arg]
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    read = BentoSettings(_env_file=None)  # type: ignore[call-arg]
    assert {name: getattr(read, name) for name in given} == given
