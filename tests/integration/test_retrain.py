"""From a lake of drawn pictures to a champion with its Bento, and what people ask afterwards."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.config import Settings
from flows.console import no_progress
from flows.errors import WatchkeeperError
from flows.etl.raw_zone import raw_path
from flows.retrain import model_command
from flows.retrain.config import TrainingConfig
from flows.retrain.flow import Retraining
from flows.retrain.report import Outcome
from flows.retrain.runs import Run, record, recorded
from services.bento.gate_policy import load_policy
from services.bento.manifest import read_manifest
from services.bento.package import tag_of
from tests.drawn import CLASSES, draw, drawn
from tests.factories import free_port, run_table, settings_of, shipped, table_of, wait_until

pytestmark = pytest.mark.timeout(600)
CONTRACT = shipped("garments.articles")
CONFIG = TrainingConfig(height=32, width=24, filters=4, epochs=4, batch_size=16)
WEAK = CONFIG.model_copy(update={"epochs": 1, "learning_rate": 1e-6})
ROWS = 840


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home whose lake holds the pictures."""
    folder = tmp_path_factory.mktemp("retrain")
    draw(folder / "source", ROWS)
    settings = settings_of(folder / "home")
    run_table(settings, CONTRACT, folder / "source")
    return settings


@pytest.fixture(autouse=True)
def at_home(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHKEEPER_HOME", str(home.home))
    # The shipped policy judges nothing on fewer than 500 rows; here a difference is as large as it gets.
    monkeypatch.setattr(
        "flows.retrain.flow.load_policy", lambda: load_policy().model_copy(update={"minimum_rows": 100})
    )


def retrained(config: TrainingConfig, model: str, seed: int = 0) -> Outcome:
    """The flow's steps without Prefect."""
    flow = Retraining("garments", model, None, seed)
    data = flow.load(config, no_progress)
    folder = flow.settings.training / model / flow.key(data, config)
    manifest = flow.train(data, config, folder, datetime.now(UTC), no_progress)
    judged = flow.judge(data, folder / "version")
    bento = flow.package(manifest.version) if judged.verdict.outcome == "promote" else None
    return Outcome.of(model, manifest, judged, bento, data.counts, 1.0)


@pytest.fixture(scope="module")
def first(home: Settings) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WATCHKEEPER_HOME", str(home.home))
        return retrained(CONFIG, "garments")


def test_the_first_model_is_promoted_when_it_is_of_use(first: Outcome) -> None:
    assert first.verdict == "promote", first.reasons
    assert first.champion == first.version
    assert first.scores["f1_challenger"] > 0.8
    assert sum(first.articles.values()) == ROWS


def test_a_version_is_one_onnx_file_its_manifest_reference_and_card(home: Settings, first: Outcome) -> None:
    flow = Retraining("garments", "garments", None, 0)
    folder = flow.registry.fetch(first.version)
    manifest = read_manifest(folder)
    assert {path.name for path in folder.iterdir()} == {
        "manifest.json", "model.onnx", "reference.parquet", "trained_on.parquet",
        "card.md", "confusion.png", "reliability.png", "learning.png",
    }  # fmt: skip
    assert manifest.training["export_difference"] <= 1e-5
    assert manifest.metrics.keys() >= {"validation_macro_f1", "validation_ece"}
    assert manifest.snapshot.snapshot_id == table_of(home, CONTRACT.identifier).current_snapshot().snapshot_id  # type: ignore[union-attr]
    for picture in ("confusion.png", "reliability.png", "learning.png"):
        assert Image.open(folder / picture).size[0] > 300
    card = (folder / "card.md").read_text()
    assert all(name in card for name in (*CLASSES, first.version, "95% interval"))


def test_a_promotion_ends_with_a_bento_whose_tag_is_in_the_ledger(home: Settings, first: Outcome) -> None:
    flow = Retraining("garments", "garments", None, 0)
    assert first.bento == tag_of(flow.registry.manifest(first.version))
    assert first.bento.startswith(f"garments-service:{first.version.lower()}-")
    assert {"bento": first.bento} in [entry.detail for entry in flow.registry.history()]
    bento = home.home / "bento" / "bentos" / first.bento.replace(":", "/")
    assert (bento / "bento.yaml").exists()
    assert flow.package(first.version) == first.bento  # again: the same


def test_the_bento_answers(home: Settings, first: Outcome, tmp_path: Path) -> None:
    assert first.bento
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        first.bento,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    own = {"BENTOML_HOME": str(home.home / "bento"), "BENTOML_DO_NOT_TRACK": "true"}
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | own, cwd=tmp_path, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{url}/readyz"), f"the Bento's service (see {tmp_path / 'log'})", 120)
        body = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
        body += b"Content-Type: image/jpeg\r\n\r\n" + drawn(5000, 2) + b"\r\n--x--\r\n"
        request = urllib.request.Request(f"{url}/predict", body)
        request.add_header("Content-Type", "multipart/form-data; boundary=x")
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
    finally:
        server.terminate()
        server.wait(30)
    assert (answer["label"], answer["model_version"]) == ("shoes", first.version)
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def answers(url: str) -> bool:
    """Whether a server is ready."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@pytest.mark.slow
def test_the_same_seed_again_gives_the_same_scores_and_promotes_nothing(first: Outcome) -> None:
    again = retrained(CONFIG.model_copy(update={"patience": 11}), "garments")  # patience that never ends it
    assert again.verdict != "promote"
    assert again.champion == first.version
    assert again.scores["f1_challenger"] == pytest.approx(first.scores["f1_challenger"], abs=0.005)


def test_a_worse_model_is_not_promoted_and_is_in_the_ledger(first: Outcome) -> None:
    worse = retrained(WEAK, "garments")
    assert worse.verdict in ("reject", "inconclusive")
    assert worse.scores["difference"] < 0
    entries = Retraining("garments", "garments", None, 0).registry.history()
    assert [e.version for e in entries if e.event in ("rejected", "inconclusive")][-1] == worse.version
    assert worse.champion == first.version


@pytest.mark.slow
def test_a_champion_of_another_picture_size_meets_the_same_rows(first: Outcome) -> None:
    larger = WEAK.model_copy(update={"height": 40, "width": 30})
    outcome = retrained(larger, "garments", seed=4)
    assert outcome.verdict == "reject", outcome.reasons
    assert outcome.scores["f1_champion"] == pytest.approx(first.scores["f1_challenger"])
    assert outcome.articles == first.articles


def test_a_first_model_that_knows_nothing_is_not_promoted() -> None:
    useless = retrained(WEAK, "useless")
    assert (useless.verdict, useless.champion) == ("reject", None)


def test_a_second_load_never_touches_a_picture(
    home: Settings, monkeypatch: pytest.MonkeyPatch, first: Outcome
) -> None:
    monkeypatch.setattr("flows.retrain.dataset.decode", lambda *_: pytest.fail("decoded again"))
    data = Retraining("garments", "garments", None, 0).load(CONFIG, no_progress)
    assert len(data.ids) == ROWS


def test_what_does_not_decode_is_counted_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(tmp_path / "home")
    monkeypatch.setenv("WATCHKEEPER_HOME", str(settings.home))
    draw(tmp_path / "source", 24)
    run_table(settings, CONTRACT, tmp_path / "source")
    rows = table_of(settings, CONTRACT.identifier).scan().to_arrow().to_pylist()
    victim = next(row for row in rows if row["article_id"] == "a00003")
    raw = Path(str(raw_path(settings.raw, victim["image_sha256"], victim["image_path"])))
    raw.chmod(0o644)
    raw.write_bytes(b"no picture")
    data = Retraining("garments", "garments", None, 0).load(CONFIG, no_progress)
    assert data.unreadable == {"a00003": "not a JPEG, PNG or WebP picture"}
    assert data.counts["unreadable"] == 1
    assert "a00003" not in data.ids.tolist()


def test_a_training_as_of_an_older_snapshot_sees_the_old_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(tmp_path / "home")
    monkeypatch.setenv("WATCHKEEPER_HOME", str(settings.home))
    draw(tmp_path / "source", 24)
    run_table(settings, CONTRACT, tmp_path / "source")
    old = table_of(settings, CONTRACT.identifier).current_snapshot()
    assert old
    (tmp_path / "source" / "images" / "5.jpg").write_bytes(drawn(999, 1))
    run_table(settings, CONTRACT, tmp_path / "source")
    now, then = (
        Retraining("garments", "garments", number, 0).load(CONFIG, no_progress)
        for number in (None, old.snapshot_id)
    )
    changed = [
        a for a, x, y in zip(now.ids, now.pixels, then.pixels, strict=True) if not np.array_equal(x, y)
    ]
    assert changed == ["a00005"]


@pytest.mark.parametrize(
    ("dataset", "snapshot", "message"),
    [
        ("garments", 12345, "has no snapshot 12345"),
        ("online_retail", None, "has `images`"),
        ("hm", None, "the lake has no hm.articles yet; bring it in with"),
    ],
)
def test_what_cannot_be_trained_on_is_said(dataset: str, snapshot: int | None, message: str) -> None:
    with pytest.raises(WatchkeeperError, match=message):
        Retraining(dataset, dataset, snapshot, 0).load(CONFIG, no_progress)


Tell = Callable[..., str]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tell:
    """What a `task model:*` command prints about the garments."""
    monkeypatch.setenv("COLUMNS", "200")

    def told(command: str, *arguments: str) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["model_command", command, "--model", "garments", *arguments])
        model_command.main()
        return capsys.readouterr().out

    return told


def test_one_command_says_which_model_answered_and_why(first: Outcome, tell: Tell) -> None:
    entries = json.loads(tell("history", "--format", "json"))
    assert [e["event"] for e in entries][:2] == ["promoted", "packaged"]
    assert entries[0]["reason"]
    when = entries[0]["when"][:19]
    (at,) = json.loads(tell("history", "--at", f"{when}.999999+00:00", "--format", "json"))
    assert at["champion"] == first.version
    assert "had no champion" in tell("history", "--at", "2020-01-01")
    assert first.version in tell("show")
    with pytest.raises(WatchkeeperError, match="is no time"):
        tell("history", "--at", "Tuesday")
    with pytest.raises(WatchkeeperError, match="has no version"):
        tell("show", "v9")


def test_a_rollback_to_a_damaged_version_is_refused(home: Settings, first: Outcome, tell: Tell) -> None:
    worse = retrained(WEAK.model_copy(update={"dropout": 0.1}), "garments")
    assert "learning_rate" in tell("diff", worse.version)
    assert worse.version in tell("rollback", worse.version)
    assert first.version in tell("rollback")
    path = home.registry / "garments" / "versions" / worse.version / "model.onnx"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(WatchkeeperError, match=r"model\.onnx"):
        tell("rollback", worse.version)
    champion = Retraining("garments", "garments", None, 0).registry.champion()
    assert champion
    assert champion.version == first.version


def test_runs_are_compared_side_by_side(home: Settings, first: Outcome, tell: Tell) -> None:
    flow = Retraining("garments", "garments", None, 0)
    for number, rate in enumerate((0.001, 0.002)):
        epochs = [{"number": 0, "validation_loss": 1.5 + number}]
        run = Run(
            f"r{number}",
            "trial",
            f"2026-01-0{number + 1}",
            "none",
            7,
            0,
            {"learning_rate": rate},
            "pruned",
            1.0,
            epochs=epochs,
        )
        record(flow.store, "garments", run)
        record(flow.store, "garments", run)
    assert [run.id for run in recorded(flow.store, "garments")][:2] == ["r0", "r1"]
    said = tell("runs", "r0", "r1")
    assert all(text in said for text in ("pruned", "0.001", "0.002", "1.500", "2.500"))
