"""Which version answers: the champion of a model that reads pictures and names classes."""

from dataclasses import dataclass
from pathlib import Path

from flows.config import Settings
from flows.errors import WatchkeeperError
from services.bento.manifest import ImageInput, Manifest
from services.bento.registry import Registry, last_promoted
from services.bento.store import Store, open_store


@dataclass(frozen=True)
class Champion:
    """A version in a folder of this machine, every byte of it verified when it was found."""

    model: str
    version: str
    folder: Path


def model_meant(settings: Settings, model: str | None) -> str:
    """The model's name; without one, of that which was promoted last.

    Raises:
        WatchkeeperError: no model has a champion.
    """
    found = model or last_promoted(open_store(settings.registry))
    if found is None:
        raise WatchkeeperError(
            f"no model in {settings.registry} has a champion; train one with `task retrain -- --dataset NAME`"
        )
    return found


def find_champion(settings: Settings, model: str) -> Champion:
    """The champion, fetched and verified.

    Raises:
        WatchkeeperError: there is none, it does not classify pictures, or a byte of it is not as it was.
    """
    registry = Registry(open_store(settings.registry), model)
    version = version_of(settings, model)
    return Champion(model, version, registry.fetch(version))


def version_of(settings: Settings, model: str) -> str:
    """The champion's version, by its manifest alone.

    Raises:
        WatchkeeperError: there is none, or it does not classify pictures.
    """
    store = open_store(settings.registry)
    registry = Registry(store, model)
    entry = registry.champion()
    if entry is None or entry.version is None:
        raise no_champion(settings, store, model)
    refuse_other_kinds(registry.manifest(entry.version))
    return entry.version


def no_champion(settings: Settings, store: Store, model: str) -> WatchkeeperError:
    """The error that says which model could be meant."""
    known = last_promoted(store)
    other = f", or name another: {known} was promoted last" if known else ""
    return WatchkeeperError(
        f"model {model} has no champion in {settings.registry}; "
        f"train one with `task retrain -- --dataset NAME --model {model}`{other}"
    )


def refuse_other_kinds(manifest: Manifest) -> None:
    """Stop at a model whose answers are no labels of pictures.

    Raises:
        WatchkeeperError: it takes features, or gives numbers.
    """
    if not isinstance(manifest.input, ImageInput):
        raise WatchkeeperError(
            f"model {manifest.model} takes rows of features, not pictures; name an image model with --model"
        )
    if manifest.task != "classification":
        raise WatchkeeperError(
            f"model {manifest.model} answers with numbers, not labels; name a classifier with --model"
        )
