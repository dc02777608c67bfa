"""Champion and challenger on the very same rows, in one process: facts for the gate. Knows no images."""

import statistics
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from flows.errors import WatchkeeperError
from services.bento.gate_facts import Facts, Scores
from services.bento.manifest import ImageInput, Manifest, TabularInput, read_manifest
from services.bento.predictor import Floats, Predictor
from services.bento.verify import verify

BATCH_ROWS = 64
LATENCY_ROUNDS = 60


@dataclass(frozen=True)
class Holdout:
    """Rows that judge: `ids` and `labels` (class numbers or targets) of shape (n,).

    `inputs` gives the rows as a model's manifest wants them, of shape (n, ...), float32.
    """

    ids: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64] | npt.NDArray[np.float64]
    classes: tuple[str, ...]
    inputs: Callable[[ImageInput | TabularInput], Floats]


def compare(holdout: Holdout, challenger: Path, champion: Path | None) -> Facts:
    """Score both versions on the holdout's rows that neither was trained on.

    Args:
        holdout: the current one; it may have grown since the champion was judged.
        challenger: the folder of a version.
        champion: the folder of the one that answers now, if any does.

    Raises:
        WatchkeeperError: a file differs from its manifest, or the versions do not answer the same question.
    """
    folders = [challenger] if champion is None else [challenger, champion]
    manifests = [read_manifest(folder) for folder in folders]
    for folder, manifest in zip(folders, manifests, strict=True):
        verify(folder, manifest)
    same_question(manifests, holdout)
    seen = {article for folder in folders for article in trained_on(folder)}
    fresh = np.array([article not in seen for article in holdout.ids])
    predictors = [Predictor(folder, manifest) for folder, manifest in zip(folders, manifests, strict=True)]
    inputs = [holdout.inputs(manifest.input)[fresh] for manifest in manifests]
    outputs = [answer(predictor, rows) for predictor, rows in zip(predictors, inputs, strict=True)]
    latencies = side_by_side([(p, rows[:1]) for p, rows in zip(predictors, inputs, strict=True)])
    scores = [
        Scores(manifest.version, holdout.ids[fresh], output.astype(np.float64), latency)
        for manifest, output, latency in zip(manifests, outputs, latencies, strict=True)
    ]
    return Facts(holdout.labels[fresh], holdout.classes, scores[0], scores[1] if champion else None)


def same_question(manifests: Collection[Manifest], holdout: Holdout) -> None:
    """Refuse models that cannot be compared on these rows."""
    for manifest in manifests:
        if tuple(manifest.classes) != holdout.classes:
            gone = sorted(set(manifest.classes) ^ set(holdout.classes))
            raise WatchkeeperError(
                f"{manifest.model} {manifest.version} and the holdout differ in classes ({', '.join(gone)}); "
                "a model with other classes is another model: give it a name with --model"
            )


def trained_on(folder: Path) -> list[str]:
    """Ids that a version saw while it was trained, its validation rows among them."""
    ids: list[str] = pq.read_table(folder / "trained_on.parquet")["id"].to_pylist()
    return ids


def answer(predictor: Predictor, rows: Floats) -> Floats:
    """What a model says of rows, some at a time."""
    blocks = range(0, len(rows), BATCH_ROWS)
    parts = [predictor.predict(rows[start : start + BATCH_ROWS]).outputs for start in blocks]
    return np.concatenate(parts) if parts else np.empty((0,), np.float32)


def side_by_side(contenders: list[tuple[Predictor, Floats]], rounds: int = LATENCY_ROUNDS) -> list[float]:
    """Median seconds of a one-row prediction, in turn, so that a busy machine hurts all alike."""
    seconds: list[list[float]] = [[] for _ in contenders]
    for _ in range(rounds):
        for number, (predictor, row) in enumerate(contenders):
            if len(row):
                started = time.perf_counter()
                predictor.predict(row)
                seconds[number].append(time.perf_counter() - started)
    return [statistics.median(taken) if taken else 0.0 for taken in seconds]
