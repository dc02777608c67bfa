"""`task serve`: the Bento of a model's champion, a worker a core; from then on it follows the champion."""

import argparse
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from observability.config import variables
from observability.errors import WatchkeeperError, run_command
from services.bento.config import BentoSettings, read_settings
from services.bento.package import build, tag_of
from services.bento.registry import Registry, model_meant
from services.bento.store import open_store


def bento_of(settings: BentoSettings, registry: Registry) -> str:
    """Tag of the Bento of the model's champion, built where this code has not built it yet.

    Raises:
        WatchkeeperError: no champion, or it is damaged.
    """
    live, entry = registry.live()
    tag = tag_of(registry.manifest(live))
    name, _, version = tag.partition(":")
    if not (settings.bento / "bentos" / name / version / "bento.yaml").exists():
        build(registry.fetch(live), settings.bento)
    print(f"{tag} answers with {live}, champion since {entry.when:%Y-%m-%d %H:%M} UTC", file=sys.stderr)
    return tag


def refuse_unusable_address(host: str, port: int) -> None:
    """Stop at an address that cannot be bound, before BentoML starts processes that would all fail.

    Raises:
        WatchkeeperError: another process listens there, or the address is none of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        raise WatchkeeperError(
            f"{host} port {port}: {error.strerror}; give another with --port, or set WATCHKEEPER_SERVE_HOST"
        ) from None


def environment(settings: BentoSettings) -> dict[str, str]:
    """The process's environment: whatever `.env` says too, as a Bento's code does not run beside it."""
    ours = {
        "BENTOML_HOME": str(settings.bento),
        "BENTOML_DO_NOT_TRACK": "true",
        "DO_NOT_TRACK": "1",
        "WATCHKEEPER_HOME": str(settings.home),
    }
    return os.environ | ours | variables(settings)


def main() -> NoReturn:
    """Become the server."""
    args = argparse.ArgumentParser(prog="task serve --", description=__doc__)
    args.add_argument("--model", help="its name; the model promoted last unless said")
    args.add_argument("--port", type=int, help="3000 unless said")
    args.add_argument(
        "--shadow", metavar="VERSION", help="answers beside the champion; logged, never returned"
    )
    given = args.parse_args()
    said = {"model": given.model, "serve_port": given.port, "shadow_version": given.shadow}
    settings = read_settings(BentoSettings, **{name: v for name, v in said.items() if v is not None})
    refuse_unusable_address(settings.serve_host, settings.serve_port)
    store = open_store(settings.registry)
    if settings.model is None:
        settings.model = model_meant(store, None)
        print(f"model {settings.model}, promoted last; -- --model NAME for another", file=sys.stderr)
    registry = Registry(store, settings.model)
    tag = bento_of(settings, registry)
    if settings.shadow_version:
        registry.fetch(settings.shadow_version)
    address = ["--host", settings.serve_host, "--port", str(settings.serve_port)]
    sys.stdout.flush()
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    os.execve(bentoml, [bentoml, "serve", tag, *address], environment(settings))  # noqa: S606


if __name__ == "__main__":
    run_command(main)
