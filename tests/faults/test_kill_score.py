"""SIGKILL while a new champion scores all again: a reader sees old scores or new ones, never both or half."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flows.config import CHECKOUT, Settings
from tests.factories import NoSpark, environment_of, processes_of, wait_until
from tests.integration.test_score import draw, expected, promote, rows, score, snapshots

POINTS = [
    "after land",
    "while Spark writes",
    "after Spark",
    "after the verdict",
    "before the catalog's row",
    "after the catalog's row",
]
COMMITTED = POINTS.index("after the catalog's row")


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_reader_sees_old_or_new_scores_and_a_rerun_finishes(
    settings: Settings, tmp_path: Path, prefect_url: str, point: str
) -> None:
    promote(settings, "v1")
    source = draw(tmp_path / "in", *(f"{n}.png" for n in range(20)))
    score(settings, source)
    old = rows(settings)
    version = promote(settings, "v2", seed=5)
    draw(source, "20.png", "21.png", seed=1)
    new = {article: (label, "v2") for article, label in expected(version, source).items()}
    environment = environment_of(settings, WATCHKEEPER_PREFECT_API_URL=prefect_url)

    command = [sys.executable, "-m", "tests.faults.killed_score", point, str(source)]
    died = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=200)
    assert died.returncode == -9, f"{point}: exit {died.returncode}\n{died.stderr[-3000:]}"
    wait_until(lambda: not processes_of(settings.home), "the killed run's children to end")

    committed = POINTS.index(point) >= COMMITTED
    assert rows(settings) == (new if committed else old)
    assert snapshots(settings) == (2 if committed else 1)

    again = [sys.executable, "-m", "flows.score", "--source", str(source)]
    done = subprocess.run(again, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("model articles, promoted last: version v2")
    said = json.loads((settings.home / "summary.json").read_text())["tables"]["scores.articles"]
    assert said["outcome"] == ("unchanged" if committed else "committed")
    assert said["images"] == 22
    assert rows(settings) == new != old
    assert snapshots(settings) == 2
    assert score(settings, source, NoSpark()).outcome == "unchanged"
