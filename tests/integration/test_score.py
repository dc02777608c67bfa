"""Batch scoring on a warm Spark: what is committed, what is not scored twice, and what is refused."""

import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl import quarantine_command
from flows.etl import steps as etl
from flows.etl.lake import Lake, OvertakenError
from flows.etl.runners.life import Engine
from flows.etl.runners.local import LocalRunner
from flows.etl.scores import contract_of, contracts_of
from flows.etl.source_files import open_source
from flows.s3_path import AnyPath
from flows.score import steps
from flows.score.champion import find_champion
from flows.score.plan import Scoring
from flows.score.steps import ScoreResult
from services.bento.manifest import ImageInput, read_manifest
from services.bento.predictor import Predictor, as_input, decode
from services.bento.registry import Registry
from services.bento.store import open_store
from tests.factories import (
    NoSpark,
    ask,
    bad_rows,
    compact_table,
    data_files,
    lake_contents,
    settings_of,
    sources_of,
    start_spark,
    table_of,
)
from tests.integration.test_s3_source import Bucket, bucket, server  # noqa: F401
from tests.versions import CLASSES, image_model, write_version

MODEL, TABLE = "articles", "scores.articles"
CONTRACT = contract_of(MODEL)
GOOD = 60


class WarmScorer(Engine):
    """Runs the job in this process, on the one Spark of the test worker."""

    def __init__(self, settings: Settings) -> None:
        self.local = LocalRunner(settings)
        super().__init__(self.local)

    def run(self, program: str, path: AnyPath, name: str, on_progress: object, on_log: object) -> None:
        """See `Engine.run`."""
        from flows.score.spark_job import score

        start_spark(self.local.spark_conf(Path(str(path.parent))))
        from flows.etl import spark_job  # after the scores' job, which shows it its `transform`

        spark_job.report_progress = lambda spark, path, every_seconds=0.5: None
        spark_job.main(str(path), score)


def draw(folder: Path, *names: str, seed: int = 0) -> Path:
    """A picture of one colour under each name."""
    for number, name in enumerate(names):
        colour = np.random.default_rng([seed, number]).integers(0, 255, 3).astype(np.uint8)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.broadcast_to(colour, (20, 16, 3)).copy()).save(path)
    return folder


def promote(settings: Settings, version: str, seed: int = 0) -> Path:
    """Make a version the champion; each seed labels otherwise."""
    registry = Registry(open_store(settings.registry), MODEL)
    before = registry.champion()
    folder = settings.home.parent / f"{version}-made"
    write_version(folder, version=version, onnx_model=image_model(seed))
    registry.promote(registry.add(folder), before.version if before else None)
    return folder


def scoring_of(settings: Settings, source: Path | str, replay: bool = False) -> Scoring:
    """What a run is asked."""
    return Scoring(settings, CONTRACT, find_champion(settings, MODEL), open_source(str(source)), replay)


def score(
    settings: Settings, source: Path | str, engine: Engine | None = None, replay: bool = False
) -> ScoreResult:
    """The flow's steps without Prefect."""
    scoring = scoring_of(settings, source, replay)
    plan = scoring.plan()
    if plan.nothing_to_do:
        return steps.unchanged(scoring, plan)
    try:
        plan, staged, labels = steps.run_spark(scoring, plan, engine or WarmScorer(settings))
        etl.reach_verdict(settings, plan, staged)
        return steps.told(scoring, plan, etl.commit(settings, plan, staged, "test"), labels)
    finally:
        etl.discard(plan)


def rows(settings: Settings) -> dict[str, tuple[str, str]]:
    """Label and version of each article."""
    found = ask(settings, f"SELECT article_id, label, model_version FROM {TABLE}")
    assert len(found) == len({row[0] for row in found}), "an article stands twice"
    return {row[0]: row[1:] for row in found}


def expected(version: Path, source: Path) -> dict[str, str]:
    """What the version says of each picture, asked here."""
    predictor = Predictor(version, read_manifest(version))
    spec = predictor.manifest.input
    assert isinstance(spec, ImageInput)
    found = {}
    for path in source.rglob("*.*"):
        pixels = decode(path.read_bytes(), spec.height, spec.width).pixels
        answer = predictor.predict(as_input([pixels], spec)).outputs[0]
        found[path.stem] = CLASSES[int(answer.argmax())]
    return found


def snapshots(settings: Settings) -> int:
    """How many commits the table has seen."""
    return len(table_of(settings, TABLE).snapshots())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path, Path, ScoreResult]:
    """A home whose lake holds scores, of pictures two of which cannot be read; nobody changes it."""
    folder = tmp_path_factory.mktemp("score")
    settings = settings_of(folder / "home")
    names = (f"{number % 3}/{number:03}.{('jpg', 'png', 'webp')[number % 3]}" for number in range(GOOD))
    source = draw(folder / "in", *names)
    (source / "broken.jpg").write_bytes((source / "0" / "000.jpg").read_bytes()[:150])
    (source / "no-picture.png").write_text("not one")
    version = promote(settings, "v1")
    return settings, source, version, score(settings, source)


def test_every_picture_gets_the_champion_s_label_in_one_snapshot(
    home: tuple[Settings, Path, Path, ScoreResult], tmp_path: Path
) -> None:
    settings, source, version, result = home
    shutil.copytree(source, tmp_path / "good", ignore=shutil.ignore_patterns("broken.jpg", "no-picture.png"))
    said = expected(version, tmp_path / "good")
    assert rows(settings) == {article: (label, "v1") for article, label in said.items()}
    assert (result.outcome, result.rows_committed, result.images) == ("committed", GOOD, GOOD + 2)
    assert result.labels == dict(Counter(said.values()).most_common())
    assert len(result.labels) > 1
    assert snapshots(settings) == 1
    ((low, high),) = ask(settings, f"SELECT min(probability), max(probability) FROM {TABLE}")
    assert 1 / 3 <= low <= high <= 1


def test_the_table_is_partitioned_by_label(home: tuple[Settings, Path, Path, ScoreResult]) -> None:
    settings, _, _, result = home
    files = data_files(settings, TABLE)
    assert {file.partition[0]: file.record_count for file in files.values()} == result.labels
    for path, file in files.items():
        assert set(pq.read_table(path, partitioning=None)["label"].to_pylist()) == {file.partition[0]}


def test_pictures_that_cannot_be_read_are_in_quarantine_with_the_reason(
    home: tuple[Settings, Path, Path, ScoreResult], capsys: pytest.CaptureFixture[str]
) -> None:
    settings, _, _, result = home
    (damaged, no_picture) = bad_rows(settings, CONTRACT)
    assert damaged[:3] == ("broken.jpg", None, "picture_unreadable")
    assert "damaged" in damaged[3]
    assert no_picture == ("no-picture.png", None, "picture_unreadable", "not a JPEG, PNG or WebP picture")
    assert result.quarantined_by_rule == {"picture_unreadable": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WATCHKEEPER_HOME", str(settings.home))
        patch.setattr(sys, "argv", ["quarantine", "--dataset", "scores", "--table", MODEL])
        quarantine_command.main()
        assert "2 of 2 rows shown: picture_unreadable 2" in capsys.readouterr().out
        patch.setattr(sys, "argv", [*sys.argv, "--replay"])
        with pytest.raises(WatchkeeperError, match="task score"):
            quarantine_command.main()


def test_the_same_pictures_and_champion_again_start_no_spark_and_commit_nothing(
    home: tuple[Settings, Path, Path, ScoreResult], tmp_path: Path
) -> None:
    settings, source, _, first = home
    before = lake_contents(settings)
    copied = Path(shutil.copytree(source, tmp_path / "copy", copy_function=shutil.copyfile))
    for again in (source, copied):
        result = score(settings, again, NoSpark())
        assert (result.outcome, result.images_unchanged) == ("unchanged", GOOD + 2)
        assert result.snapshot_id == first.snapshot_id
    assert lake_contents(settings) == before
    assert not list((settings.home / "staging").rglob("*.json"))


def test_only_new_and_changed_pictures_are_scored(settings: Settings, tmp_path: Path) -> None:
    version = promote(settings, "v1")
    source = draw(tmp_path / "in", *(f"{n}.png" for n in range(8)))
    score(settings, source)
    kept = rows(settings)
    draw(source, "3.png", "new.png", seed=7)
    result = score(settings, source)
    assert (result.rows_in, result.images_unchanged, snapshots(settings)) == (2, 7, 2)
    after = {article: (label, "v1") for article, label in expected(version, source).items()}
    assert rows(settings) == after
    assert kept.keys() | {"new"} == after.keys()
    assert score(settings, source, NoSpark()).outcome == "unchanged"


def test_a_new_champion_scores_all_again_in_one_snapshot(settings: Settings, tmp_path: Path) -> None:
    promote(settings, "v1")
    source = draw(tmp_path / "in", *(f"{n}.png" for n in range(12)))
    score(settings, source)
    old = rows(settings)
    version = promote(settings, "v2", seed=5)
    result = score(settings, source)
    assert (result.rows_committed, result.images_unchanged, snapshots(settings)) == (12, 0, 2)
    said = expected(version, source)
    assert rows(settings) == {article: (label, "v2") for article, label in said.items()}
    assert said != {article: label for article, (label, _) in old.items()}
    assert score(settings, source, NoSpark()).outcome == "unchanged"
    first = table_of(settings, TABLE).snapshots()[0]
    before = ask(settings, f"SELECT DISTINCT model_version FROM {TABLE}", as_of=str(first.snapshot_id))
    assert before == [("v1",)]


def test_scores_of_an_earlier_source_stay_and_are_told_when_they_are_old(
    settings: Settings, tmp_path: Path
) -> None:
    promote(settings, "v1")
    score(settings, draw(tmp_path / "monday", "1.png", "2.png", "3.png"))
    result = score(settings, draw(tmp_path / "tuesday", "4.png", seed=4))
    assert (sorted(rows(settings)), result.images_left) == (["1", "2", "3", "4"], 0)
    promote(settings, "v2", seed=3)
    result = score(settings, tmp_path / "tuesday")
    assert result.images_left == 3
    assert {article: version for article, (_, version) in rows(settings).items()} == {
        "1": "v1", "2": "v1", "3": "v1", "4": "v2",
    }  # fmt: skip


def test_stems_that_clash_become_paths_also_of_what_was_there_before(
    settings: Settings, tmp_path: Path
) -> None:
    promote(settings, "v1")
    source = draw(tmp_path / "in", "a/1.png", "a/2.png")
    score(settings, source)
    assert sorted(rows(settings)) == ["1", "2"]
    draw(source, "b/1.png", seed=1)
    assert score(settings, source).rows_in == 2
    assert sorted(rows(settings)) == ["2", "a/1.png", "b/1.png"]
    other = settings_of(tmp_path / "other")
    promote(other, "v1-again")
    score(other, source)
    assert sorted(rows(other)) == sorted(rows(settings)), "the order of arrival does not matter"


def test_too_many_unreadable_pictures_stop_the_run(settings: Settings, tmp_path: Path) -> None:
    promote(settings, "v1")
    source = draw(tmp_path / "in", *(f"{n}.png" for n in range(5)))
    score(settings, source)
    before, held = lake_contents(settings), rows(settings)
    (source / "bad.jpg").write_text("x")
    with pytest.raises(WatchkeeperError, match=r"scores\.articles was not committed: 1 of 1 rows"):
        score(settings, source)
    assert lake_contents(settings) == before
    assert rows(settings) == held


def test_a_picture_that_could_not_be_read_is_tried_again_by_the_next_run(
    settings: Settings, tmp_path: Path
) -> None:
    promote(settings, "v1")
    source = draw(tmp_path / "in", *(f"{n:02}.png" for n in range(25)))
    victim, times = source / "07.png", (source / "07.png").stat()
    content = victim.read_bytes()

    class Vanishing(WarmScorer):
        def run(self, *told: Any) -> None:
            victim.unlink()
            super().run(*told)

    result = score(settings, source, Vanishing(settings))
    assert result.quarantined_by_rule == {"file_unreadable": 1}
    victim.write_bytes(content)
    os.utime(victim, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert score(settings, source).rows_committed == 1
    assert len(rows(settings)) == 25
    assert sources_of(settings, CONTRACT).quarantined == {}
    assert score(settings, source, NoSpark()).outcome == "unchanged"


def test_of_two_runs_on_the_same_pictures_one_plans_again(settings: Settings, tmp_path: Path) -> None:
    promote(settings, "v1")
    source = draw(tmp_path / "in", "1.png", "2.png")
    scoring = scoring_of(settings, source)
    plan, staged, _ = steps.run_spark(scoring, scoring.plan(), WarmScorer(settings))
    score(settings, source)
    with pytest.raises(OvertakenError):
        etl.commit(settings, plan, staged, "test")
    assert (len(rows(settings)), snapshots(settings)) == (2, 1)


def test_maintenance_takes_scores_too(settings: Settings, tmp_path: Path) -> None:
    promote(settings, "v1")
    source = draw(tmp_path / "in", *(f"{n}.png" for n in range(9)))
    score(settings, source)
    score(settings, draw(source, *(f"more/1{n}.png" for n in range(9)), seed=2))
    held = rows(settings)
    assert [contract.identifier for contract in contracts_of(Lake(settings))] == [TABLE]
    assert compact_table(settings, CONTRACT).files_rewritten > 1
    assert len(data_files(settings, TABLE)) == len({label for label, _ in held.values()})
    assert rows(settings) == held
    assert score(settings, source, NoSpark()).outcome == "unchanged"


@pytest.mark.slow
def test_a_prefix_of_a_bucket_is_read_by_the_executors(
    settings: Settings,
    tmp_path: Path,
    bucket: Bucket,  # noqa: F811
) -> None:
    version = promote(settings, "v1")
    local = draw(tmp_path / "in", *(f"deep/{n} é+%20.png" for n in range(4)))
    for path in local.rglob("*.png"):
        bucket.put(f"shop/{path.relative_to(local)}", path.read_bytes())
    source = f"s3://{bucket.name}/shop"
    assert score(settings, source, Engine(LocalRunner(settings))).rows_committed == 4
    assert {article: label for article, (label, _) in rows(settings).items()} == expected(version, local)
    assert score(settings, source, NoSpark()).outcome == "unchanged"
