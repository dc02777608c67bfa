"""Training on drawn pictures of two colours: small enough for seconds."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from flows.errors import WatchkeeperError
from flows.retrain.batches import Rows, class_weights, epoch_batches
from flows.retrain.config import TrainingConfig, load_config
from flows.retrain.dataset import Dataset
from flows.retrain.export import check_export, write_onnx
from flows.retrain.train import Epoch, cross_entropy, fit_temperature, train
from services.bento.manifest import Snapshot

CONFIG = TrainingConfig(height=24, width=16, filters=4, epochs=4, batch_size=16, patience=10)


def drawn(rows: int = 120, classes: int = 2, seed: int = 0) -> Dataset:
    """Pictures whose class is their brightest channel."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    pixels = rng.integers(0, 120, (rows, 24, 16, 3)).astype(np.uint8)
    pixels[np.arange(rows), :, :, labels] += 100
    sides = np.array(["train"] * (rows * 2 // 3) + ["validation"] * (rows - rows * 2 // 3))
    return Dataset(
        snapshot=Snapshot(table="t.pictures", snapshot_id=1),
        ids=np.array([f"{n:05}" for n in range(rows)]),
        labels=labels,
        classes=tuple("abc"[:classes]),
        sides=sides,
        pixels=pixels,
        looks=tuple({} for _ in range(rows)),
        unreadable={},
        holdout_sha256="0" * 64,
    )


def test_the_same_seed_and_epoch_are_the_same_batches() -> None:
    data = drawn()
    rows = Rows(data.pixels, data.labels, class_weights(data.labels, 2, "root"), 2)
    one, again, other = (list(epoch_batches(rows, CONFIG, 1, epoch)) for epoch in (3, 3, 4))
    assert len(one) == 7
    assert all(
        np.array_equal(a, b) for x, y in zip(one, again, strict=True) for a, b in zip(x, y, strict=True)
    )
    assert not np.array_equal(one[0][0], other[0][0])


def test_augmented_pixels_stay_pixels_and_labels_sum_to_one() -> None:
    data = drawn()
    rows = Rows(data.pixels, data.labels, class_weights(data.labels, 2, "none"), 2)
    for pixels, labels, weights in epoch_batches(rows, CONFIG, 0, 0):
        assert pixels.shape == (16, 24, 16, 3)
        assert pixels.min() >= 0
        assert pixels.max() <= 255
        assert labels.sum(axis=1) == pytest.approx(np.ones(16), abs=1e-5)
        assert weights == pytest.approx(np.ones(16))


def test_a_rare_classes_row_weighs_the_root_of_its_rarity() -> None:
    weights = class_weights(np.array([0] * 16 + [1] * 4), 2, "root")
    assert weights[-1] / weights[0] == pytest.approx(2)
    assert weights.mean() == pytest.approx(1)


def test_a_network_learns_resumes_where_it_was_killed_and_exports(tmp_path: Path) -> None:
    data = drawn()
    whole = train(data, CONFIG, 0, tmp_path / "whole")
    assert whole.epochs[-1].validation_accuracy > 0.9

    class KilledError(Exception):
        pass

    def kill(epoch: Epoch, _of: int) -> None:
        if epoch.number == 1:
            raise KilledError

    with pytest.raises(KilledError):
        train(data, CONFIG, 0, tmp_path / "killed", kill)
    seen: list[int] = []
    resumed = train(data, CONFIG, 0, tmp_path / "killed", lambda epoch, _of: seen.append(epoch.number))
    assert resumed.resumed_from == 2
    assert seen == [2, 3]
    losses = [[epoch.validation_loss for epoch in t.epochs] for t in (whole, resumed)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)

    from flows.retrain import network

    features = np.random.default_rng(0).normal(size=(50, 32)).astype(np.float32)
    final = network.final(whole.model, CONFIG, 1.5, features)
    write_onnx(final, tmp_path / "model.onnx")
    assert check_export(final, tmp_path / "model.onnx", data.pixels[:64].astype(np.float32)) <= 1e-5
    assert [path.name for path in tmp_path.glob("model*")] == ["model.onnx"]
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert sorted(output.name for output in graph.output) == ["embedding", "probabilities"]
    other = network.final(whole.model, CONFIG, 3.0, features)
    write_onnx(other, tmp_path / "wrong.onnx")
    with pytest.raises(WatchkeeperError, match="ONNX Runtime and Keras differ"):
        check_export(final, tmp_path / "wrong.onnx", data.pixels[:64].astype(np.float32))


def test_the_temperature_is_found_that_the_logits_were_multiplied_by() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 5)) * 2
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) > rng.random((4000, 1))).argmax(axis=1)
    found = fit_temperature((logits * 3).astype(np.float32), labels)
    assert found == pytest.approx(3, rel=0.1)
    hot = (logits * 3).astype(np.float32)
    assert cross_entropy(hot, labels, found) < cross_entropy(hot, labels)


def test_a_configuration_is_read_and_the_command_line_goes_before_it(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("epochs: 20\nbalance: none\n")
    config = load_config(tmp_path / "c.yaml", epochs=3, batch_size=None)
    assert (config.epochs, config.balance) == (3, "none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs: 0", r"epochs=0: .*greater than or equal to 1"),
        ("epoch: 3", r"epoch=3: .*not permitted"),
        ("- 1", "holds no fields"),
        ("a: [", "cannot be read"),
        ("balance: some", "balance='some'"),
    ],
)
def test_a_wrong_configuration_is_named_with_its_field_and_value(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(WatchkeeperError, match=message):
        load_config(tmp_path / "c.yaml")


def test_a_backbone_that_is_none_or_cannot_be_fetched_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(WatchkeeperError, match=r"backbone 'NoSuchNet' is none of keras\.applications"):
        train(drawn(), TrainingConfig(backbone="NoSuchNet"), 0, tmp_path)


@pytest.mark.slow
def test_weights_that_cannot_be_fetched_name_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens on the discard port
    with pytest.raises(WatchkeeperError, match="`backbone: small` in the training config"):
        train(drawn(), TrainingConfig(backbone="NASNetMobile", height=64, width=64), 0, tmp_path)


def test_too_few_articles_are_said(tmp_path: Path) -> None:
    with pytest.raises(WatchkeeperError, match=r"t\.pictures has 8 articles to train on and 4 to"):
        train(drawn(12), CONFIG, 0, tmp_path)
