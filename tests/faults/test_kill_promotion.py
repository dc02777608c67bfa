"""SIGKILL at every step of a promotion: the champion is the old or the new one, and a re-run finishes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.config import CHECKOUT
from services.bento.registry import OvertakenError, Registry
from services.bento.store import LocalStore
from tests.everything import EVERYTHING
from tests.faults.promoting import LINKED, POINTS, publish_and_promote
from tests.versions import image_model, write_version

SAMPLE = ["in the middle of a file", "after the rename", "in the middle of the entry", "after the link"]


def kill(point: str, root: Path, folder: Path) -> None:
    """Run the promotion in a process that dies at the point."""
    command = [sys.executable, "-m", "tests.faults.promoting", point, str(root), str(folder)]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    died = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert died.returncode == -9, f"{point}: exit {died.returncode}\n{died.stderr[-3000:]}"


@pytest.mark.parametrize("point", POINTS if EVERYTHING else SAMPLE)
def test_the_champion_is_old_or_new_and_a_rerun_finishes(tmp_path: Path, point: str) -> None:
    root = tmp_path / "registry"
    registry = Registry(LocalStore(root), "articles")
    registry.promote(registry.add(write_version(tmp_path / "old", version="old")), None)
    new = write_version(tmp_path / "new", onnx_model=image_model(seed=1), version="new")

    kill(point, root, new)

    linked = list(POINTS).index(point) >= LINKED
    seen = Registry(LocalStore(root), "articles")
    champion = seen.champion()
    assert champion is not None
    assert champion.version == ("new" if linked else "old")
    for version in seen.versions():
        seen.fetch(version)

    if linked:
        with pytest.raises(OvertakenError, match="new is the champion of articles already"):
            publish_and_promote(root, new, "old")
    else:
        publish_and_promote(root, new, "old")
    assert [(entry.event, entry.version) for entry in seen.history()] == [
        ("promoted", "old"),
        ("promoted", "new"),
    ]
    assert seen.versions() == ["new", "old"]
    assert not list((root / ".tmp").iterdir()), "a re-run sweeps what the dead left"
