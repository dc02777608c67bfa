"""Batches for training: rows in an order of their epoch's own, augmented and mixed. Plain NumPy."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from flows.retrain.config import TrainingConfig

Floats = npt.NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True)
class Rows:
    """Training rows: `pixels` (n, height, width, 3) uint8, `labels` (n,) class numbers, `weights` (n,)."""

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    weights: Floats
    classes: int


def class_weights(labels: npt.NDArray[np.int64], classes: int, balance: str) -> Floats:
    """A weight a row, 1 on average: one over the root of its class's share, or 1."""
    if balance == "none":
        return np.ones(len(labels), np.float32)
    share = np.bincount(labels, minlength=classes)[labels] / len(labels)
    weights = 1 / np.sqrt(share)
    return np.asarray(weights / weights.mean(), np.float32)


def epoch_batches(
    rows: Rows, config: TrainingConfig, seed: int, epoch: int
) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Pixels, soft labels (n, classes) and weights, a batch at a time; seed and epoch decide all of it."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(rows.labels))
    for start in range(0, len(order) - config.batch_size + 1, config.batch_size):
        chosen = order[start : start + config.batch_size]
        pixels = rows.pixels[np.sort(chosen)][np.argsort(np.argsort(chosen))].astype(np.float32)
        labels = np.eye(rows.classes, dtype=np.float32)[rows.labels[chosen]]
        labels = labels * (1 - config.label_smoothing) + config.label_smoothing / rows.classes
        weights = rows.weights[chosen]
        if config.augment:
            pixels = augment(pixels, rng)
        if config.mixup:
            pixels, labels, weights = mix(pixels, labels, weights, config.mixup, rng)
        yield pixels, labels, weights


def ahead(batches: Iterator[T]) -> Iterator[T]:
    """The same, each made in a thread while the one before is used: the network leaves NumPy a core."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch


def mix(
    pixels: Floats, labels: Floats, weights: Floats, alpha: float, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Blend each row with another (Zhang et al., "mixup: beyond empirical risk minimization", 2018)."""
    part = np.float32(rng.beta(alpha, alpha))
    other = rng.permutation(len(pixels))
    blended = [part * values + (1 - part) * values[other] for values in (pixels, labels, weights)]
    return blended[0], blended[1], blended[2]


def augment(pixels: Floats, rng: np.random.Generator) -> Floats:
    """Mirror, turn, zoom, shift, light, contrast and a grey patch, each picture its own."""
    count = len(pixels)
    flipped = rng.random(count) < 0.5
    pixels[flipped] = pixels[flipped, :, ::-1]
    pixels = warp(pixels, rng)
    gain = rng.uniform(0.75, 1.25, (count, 1, 1, 3 if rng.random() < 0.5 else 1)).astype(np.float32)
    light = rng.uniform(-25, 25, (count, 1, 1, 1)).astype(np.float32)
    mean = pixels.mean(axis=(1, 2, 3), keepdims=True)
    pixels = np.clip((pixels - mean) * gain + mean + light, 0, 255)
    return erase(pixels, rng)


def warp(pixels: Floats, rng: np.random.Generator) -> Floats:
    """Turn by up to 15 degrees, zoom by a fifth, shift by a tenth; nearest pixels, edges repeat."""
    count, height, width, _ = pixels.shape
    angle = rng.uniform(-0.26, 0.26, (count, 1, 1))
    zoom_y, zoom_x = rng.uniform(0.8, 1.2, (2, count, 1, 1))
    shift_y, shift_x = rng.uniform(-0.1, 0.1, (2, count, 1, 1))
    y, x = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    from_y = (np.cos(angle) * y - np.sin(angle) * x) * zoom_y + (height - 1) / 2 + shift_y * height
    from_x = (np.sin(angle) * y + np.cos(angle) * x) * zoom_x + (width - 1) / 2 + shift_x * width
    rows = np.clip(np.rint(from_y), 0, height - 1).astype(np.intp)
    columns = np.clip(np.rint(from_x), 0, width - 1).astype(np.intp)
    warped: Floats = pixels[np.arange(count)[:, None, None], rows, columns]
    return warped


def erase(pixels: Floats, rng: np.random.Generator) -> Floats:
    """Cover a patch of half the pictures (Zhong et al., "Random erasing data augmentation", 2020)."""
    height, width = pixels.shape[1:3]
    for picture in pixels[rng.random(len(pixels)) < 0.5]:
        tall, wide = rng.integers(height // 8, height // 3), rng.integers(width // 8, width // 3)
        top, left = rng.integers(0, height - tall), rng.integers(0, width - wide)
        picture[top : top + tall, left : left + wide] = rng.uniform(0, 255, 3)
    return pixels
