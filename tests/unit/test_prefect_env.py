"""What ties Prefect to a home is decided without Prefect, a server or a disk."""

import os
import pprint
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from flows.config import Settings
from flows.prefect_env import (
    NO_TRACKING,
    apply_prefect_environment,
    authorization,
    isolated_environment,
    prefect_environment,
)

OWN = "http://127.0.0.1:4711/api"
SHARED = "https://prefect.example.com/api"
KEY = "pnu_not-for-anyones-eyes"

USERS = {
    "PREFECT_API_URL": "https://api.prefect.cloud/api/accounts/a/workspaces/w",
    "PREFECT_API_KEY": "pnu_the-users-own",
    "PREFECT_API_AUTH_STRING": "user:password",
    "PREFECT_PROFILE": "work",
    "PREFECT_HOME": "/home/user/.prefect",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "DEBUG",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://db/prefect",
}


def make_settings(**fields: Any) -> Settings:
    return Settings(**{"home": Path("/srv/home"), "_env_file": None, **fields})


def shared_settings() -> Settings:
    return make_settings(prefect_api_url=SHARED, prefect_api_key=SecretStr(KEY))


def test_none_of_the_users_prefect_variables_survives() -> None:
    environment = isolated_environment(USERS, make_settings())
    assert not set(USERS.values()) & set(environment.values())
    assert {"PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"}.isdisjoint(environment)
    assert "PREFECT_PROFILE" not in environment


def test_a_variable_in_small_letters_counts_for_prefect_and_is_dropped_too() -> None:
    users = {name.lower(): value for name, value in USERS.items()}
    assert not set(users) & set(isolated_environment(users, make_settings()))


def test_other_variables_are_kept() -> None:
    environment = isolated_environment({"PATH": "/bin", "PREFECTURE": "Kyoto"}, make_settings())
    assert environment["PATH"] == "/bin"
    assert environment["PREFECTURE"] == "Kyoto"


def test_the_given_environment_stays_as_it_was() -> None:
    given = dict(USERS)
    isolated_environment(given, make_settings(), OWN)
    assert given == USERS


def test_every_path_is_inside_the_home() -> None:
    environment = prefect_environment(make_settings())
    paths = {name: value for name, value in environment.items() if "/" in value}
    assert set(paths) == {
        "PREFECT_HOME",
        "PREFECT_PROFILES_PATH",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY",
    }
    assert all("/srv/home/prefect" in path for path in paths.values())


def test_a_shared_server_goes_before_the_homes_own() -> None:
    environment = prefect_environment(shared_settings(), OWN)
    assert environment["PREFECT_API_URL"] == SHARED
    assert environment["PREFECT_API_KEY"] == KEY


def test_a_shared_servers_login_goes_before_its_key_and_nowhere_else() -> None:
    shared = shared_settings()
    assert authorization(shared) == {"Authorization": f"Bearer {KEY}"}
    shared.prefect_auth_string = SecretStr("user:word")
    shared.prefect_ui_url = "http://127.0.0.1:4200"
    assert authorization(shared) == {"Authorization": "Basic dXNlcjp3b3Jk"}
    environment = prefect_environment(shared)
    assert environment["PREFECT_API_AUTH_STRING"] == "user:word"
    assert environment["PREFECT_UI_URL"] == "http://127.0.0.1:4200"
    own = make_settings(prefect_auth_string=SecretStr("user:word"), prefect_api_key=SecretStr(KEY))
    assert authorization(own) == {}
    assert "PREFECT_API_AUTH_STRING" not in prefect_environment(own, OWN)


def test_the_homes_own_server_goes_before_the_embedded_one_and_gets_no_key() -> None:
    settings = make_settings(prefect_api_key=SecretStr(KEY))
    environment = prefect_environment(settings, OWN)
    assert environment["PREFECT_API_URL"] == OWN
    assert "PREFECT_API_KEY" not in environment


@pytest.mark.parametrize(("settings", "server_url"), [(make_settings(), OWN), (shared_settings(), None)])
def test_a_chosen_server_that_is_gone_is_not_replaced_by_an_embedded_one(
    settings: Settings, server_url: str | None
) -> None:
    environment = prefect_environment(settings, server_url)
    assert environment["PREFECT_SERVER_EPHEMERAL_ENABLED"] == "false"


def test_without_any_server_the_embedded_one_gets_time_to_start() -> None:
    environment = prefect_environment(make_settings())
    assert "PREFECT_API_URL" not in environment
    assert environment["PREFECT_SERVER_EPHEMERAL_ENABLED"] == "true"
    assert int(environment["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"]) >= 60


def test_nothing_is_reported_to_anyone() -> None:
    environment = prefect_environment(make_settings())
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["BENTOML_DO_NOT_TRACK"] == "true"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environment["PREFECT_CLIENT_METRICS_ENABLED"] == "false"


@pytest.mark.parametrize("printed", [repr, str, pprint.pformat, "{}".format])
def test_a_secret_is_in_the_environment_but_in_no_printed_form(printed: Any) -> None:
    environment = isolated_environment({"AWS_SECRET_ACCESS_KEY": "aws"}, shared_settings())
    assert environment["PREFECT_API_KEY"] == KEY
    assert KEY not in printed(environment)
    assert "aws" not in printed(environment)
    assert KEY not in printed(prefect_environment(shared_settings()))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": ".corp, 127.0.0.1"}, ".corp,127.0.0.1,localhost"),
        ({"no_proxy": "a", "NO_PROXY": "b"}, "a,127.0.0.1,localhost"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_the_loopback_is_not_asked_for_at_a_proxy(given: dict[str, str], expected: str) -> None:
    environment = isolated_environment(given, make_settings())
    assert environment["no_proxy"] == environment["NO_PROXY"] == expected


def test_a_run_of_a_worker_keeps_the_workers_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = {"PREFECT__FLOW_RUN_ID": "1f", "PREFECT_API_URL": SHARED, "PREFECT_API_KEY": KEY}
    monkeypatch.setattr(os, "environ", dict(workers))
    apply_prefect_environment(make_settings())
    assert os.environ == workers | NO_TRACKING
