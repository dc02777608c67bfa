"""Settings come from the environment and `.env`; a bad one is named, a secret is never shown."""

import json
import os
import pprint
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from flows.config import CHECKOUT, Settings, load_settings
from flows.errors import WatchkeeperError
from observability.config import ObservabilitySettings

KEY = "pnu_not-for-anyones-eyes"


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the user's settings, and a folder without `.env`."""
    for name in [name for name in os.environ if name.upper().startswith("WATCHKEEPER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_without_any_setting_everything_stays_in_the_checkout() -> None:
    settings = load_settings()
    assert settings.home == CHECKOUT / ".watchkeeper"
    assert settings.contracts == CHECKOUT / "flows" / "etl" / "contracts"
    assert settings.prefect_api_url is None


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("WATCHKEEPER_SPARK_CORES=1\nWATCHKEEPER_SPARK_MEMORY_MB=600\nOTHER=x\n")
    monkeypatch.setenv("WATCHKEEPER_SPARK_CORES", "2")
    settings = load_settings()
    assert (settings.spark_cores, settings.spark_memory_mb) == (2, 600)


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHKEEPER_SPARK_CORES", "")
    monkeypatch.setenv("WATCHKEEPER_PREFECT_API_URL", "")
    assert load_settings().spark_cores == Settings.model_fields["spark_cores"].default
    assert load_settings().prefect_api_url is None


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("WATCHKEEPER_HOME=/srv/ä\n".encode("latin-1"))
    with pytest.raises(WatchkeeperError, match=r"/\.env is not UTF-8: "):
        load_settings()


def test_the_layers_share_one_prefix() -> None:
    assert issubclass(Settings, ObservabilitySettings)
    assert Settings.model_config["env_prefix"] == "WATCHKEEPER_"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("STATSD_PORT", "nine", "Input should be a valid integer"),
        ("STATSD_PORT", "0", "Input should be greater than or equal to 1"),
        ("STATSD_PORT", "65536", "Input should be less than or equal to 65535"),
        ("SPARK_CORES", "-1", "Input should be greater than or equal to 0"),
        ("SPARK_CORES", "1.5", "Input should be a valid integer"),
        ("SPARK_MEMORY_MB", "511", "Input should be greater than or equal to 512"),
        ("SPARK_LOG_LEVEL", "LOUD", "String should match pattern"),
        ("SNAPSHOT_RETENTION_DAYS", "0", "Input should be greater than 0"),
        ("ORPHAN_AGE_HOURS", "soon", "Input should be a valid number"),
    ],
)
def test_a_bad_value_names_its_variable_and_what_it_should_be(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"WATCHKEEPER_{name}", value)
    with pytest.raises(WatchkeeperError) as refused:
        load_settings()
    assert str(refused.value).startswith(f"setting WATCHKEEPER_{name}: {said}")
    assert str(refused.value).endswith("see .env.example")


def test_a_bad_value_in_the_file_names_its_variable_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WATCHKEEPER_SPARK_CORES=many\n")
    with pytest.raises(WatchkeeperError, match="setting WATCHKEEPER_SPARK_CORES: "):
        load_settings()


@pytest.mark.parametrize(
    "printed", [repr, str, pprint.pformat, "{}".format, lambda s: json.dumps(s, default=str)]
)
def test_a_secret_is_in_no_printed_form(monkeypatch: pytest.MonkeyPatch, printed: Any) -> None:
    monkeypatch.setenv("WATCHKEEPER_PREFECT_API_KEY", KEY)
    settings = load_settings()
    assert settings.prefect_api_key is not None
    assert settings.prefect_api_key.get_secret_value() == KEY
    for form in (settings, settings.model_dump(), settings.model_dump_json(), settings.prefect_api_key):
        assert KEY not in printed(form)


def test_a_secret_is_not_in_the_refusal_of_another_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHKEEPER_PREFECT_API_KEY", KEY)
    monkeypatch.setenv("WATCHKEEPER_SPARK_CORES", KEY)
    with pytest.raises(WatchkeeperError) as refused:
        load_settings()
    assert KEY not in str(refused.value)
    assert refused.value.__cause__ is None  # nor in a stack trace
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    "field", [name for name in Settings.model_fields if name.endswith(("key", "token", "password", "secret"))]
)
def test_what_sounds_like_a_secret_is_one(field: str) -> None:
    assert "SecretStr" in str(Settings.model_fields[field].annotation)
    assert SecretStr(KEY) != KEY


@pytest.mark.parametrize(
    ("given", "home"), [("~/lake", "{home}/lake"), ("here", "{cwd}/here"), ("/srv/home", "/srv/home")]
)
def test_the_home_is_where_a_shell_would_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, home: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("WATCHKEEPER_HOME", given)
    assert load_settings().home == Path(home.format(home=tmp_path / "user", cwd=tmp_path))


def test_everything_that_is_kept_is_kept_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHKEEPER_HOME", str(tmp_path / "h"))
    settings = load_settings()
    folders = {
        "lake": "lake",
        "raw": "lake/raw",
        "landing": "landing",
        "staging": "staging",
        "quarantine": "quarantine",
        "prefect": "prefect",
        "run": "run",
        "logs": "logs",
    }
    assert {name: getattr(settings, name) for name in folders} == {
        name: tmp_path / "h" / place for name, place in folders.items()
    }
    assert not (tmp_path / "h").exists()  # asking makes nothing


def test_a_store_has_what_is_shared_and_the_home_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHKEEPER_STORE", "s3://the-lake/a/b/")
    settings = load_settings()
    assert str(settings.raw) == "s3://the-lake/a/b/lake/raw"
    assert str(settings.staging) == "s3://the-lake/a/b/staging"
    assert str(settings.quarantine) == "s3://the-lake/a/b/quarantine"
    assert settings.drift == settings.home / "drift"


@pytest.mark.parametrize(
    "said", ["/srv/lake", "s3:/lake", "s3://", "s3://The_Lake/a", "s3://lake/a b", "s3://l//a"]
)
def test_what_is_no_bucket_is_no_store(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHKEEPER_STORE", said)
    with pytest.raises(WatchkeeperError, match=r"WATCHKEEPER_STORE: .*s3://bucket/prefix.*WATCHKEEPER_HOME"):
        load_settings()


def test_the_region_is_told_to_whatever_asks_awss_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("WATCHKEEPER_AWS_REGION", "eu-west-1")
    load_settings()
    assert os.environ["AWS_REGION"] == "eu-west-1"
