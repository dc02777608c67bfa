"""Which version of a model is live, since when, and why; every version verified each time it is fetched.

A version is published whole, once, and never changes; `ledger.py` says which one is champion.
"""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Unpack

from services.bento.files import remove
from services.bento.ledger import MOVES, Entry, Event, Facts, Ledger, Step, line_of_champions, now
from services.bento.manifest import (
    MANIFEST,
    MODEL_NAME,
    Manifest,
    ManifestError,
    model_name,
    parse_manifest,
    read_manifest,
    version_name,
)
from services.bento.store import MissingError, RegistryError, Store
from services.bento.verify import verify

TRAIN_ONE = "train one with `task retrain -- --dataset NAME`"


class OvertakenError(RegistryError):
    """The champion is no longer the one that a decision was made against."""


def default_cache() -> Path:
    """Where versions from a bucket are kept: what the XDG base directory specification calls the cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "watchkeeper" / "models"


class Registry:
    """The versions and the log of one model.

    Args:
        store: see `open_store`.
        model: its name.
        cache: where versions that are not on this machine are kept.
        clock: the time, in UTC.
    """

    def __init__(
        self,
        store: Store,
        model: str,
        cache: Path | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        try:
            self.model = model_name(model)
        except ValueError as error:
            raise RegistryError(str(error)) from None
        self._store, self._ledger = store, Ledger(store, model, clock)
        self._cache = (cache or default_cache()) / model

    def add(self, folder: Path) -> str:
        """Publish a version's folder and return its name; the same folder again changes nothing.

        Raises:
            ManifestError: the folder is not what its manifest says.
            RegistryError: it is another model's, or this version is here with other contents.
        """
        manifest = read_manifest(folder)
        if manifest.model != self.model:
            raise RegistryError(
                f"{folder} is of model {manifest.model}, this is the registry of {self.model}"
            )
        verify(folder, manifest)
        self._store.sweep()
        version = manifest.version
        if not self._store.add_folder(self._folder(version), folder):
            here = self._store.read(f"{self._folder(version)}/{MANIFEST}")
            if here != (folder / MANIFEST).read_bytes():
                raise RegistryError(
                    f"version {version} of {self.model} has other contents; versions never change"
                )
            self.fetch(version)
        return version

    def versions(self) -> list[str]:
        """Names of all versions; those made by `new_version` are in the order of their times."""
        keys = (key.split("/") for key in self._store.list(f"{self.model}/versions"))
        return sorted(parts[2] for parts in keys if len(parts) == 4 and parts[3] == MANIFEST)

    def manifest(self, version: str) -> Manifest:
        """A version's manifest, without its files."""
        key = f"{self._folder(version)}/{MANIFEST}"
        try:
            return parse_manifest(self._store.read(key), key)
        except MissingError:
            raise self._unknown(version) from None

    def fetch(self, version: str, tables: bool = True) -> Path:
        """A local folder of a version, every byte of it verified now; `tables` as `verify` has it.

        Raises:
            ManifestError: a byte differs. A damaged copy in the cache is fetched once more first.
            RegistryError: no such version.
        """
        folder = self._fetched(version)
        try:
            self._verify(version, folder, tables)
        except ManifestError:
            if folder != self._cache / version:
                raise
            remove(folder)
            folder = self._fetched(version)
            self._verify(version, folder, tables)
        return folder

    def _fetched(self, version: str) -> Path:
        try:
            return self._store.fetch_folder(self._folder(version), self._cache / version)
        except MissingError:
            raise self._unknown(version) from None

    def _verify(self, version: str, folder: Path, tables: bool) -> None:
        manifest = read_manifest(folder)
        if (manifest.model, manifest.version) != (self.model, version):
            raise ManifestError(
                f"{folder} holds version {manifest.version} of {manifest.model}; restore it from a backup"
            )
        verify(folder, manifest, tables)

    def _unknown(self, version: str) -> RegistryError:
        known = ", ".join(self.versions()[-5:]) or "none"
        return RegistryError(f"{self.model} has no version {version}; the newest are: {known}")

    def champion(self, at: datetime | None = None) -> Entry | None:
        """The entry that made the champion: its version, since when, from which snapshot.

        `at` asks for the champion of that time.
        """
        return self._ledger.champion(at)

    def live(self) -> tuple[str, Entry]:
        """The champion's version, and the entry that made it.

        Raises:
            RegistryError: there is none.
        """
        entry = self.champion()
        if entry is None or entry.champion is None:
            known = last_promoted(self._store)
            other = f", or name another: {known} was promoted last" if known else ""
            raise RegistryError(f"model {self.model} has no champion in {self._store}; {TRAIN_ONE}{other}")
        return entry.champion, entry

    def history(self) -> list[Entry]:
        """The whole log, oldest first."""
        return self._ledger.history()

    def append(self, event: Event, version: str | None, **facts: Unpack[Facts]) -> Entry:
        """Note what does not move the champion; `facts` are the other fields of an `Entry`."""
        if event in MOVES:
            raise RegistryError(f"{event} moves the champion; call promote or rollback")
        return self._ledger.write(lambda before: (event, version, before), facts)

    def promote(self, version: str, expected: str | None, **facts: Unpack[Facts]) -> Entry:
        """Make a version the champion, if the champion is still `expected` (None: there is none).

        `facts` are the other fields of an `Entry`; the snapshot is the manifest's unless given.

        Raises:
            OvertakenError: the champion is another by now.
            ManifestError, RegistryError: the version is damaged or unknown.
        """
        return self._move("promoted", version, expected, facts)

    def rollback(self, to: str | None = None, expected: str | None = None, **facts: Unpack[Facts]) -> Entry:
        """Go back to the champion before this one, or to a version; each further step goes one further back.

        `expected` is the champion that is to go, the one of now unless said.

        Raises:
            OvertakenError: somebody moved the champion meanwhile.
            ManifestError, RegistryError: the target is damaged, unknown, live already, or there is none.
        """
        stack = line_of_champions(self.history())
        if to is None and len(stack) < 2:
            raise RegistryError(
                f"{self.model} has no champion before {stack[0] if stack else 'the first'}; train one"
            )
        return self._move("rolled_back", to or stack[-2], expected or (stack[-1] if stack else None), facts)

    def _move(self, event: Event, version: str, expected: str | None, facts: Facts) -> Entry:
        self._store.sweep()
        manifest = read_manifest(self.fetch(version))

        def decide(before: str | None) -> Step:
            if before == version:
                raise OvertakenError(
                    f"{version} is the champion of {self.model} already; nothing was changed"
                )
            if before != expected:
                raise OvertakenError(
                    f"the champion of {self.model} is {before or 'none'}, no longer {expected or 'none'}; "
                    f"{version} was not made champion: compare it with {before or 'nothing'} and try again"
                )
            return event, version, version

        return self._ledger.write(decide, {"snapshot_id": manifest.snapshot.snapshot_id, **facts})

    def _folder(self, version: str) -> str:
        try:
            return f"{self.model}/versions/{version_name(version)}"
        except ValueError as error:
            raise RegistryError(str(error)) from None


def models(store: Store) -> list[str]:
    """Names of all models that have a version or a log."""
    keys = (key.split("/") for key in store.list(""))
    found = {parts[0] for parts in keys if len(parts) > 2 and parts[1] in ("versions", "ledger")}
    return sorted(name for name in found if MODEL_NAME.fullmatch(name))


def model_meant(store: Store, model: str | None) -> str:
    """The model's name; without one, of that which was promoted last.

    Raises:
        RegistryError: no model has a champion.
    """
    found = model or last_promoted(store)
    if found is None:
        raise RegistryError(f"no model in {store} has a champion; {TRAIN_ONE}")
    return found


def last_promoted(store: Store) -> str | None:
    """The model whose champion moved last, or None where no model has one."""
    champions = ((Registry(store, model).champion(), model) for model in models(store))
    return max(((entry.when, model) for entry, model in champions if entry), default=(None, None))[1]
