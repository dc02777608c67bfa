"""Which version answers: the champion of a model that reads pictures and names classes."""

from dataclasses import dataclass
from pathlib import Path

from flows.config import Settings
from flows.errors import WatchkeeperError
from services.bento.manifest import ImageInput, Manifest
from services.bento.registry import Registry
from services.bento.store import open_store


@dataclass(frozen=True)
class Champion:
    """A version in a folder of this machine, every byte of it verified when it was found."""

    model: str
    version: str
    folder: Path


def find_champion(settings: Settings, model: str) -> Champion:
    """The champion, fetched and verified.

    Raises:
        WatchkeeperError: there is none, it does not classify pictures, or a byte of it is not as it was.
    """
    registry = Registry(open_store(settings.registry), model)
    version = version_of(registry)
    return Champion(model, version, registry.fetch(version))


def version_of(registry: Registry) -> str:
    """The champion's version, by its manifest alone.

    Raises:
        WatchkeeperError: there is none, or it does not classify pictures.
    """
    version, _ = registry.live()
    refuse_other_kinds(registry.manifest(version))
    return version


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
