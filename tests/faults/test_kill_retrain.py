"""SIGKILL of a whole retraining after each of its steps: the next one goes on, and nothing is there twice."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.config import Settings
from flows.retrain.runs import recorded
from services.bento.registry import Registry
from services.bento.store import open_store
from tests.drawn import draw
from tests.factories import environment_of, run_table, settings_of, shipped

pytestmark = pytest.mark.timeout(600)
STEPS = ["dataset", "train", "gate", "package", "report"]


def retrain(settings: Settings, prefect_url: str, last: str) -> "subprocess.CompletedProcess[str]":
    """A retraining in a process of its own, whose artifacts go to the tests' server."""
    command = [sys.executable, "-m", "tests.faults.killed_retrain", last]
    environment = environment_of(settings, PREFECT_API_URL=prefect_url)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_killed_after_each_step_it_goes_on_and_ends_once(tmp_path: Path, prefect_url: str) -> None:
    draw(tmp_path / "source", 840)
    settings = settings_of(tmp_path / "home")
    run_table(settings, shipped("garments.articles"), tmp_path / "source")
    registry = Registry(open_store(settings.registry), "garments")
    champions = []
    for step in STEPS:
        done = retrain(settings, prefect_url, step)
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
        assert done.stdout.split()[-1] == step
        champion = registry.champion()
        champions.append(champion.version if champion else None)
    done = retrain(settings, prefect_url, "")
    assert done.returncode == 0, done.stderr[-2000:]

    (version,) = registry.versions()
    assert champions == [None, None, version, version, version]
    assert [entry.event for entry in registry.history()].count("promoted") == 1
    (run,) = recorded(open_store(settings.registry), "garments")
    assert run.version == version
    assert list((settings.bento / "bentos" / "garments-service").glob("*/bento.yaml"))
    unfinished = settings.training / "garments"
    assert not list(unfinished.glob("*/version")), "the training is put away when it is done"
