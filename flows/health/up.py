"""`task up` and `task down`: the whole stack in containers, as `deployments/local/compose.yaml` says."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from flows.config import CHECKOUT, Settings, load_settings
from flows.errors import WatchkeeperError, run_command
from flows.health import stack
from observability.config import USER
from services.bento.registry import last_promoted
from services.bento.store import open_store

FILE = CHECKOUT / "deployments" / "local" / "compose.yaml"
PAGES = {
    "Grafana": "http://127.0.0.1:3001",
    "Prefect": "http://127.0.0.1:4200",
    "Prometheus": "http://127.0.0.1:9090",
}


def up(settings: Settings) -> None:
    """Write the configuration, make the image, start all and wait until it is healthy.

    Raises:
        WatchkeeperError: there is no Docker, or it refuses.
    """
    compose = compose_command()
    serves = last_promoted(open_store(settings.registry)) is not None
    folder = stack.write(settings, serves)
    command = [*compose, *arguments(folder)]
    run([*command, "build"])
    profile = ["--profile", "serve"] if serves else []
    run([*command, *profile, "up", "--detach", "--wait", "--remove-orphans"])
    for name, url in PAGES.items():
        print(f"{name:<11} {url}")
    print(f"{'Service':<11} " + ("http://127.0.0.1:3000" if serves else "`task up` again after a promotion"))
    print(f"log in as {USER}; the passwords are in {folder / stack.PASSWORDS}")
    if settings.slack_webhook is None:
        print("WATCHKEEPER_SLACK_WEBHOOK is not set: the relay keeps what it would send", file=sys.stderr)


def down(settings: Settings, volumes: bool) -> None:
    """End all; the data stay unless `volumes` are to go.

    Raises:
        WatchkeeperError: there is no Docker, or it refuses, or nothing was ever up.
    """
    compose, folder = compose_command(), settings.run / "up"
    if not (folder / stack.COMPOSE).exists():
        raise WatchkeeperError(f"{folder} has no {stack.COMPOSE}: `task up` has not run in this home")
    run([*compose, *arguments(folder), "--profile", "serve", "down", *(["--volumes"] if volumes else [])])


def compose_command() -> list[str]:
    """What runs Compose.

    Raises:
        WatchkeeperError: it is not on this machine.
    """
    docker = shutil.which("docker")
    if docker is None:
        raise WatchkeeperError("there is no docker on PATH; `task watch` starts the same without it")
    if subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        raise WatchkeeperError(
            "docker has no compose plugin (apt-get install docker-compose-plugin);"
            " `task watch` starts the same without it"
        )
    return [docker, "compose"]


def arguments(folder: Path) -> list[str]:
    """Compose's, before its command; no secret among them."""
    given = [f"--env-file={folder / name}" for name in (stack.PASSWORDS, stack.COMPOSE)]
    return [*given, f"--file={FILE}"]


def run(command: list[str]) -> None:
    """Have Compose do something, its words on our terminal.

    Raises:
        WatchkeeperError: it could not.
    """
    # It takes a variable of its environment before one of the files.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(stack.PREFIX)}
    code = subprocess.run(command, env=clean).returncode
    if code:
        done = next(word for word in command[::-1] if word in ("build", "up", "down"))
        raise WatchkeeperError(f"docker compose {done} ended with {code}; it says why above")


def main() -> int:
    """Start it, or end it."""
    parser = argparse.ArgumentParser(prog="task up / task down", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start what does not run, with the settings of now")
    ending = commands.add_parser("down", help="end all")
    ending.add_argument(
        "--volumes", action="store_true", help="and delete runs, metrics and users of Grafana"
    )
    given = parser.parse_args()
    settings = load_settings()
    if given.command == "up":
        up(settings)
    else:
        down(settings, given.volumes)
    return 0


if __name__ == "__main__":
    run_command(main)
