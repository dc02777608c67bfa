"""`.env.example` shows every setting with its default, and cannot be stale unnoticed."""

import re
from pathlib import Path

import pytest

from flows import env_example
from flows.config import CHECKOUT, Settings

SETTING = re.compile(r"^#(WATCHKEEPER_[A-Z0-9_]+)=(.*)$", re.MULTILINE)


def test_the_file_is_what_the_settings_say() -> None:
    assert env_example.FILE.read_text(encoding="utf-8") == env_example.render()


def test_every_setting_is_there_once_and_described() -> None:
    names = [name for name, _ in SETTING.findall(env_example.render())]
    assert names == [f"WATCHKEEPER_{name.upper()}" for name in Settings.model_fields]
    for name, field in Settings.model_fields.items():
        assert field.description is not None, name
        assert f"# {field.description}\n#WATCHKEEPER_{name.upper()}=" in env_example.render()


def test_every_line_is_a_comment_so_that_a_copy_changes_nothing() -> None:
    assert all(line.startswith("#") for line in env_example.render().splitlines() if line)


def test_every_value_without_its_comment_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"WATCHKEEPER_{name.upper()}", raising=False)
    uncommented = SETTING.sub(r"\1=\2", env_example.render())
    (tmp_path / ".env").write_text(uncommented, encoding="utf-8")
    monkeypatch.chdir(CHECKOUT)  # where its paths start
    shown = Settings(_env_file=tmp_path / ".env")  # type: ignore[call-arg]
    default = Settings(_env_file=None)  # type: ignore[call-arg]
    for name in Settings.model_fields:
        value, expected = getattr(shown, name), getattr(default, name)
        assert (value.absolute() if isinstance(value, Path) else value) == expected, name


def test_no_path_of_this_machine_is_in_it() -> None:
    assert str(CHECKOUT) not in env_example.render()
    assert str(Path.home()) + "/" not in env_example.render()
