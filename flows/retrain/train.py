"""Training: epochs with a checkpoint after each, so that a killed training goes on where it was.

Begins with small pictures and ends with whole ones (Tan and Le, "EfficientNetV2: smaller models and faster
training", 2021): the network has no fixed size, and two thirds of the epochs cost less than half.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import Model, losses, optimizers
from keras.utils import set_random_seed
from PIL import Image

from flows.errors import WatchkeeperError
from flows.retrain import network
from flows.retrain.batches import Rows, ahead, class_weights, epoch_batches
from flows.retrain.config import TrainingConfig
from flows.retrain.dataset import Dataset

SMALL_EPOCHS, SMALL_SIZE = 0.6, 2 / 3
WARMUP_EPOCHS = 2
PREDICT_ROWS = 128


@dataclass
class Epoch:
    """What one epoch came to."""

    number: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


OnEpoch = Callable[[Epoch, int], None]


def no_epoch(_epoch: Epoch, _of: int) -> None:
    """Epochs that nobody watches."""


@dataclass
class Trained:
    """A trained network at its best epoch, and how it got there."""

    model: Any
    epochs: list[Epoch]
    best: int
    resumed_from: int | None = None

    @property
    def seconds(self) -> float:
        """Of all epochs, also those before a restart."""
        return sum(epoch.seconds for epoch in self.epochs)


@dataclass
class Progress:
    """What the checkpoint's `progress.json` says."""

    epochs: list[Epoch] = field(default_factory=list)
    best: int = -1

    @classmethod
    def read(cls, folder: Path) -> "Progress":
        """As the last finished epoch left it; nothing where there is none."""
        path = folder / "progress.json"
        if not path.exists():
            return cls()
        held = json.loads(path.read_text())
        return cls([Epoch(**epoch) for epoch in held["epochs"]], held["best"])

    def write(self, folder: Path) -> None:
        """Written last, at once: it decides which epoch's weights count."""
        temporary = folder / "progress.tmp"
        temporary.write_text(json.dumps({"epochs": [asdict(e) for e in self.epochs], "best": self.best}))
        temporary.replace(folder / "progress.json")


def train(
    dataset: Dataset, config: TrainingConfig, seed: int, folder: Path, on_epoch: OnEpoch = no_epoch
) -> Trained:
    """Train on the train side, choose the epoch on the validation side.

    Args:
        dataset: decoded pictures and their sides.
        config: everything that changes the model.
        seed: of the weights, the order and the augmentation.
        folder: for checkpoints; a training that it holds unfinished goes on.
        on_epoch: called after each epoch with it and their number; what it raises ends the training.

    Raises:
        WatchkeeperError: too few articles, an unknown backbone, or weights that cannot be fetched.
    """
    few, chosen = len(dataset.rows("train")), len(dataset.rows("validation"))
    if few < config.batch_size or not chosen:
        raise WatchkeeperError(
            f"{dataset.snapshot.table} has {few} articles to train on and {chosen} to validate; a training "
            f"needs a batch ({config.batch_size}) and one: bring more articles"
        )
    folder.mkdir(parents=True, exist_ok=True)
    set_random_seed(seed)
    model = network.build(config, len(dataset.classes))
    trainer = compiled(model, config, len(dataset.rows("train")))
    progress = Progress.read(folder)
    resumed = len(progress.epochs) or None
    if resumed:
        restore(trainer, folder / f"epoch-{resumed - 1}")
    stages = {
        size: rows_of(dataset, config, size)
        for size in {picture_size(config, e) for e in range(config.epochs)}
    }
    for number in range(len(progress.epochs), config.epochs):
        if number - max(progress.best, first_whole_epoch(config)) > config.patience:
            break
        rows = stages[picture_size(config, number)]
        epoch = one_epoch(trainer, rows, dataset, config, seed, number)
        losses = [e.validation_loss for e in progress.epochs]
        is_best = epoch.validation_loss <= min(losses, default=np.inf)
        progress.best = number if is_best else progress.best
        progress.epochs.append(epoch)
        save(trainer, folder / f"epoch-{number}")
        progress.write(folder)
        sweep(folder, keep={number, progress.best})
        on_epoch(epoch, config.epochs)
    restore(trainer, folder / f"epoch-{progress.best}")
    return Trained(model, progress.epochs, progress.best, resumed)


def compiled(model: Any, config: TrainingConfig, rows: int) -> Any:
    """The network from pixels to logits, ready to be fitted: AdamW, warm-up and cosine."""
    trainer = Model(model.inputs[0], model.output["logits"])
    steps = max(rows // config.batch_size, 1)
    schedule = optimizers.schedules.CosineDecay(
        config.learning_rate / 20,
        max(steps * (config.epochs - WARMUP_EPOCHS), 1),
        warmup_target=config.learning_rate,
        warmup_steps=WARMUP_EPOCHS * steps,
    )
    optimizer = optimizers.AdamW(schedule, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    trainer.compile(optimizer, losses.CategoricalCrossentropy(from_logits=True))
    optimizer.build(trainer.trainable_variables)
    return trainer


def first_whole_epoch(config: TrainingConfig) -> int:
    """The first epoch at full size: before it the validation loss, at full size, says little."""
    sizes = [picture_size(config, number) for number in range(config.epochs)]
    return sizes.index((config.height, config.width))


def picture_size(config: TrainingConfig, epoch: int) -> tuple[int, int]:
    """Height and width of an epoch's pictures."""
    if epoch >= int(SMALL_EPOCHS * config.epochs) or config.backbone != "small":
        return config.height, config.width
    return max(int(config.height * SMALL_SIZE), 16), max(int(config.width * SMALL_SIZE), 16)


def rows_of(dataset: Dataset, config: TrainingConfig, size: tuple[int, int]) -> Rows:
    """The train side at a picture size."""
    chosen = dataset.rows("train")
    pixels = dataset.pixels[chosen]
    if size != pixels.shape[1:3]:
        shape = (size[1], size[0])
        shrunk = [Image.fromarray(p).resize(shape, Image.Resampling.BILINEAR) for p in pixels]
        pixels = np.array([np.asarray(picture) for picture in shrunk])
    labels = dataset.labels[chosen]
    weights = class_weights(labels, len(dataset.classes), config.balance)
    return Rows(pixels, labels, weights, len(dataset.classes))


def one_epoch(
    trainer: Any, rows: Rows, dataset: Dataset, config: TrainingConfig, seed: int, number: int
) -> Epoch:
    """Fit once over the rows, and look at the validation side at full size."""
    started = time.perf_counter()
    batches = ahead(epoch_batches(rows, config, seed, number))
    losses = [float(trainer.train_on_batch(*batch)) for batch in batches]
    chosen = dataset.rows("validation")
    logits = predict(trainer, dataset.pixels, chosen)
    truth = dataset.labels[chosen]
    return Epoch(
        number=number,
        loss=float(np.mean(losses)),
        validation_loss=cross_entropy(logits, truth),
        validation_accuracy=float((logits.argmax(axis=1) == truth).mean()),
        seconds=round(time.perf_counter() - started, 3),
    )


def predict(
    model: Any, pixels: npt.NDArray[np.uint8], chosen: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Outputs of some rows, some at a time; only full blocks, since each new shape is compiled anew."""
    parts = []
    for start in range(0, len(chosen), PREDICT_ROWS):
        block = chosen[start : start + PREDICT_ROWS]
        padded = np.resize(block, PREDICT_ROWS)
        parts.append(np.asarray(model.predict_on_batch(pixels[padded].astype(np.float32)))[: len(block)])
    return np.concatenate(parts)


def cross_entropy(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], temperature: float = 1
) -> float:
    """Mean negative log-likelihood, in nats."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    log = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return float(-log[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """The temperature from 0.05 to 20 of the least cross-entropy (Guo et al. 2017), by golden section."""
    low, high = np.log(0.05), np.log(20)
    part = (np.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        one, other = high - part * (high - low), low + part * (high - low)
        if cross_entropy(logits, labels, np.exp(one)) < cross_entropy(logits, labels, np.exp(other)):
            high = other
        else:
            low = one
    return float(np.exp((low + high) / 2))


def save(trainer: Any, folder: Path) -> None:
    """Weights and the optimizer's state, as plain arrays."""
    arrays = [np.asarray(v) for v in (*trainer.variables, *trainer.optimizer.variables)]
    named = {f"v{n:05}": array for n, array in enumerate(arrays)}
    np.savez(folder.with_suffix(".npz"), **named)  # type: ignore[arg-type]


def restore(trainer: Any, folder: Path) -> None:
    """What `save` wrote, without pickle."""
    with np.load(folder.with_suffix(".npz"), allow_pickle=False) as held:
        for name, variable in zip(
            sorted(held), (*trainer.variables, *trainer.optimizer.variables), strict=True
        ):
            variable.assign(held[name])


def sweep(folder: Path, keep: set[int]) -> None:
    """Remove checkpoints that nothing needs."""
    for path in folder.glob("epoch-*.npz"):
        if int(path.stem.removeprefix("epoch-")) not in keep:
            path.unlink()


def forget(folder: Path) -> None:
    """A training that ended needs no checkpoint."""
    shutil.rmtree(folder, ignore_errors=True)
