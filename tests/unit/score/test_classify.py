import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from flows.score import classify as module
from flows.score.classify import Row, classify, session
from services.bento.manifest import ImageInput, read_manifest
from services.bento.predictor import Predictor, as_input, decode
from services.bento.verify import sha256
from tests.versions import CLASSES, image_model, write_version


def run(source: Path, version: Path, names: list[str]) -> list[Row]:
    lines = (json.dumps({"path": name, "article_id": name.partition(".")[0]}) for name in names)
    job: dict[str, Any] = {"model": str(version), "root": str(source), "on_s3": False}
    return list(classify(lines, job))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred pictures in three formats."""
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for number in range(100):
        colour = draw.integers(0, 255, 3).astype(np.uint8)
        picture = Image.fromarray(np.broadcast_to(colour, (20, 16, 3)).copy())
        picture.save(folder / f"{number:03}.{('jpg', 'png', 'webp')[number % 3]}")
    return folder


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_version(tmp_path_factory.mktemp("model") / "v1")


def test_each_picture_gets_what_the_predictor_says_of_it_alone(source: Path, version: Path) -> None:
    names = sorted(path.name for path in source.iterdir())
    predictor = Predictor(version, read_manifest(version))
    spec = predictor.manifest.input
    assert isinstance(spec, ImageInput)
    rows = run(source, version, names)
    assert [row[4] for row in rows] == names
    for name, (article, label, probability, model_version, _, rule, _, digest) in zip(
        names, rows, strict=True
    ):
        pixels = decode((source / name).read_bytes(), spec.height, spec.width).pixels
        expected = predictor.predict(as_input([pixels], spec)).outputs[0]
        assert (article, label) == (name.partition(".")[0], CLASSES[expected.argmax()])
        assert probability == pytest.approx(expected.max(), abs=1e-6)
        assert (model_version, rule, digest) == ("v1", None, sha256(source / name))


def test_a_bad_picture_fails_alone_and_says_why(source: Path, version: Path, tmp_path: Path) -> None:
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "000.jpg").write_bytes(b"GIF89a no picture of ours")
    (tmp_path / "003.jpg").write_bytes((source / "003.jpg").read_bytes()[:200])
    rows = {
        row[4]: row for row in run(tmp_path, version, ["gone.jpg", *sorted(p.name for p in source.iterdir())])
    }
    assert len(rows) == 101
    assert rows["000.jpg"][5:7] == ("picture_unreadable", "not a JPEG, PNG or WebP picture")
    assert rows["003.jpg"][5] == "picture_unreadable"
    assert rows["gone.jpg"][5] == "file_unreadable"
    assert "No such file" in str(rows["gone.jpg"][6])
    assert [name for name, row in rows.items() if row[5]] == ["gone.jpg", "000.jpg", "003.jpg"]


def test_numbers_that_are_none_are_no_label(source: Path, tmp_path: Path) -> None:
    model = image_model()
    nothing = onnx.numpy_helper.from_array(np.full((3, 3), np.nan, np.float32), "to_scores")
    model.graph.initializer[0].CopyFrom(nothing)
    (row,) = run(source, write_version(tmp_path / "v1", onnx_model=model), ["000.jpg"])
    assert row[1] is None
    assert row[5:7] == ("not_finite", "version v1 gave [nan, nan, nan]")


def test_a_worker_makes_one_session_for_all_its_tasks(
    source: Path, version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.cache_clear()
    made: list[dict[str, Any]] = []

    def make(*args: Any, **more: Any) -> Predictor:
        made.append(more)
        return Predictor(*args, **more)

    monkeypatch.setattr(module, "Predictor", make)
    run(source, version, ["000.jpg"])
    run(source, version, ["001.png"])
    assert made == [{"threads": 1}]
    session.cache_clear()


def test_nothing_to_do_is_no_row(source: Path, version: Path) -> None:
    assert run(source, version, []) == []
