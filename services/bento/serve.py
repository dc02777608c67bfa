"""`task serve`: the Bento of a model's champion, a worker a core; from then on it follows the champion."""

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from pydantic import SecretStr

from observability.errors import WatchkeeperError, run_command
from services.bento.config import BentoSettings, read_settings
from services.bento.package import build, tag_of
from services.bento.registry import Registry, last_promoted
from services.bento.store import open_store


def chosen_model(settings: BentoSettings) -> str:
    """The model that is asked for, or the one promoted last.

    Raises:
        WatchkeeperError: there is none.
    """
    if settings.model:
        return settings.model
    model = last_promoted(open_store(settings.registry))
    if model is None:
        raise WatchkeeperError(
            f"no model of {settings.registry} has a champion; train one with `task retrain`"
        )
    print(f"model {model}, promoted last; -- --model NAME for another", file=sys.stderr)
    return model


def bento_of(settings: BentoSettings, model: str) -> str:
    """Tag of the Bento of the model's champion, built where this code has not built it yet.

    Raises:
        WatchkeeperError: no champion, or it is damaged.
    """
    registry = Registry(open_store(settings.registry), model)
    champion = registry.champion()
    if champion is None or champion.champion is None:
        raise WatchkeeperError(
            f"model {model} has no champion in {settings.registry}; train one with `task retrain`"
        )
    tag = tag_of(registry.manifest(champion.champion))
    name, _, version = tag.partition(":")
    if not (settings.bento / "bentos" / name / version / "bento.yaml").exists():
        build(registry.fetch(champion.champion), settings.bento)
    print(
        f"{tag} answers with {champion.champion}, champion since {champion.when:%Y-%m-%d %H:%M} UTC",
        file=sys.stderr,
    )
    return tag


def environment(settings: BentoSettings) -> dict[str, str]:
    """The process's environment: whatever `.env` says too, as a Bento's code does not run beside it."""
    ours = {
        "BENTOML_HOME": str(settings.bento),
        "BENTOML_DO_NOT_TRACK": "true",
        "DO_NOT_TRACK": "1",
        "WATCHKEEPER_HOME": str(settings.home),
    }
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if value is not None:
            plain = value.get_secret_value() if isinstance(value, SecretStr) else value
            ours[f"WATCHKEEPER_{name.upper()}"] = str(plain)
    return os.environ | ours


def main() -> NoReturn:
    """Become the server."""
    args = argparse.ArgumentParser(prog="task serve --", description=__doc__)
    args.add_argument("--model", help="its name; the model promoted last unless said")
    args.add_argument("--port", type=int, help="3000 unless said")
    args.add_argument(
        "--shadow", metavar="VERSION", help="answers beside the champion; logged, never returned"
    )
    given = args.parse_args()
    settings = read_settings(BentoSettings)
    said = {"model": given.model, "serve_port": given.port, "shadow_version": given.shadow}
    for name, value in said.items():
        if value is not None:
            setattr(settings, name, value)
    settings.model = chosen_model(settings)
    tag = bento_of(settings, settings.model)
    if settings.shadow_version:
        Registry(open_store(settings.registry), settings.model).fetch(settings.shadow_version)
    address = ["--host", settings.serve_host, "--port", str(settings.serve_port)]
    sys.stdout.flush()
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    os.execve(bentoml, [bentoml, "serve", tag, *address], environment(settings))  # noqa: S606


if __name__ == "__main__":
    run_command(main)
