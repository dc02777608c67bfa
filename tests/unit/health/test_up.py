"""`task up` says in one line what is missing, and hands Compose no secret but in a file."""

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from flows.config import CHECKOUT
from flows.errors import WatchkeeperError
from flows.health import stack, up
from tests.factories import settings_of

SAID = yaml.safe_load(up.FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = SAID["services"]
STAYING = {name: service for name, service in SERVICES.items() if name != "deploy"}


def docker(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A `docker` that does what the script says, and no other program."""
    program = folder / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


def test_without_docker_the_way_without_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WatchkeeperError, match="no docker on PATH; `task watch`"):
        up.up(settings_of(tmp_path / "home"))
    assert not (tmp_path / "home").exists()


def test_without_compose_its_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker(tmp_path, monkeypatch, "exit 1")
    with pytest.raises(WatchkeeperError, match=r"apt-get install docker-compose-plugin.*`task watch`"):
        up.down(settings_of(tmp_path / "home"), volumes=False)


def test_pages_and_the_passwords_file_are_told_and_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    docker(tmp_path, monkeypatch, 'echo "ran: $*"')
    monkeypatch.setenv("WATCHKEEPER_UP_HOME", "/elsewhere")
    settings = settings_of(tmp_path / "home")
    up.up(settings)
    up.down(settings, volumes=True)
    said = "".join(capfd.readouterr())
    assert [line.rpartition("compose.yaml ")[2] for line in said.splitlines() if "ran: " in line] == [
        "build",
        "up --detach --wait --remove-orphans",
        "--profile serve down --volumes",
    ]
    for address in up.PAGES.values():
        assert address in said
    assert str(settings.run / "up" / stack.PASSWORDS) in said
    made = dotenv_values(settings.run / "up" / stack.PASSWORDS).values()
    assert not [word for word in made if word is None or word in said]


def test_what_compose_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker(tmp_path, monkeypatch, 'case "$*" in *version) ;; *) exit 17;; esac')
    with pytest.raises(WatchkeeperError, match="docker compose build ended with 17"):
        up.up(settings_of(tmp_path / "home"))


def test_what_was_never_up_is_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker(tmp_path, monkeypatch, "exit 0")
    with pytest.raises(WatchkeeperError, match="`task up` has not run in this home"):
        up.down(settings_of(tmp_path / "home"), volumes=False)


def test_ports_are_published_on_the_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert [port.rpartition(":")[0] for port in published] == [
        f"127.0.0.1:{port}" for port in (4200, 3000, 9090, 3001)
    ]


def test_every_image_is_pinned() -> None:
    for service in SERVICES.values():
        name, _, tag = service["image"].partition(":")
        assert (name, tag) == ("watchkeeper", "local") or tag.lstrip("v")[0].isdigit(), service["image"]
    (base,) = [line for line in dockerfile().splitlines() if line.startswith("FROM ")]
    assert base.startswith("FROM python:3.11.")


def test_what_stays_is_checked_and_begun_again() -> None:
    for name, service in STAYING.items():
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"], name
    assert SERVICES["worker"]["depends_on"]["deploy"]["condition"] == "service_completed_successfully"


def test_compose_holds_no_secret() -> None:
    assert all(list(secret) == ["environment"] for secret in SAID["secrets"].values())
    asked = {secret["environment"].removeprefix(stack.PREFIX) for secret in SAID["secrets"].values()}
    assert asked == {*stack.NAMES, "SLACK_WEBHOOK"}


def test_what_is_said_of_the_programs_is_true() -> None:
    locked = (CHECKOUT / "uv.lock").read_text()
    version = dockerfile().partition("uv==")[2].split()[0]
    assert f'name = "uv"\nversion = "{version}"\n' in locked
    assert SERVICES.keys() >= {target.partition(":")[0] for target in stack.TARGETS.values()}


def test_only_what_runs_is_in_the_image() -> None:
    ignored = (up.FILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    for kept in (line[1:] for line in ignored if line.startswith("!")):
        assert stat.S_IMODE((CHECKOUT / kept).stat().st_mode)


def dockerfile() -> str:
    """Its text."""
    return (up.FILE.parent / "Dockerfile").read_text()
