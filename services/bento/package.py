"""Package a version: into BentoML's model store, and a Bento that serves it. `package.py FOLDER`.

Runs as a process of its own (see `build`): BentoML reads its home as it is imported, and each home of ours
has its own store.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from observability.errors import WatchkeeperError
from services.bento.config import CHECKOUT, PACKAGED
from services.bento.manifest import Manifest, read_manifest
from services.bento.verify import verify

CODE = ["services/**/*.py", "services/bento/*.yaml", "observability/**/*.py"]
PACKAGES = [
    "bentoml",
    "httptools",
    "numpy",
    "onnxruntime",
    "pillow",
    "prometheus-client",
    "pyarrow",
    "pydantic",
    "pydantic-settings",
    "python-multipart",
    "pyyaml",
    "starlette",
    "uvicorn",
    "uvloop",
]


def build(folder: Path, store: Path) -> str:
    """Build the Bento of a version in a process of its own; the same version again gives the same tag.

    Args:
        folder: of the version, from the registry.
        store: BentoML's home.

    Raises:
        WatchkeeperError: the version is damaged, or BentoML refused; with its last words.
    """
    environment = os.environ | {
        "BENTOML_HOME": str(store),
        "BENTOML_DO_NOT_TRACK": "true",
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-m", "services.bento.package", str(folder)]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise WatchkeeperError(f"packaging {folder.name} failed: {last}; the champion answers all the same")
    return str(json.loads(done.stdout.strip().splitlines()[-1])["bento"])


def main(folder: Path) -> str:
    """Import and build, within BentoML's home."""
    import bentoml

    manifest = read_manifest(folder)
    verify(folder, manifest)
    tag = bentoml.Tag(manifest.model, manifest.version.lower())
    import_model(bentoml, tag, folder)
    bento = bentoml.Tag.from_str(tag_of(manifest))
    try:
        bentoml.bentos.get(bento)
    except bentoml.exceptions.NotFound:
        bentoml.bentos.build(
            "services.bento.service:Watchkeeper",
            name=bento.name,
            version=bento.version,
            build_ctx=str(CHECKOUT),
            include=CODE,
            models=[str(tag)],
            labels=labels(manifest),
            # Locking asks PyPI; the versions are those of the environment that was tested.
            python={"packages": [pinned(name) for name in PACKAGES], "lock_packages": False},
        )
    return str(bento)


def tag_of(manifest: Manifest) -> str:
    """The tag of a version's Bento: the version, and the code that it is packaged with."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in CODE for path in CHECKOUT.glob(pattern)):
        digest.update(path.relative_to(CHECKOUT).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{manifest.model}-service:{manifest.version.lower()}-{digest.hexdigest()[:8]}"


def import_model(bentoml: object, tag: object, folder: Path) -> None:
    """Copy a version into BentoML's model store, unless it is there."""
    import shutil

    models = bentoml.models  # type: ignore[attr-defined]
    try:
        models.get(tag)
    except bentoml.exceptions.NotFound:  # type: ignore[attr-defined]
        with models.create(tag) as model:
            shutil.copytree(folder, Path(model.path) / PACKAGED)


def labels(manifest: Manifest) -> dict[str, str]:
    """What `bentoml list` shows beside the tag."""
    snapshot = str(manifest.snapshot.snapshot_id)
    return {"model": manifest.model, "version": manifest.version.lower(), "snapshot": snapshot}


def pinned(name: str) -> str:
    """A requirement of the version that is installed here."""
    from importlib.metadata import version

    return f"{name}=={version(name)}"


if __name__ == "__main__":
    print(json.dumps({"bento": main(Path(sys.argv[1]))}))
