"""The model card: what a person wants to know before they trust a model. Markdown, with pictures beside it.

After Mitchell et al., "Model cards for model reporting" (2019).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

mpl.use("Agg")

from matplotlib import pyplot as plt

from services.bento.manifest import ImageInput, Manifest
from services.bento.statistics import f1_intervals

BINS = 10
WEIGHTS = {"root": "one over the root of their class's share", "none": "the same"}
Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def write(
    folder: Path,
    manifest: Manifest,
    classes: Sequence[str],
    truth: Labels,
    probabilities: Floats,
    epochs: Sequence[dict[str, Any]],
) -> None:
    """Write `card.md` and its three pictures.

    Args:
        folder: the version's.
        manifest: of the version; its files may not be described yet.
        classes: names, by class number.
        truth: class numbers of the validation rows, of shape (n,).
        probabilities: calibrated, of shape (n, classes).
        epochs: what each epoch came to.
    """
    predicted = probabilities.argmax(axis=1)
    draw_confusion(folder / "confusion.png", classes, truth, predicted)
    draw_reliability(folder / "reliability.png", truth, probabilities)
    draw_curve(folder / "learning.png", epochs)
    (folder / "card.md").write_text(text_of(manifest, classes, truth, predicted), encoding="utf-8")


def text_of(manifest: Manifest, classes: Sequence[str], truth: Labels, predicted: Labels) -> str:
    """The card's Markdown."""
    spec = manifest.input
    assert isinstance(spec, ImageInput)
    config, counts = manifest.training["config"], manifest.training["counts"]
    sides = ", ".join(f"{number:,} {side.replace('_', ' ')}" for side, number in sorted(counts.items()))
    scores = "\n".join(
        f"| {name} | {s['rows']:.0f} | {s['f1']:.3f} | {s['low']:.3f} to {s['high']:.3f} |"
        for name, s in f1_intervals(truth, predicted, classes).items()
    )
    m = manifest.metrics
    return f"""# {manifest.model} {manifest.version}

Classifies a picture ({spec.height} x {spec.width} pixels are seen of it) as one of {len(classes)} classes.
Made {manifest.created:%Y-%m-%d %H:%M} UTC at revision `{manifest.code_revision[:12]}` from snapshot
`{manifest.snapshot.snapshot_id}` of `{manifest.snapshot.table}`.

| on the validation rows | |
|---|---|
| accuracy | {m["validation_accuracy"]:.3f} |
| macro-F1 | {m["validation_macro_f1"]:.3f} |
| cross-entropy, nats | {m["validation_cross_entropy"]:.3f} |
| expected calibration error | {m["validation_ece"]:.3f} |

The validation rows chose the epoch and the temperature, so these figures flatter. The verdict of the gate, in
the ledger (`task model:history`), rests on the holdout, which this training never saw.

## Classes

| class | rows | F1 | 95% interval |
|---|---|---|---|
{scores}

![Confusion matrix](confusion.png)

## Probabilities

Divided by the temperature {manifest.training["temperature"]:.2f}, fitted on the validation rows.

![Reliability](reliability.png)

## Training

Articles: {sides}. Nearly identical pictures are on one side; unreadable ones were left out.
Backbone `{config["backbone"]}`, seed {manifest.training["seed"]}, best epoch
{manifest.training["best_epoch"] + 1}, {manifest.training["seconds"]:.0f} s.
Rows weigh {WEIGHTS[config["balance"]]}.

![Learning curve](learning.png)

## Limits

It knows these classes only and gives each picture one of them, whatever the picture shows. Pictures of
another kind than the table's (other cameras, backgrounds, seasons) are not covered: watch drift.
"""


def draw_confusion(path: Path, classes: Sequence[str], truth: Labels, predicted: Labels) -> None:
    """Rows are true classes; each sums to one."""
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, (truth, predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(6.5, 6), layout="constrained")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=60, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true", title="Share of each true class")
    for row, column in np.argwhere(counts > 0):
        colour = "white" if shares[row, column] > 0.5 else "black"
        number = f"{counts[row, column]:.0f}"
        axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=8)
    save(figure, path)


def draw_reliability(path: Path, truth: Labels, probabilities: Floats) -> None:
    """Accuracy by confidence: a calibrated model lies on the diagonal."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    used = np.unique(place)
    figure, axes = plt.subplots(figsize=(4.5, 4), layout="constrained")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
    heights = [right[place == n].mean() for n in used]
    axes.bar([(n + 0.5) / BINS for n in used], heights, width=0.9 / BINS)
    for n, height in zip(used, heights, strict=True):
        axes.text((n + 0.5) / BINS, height, str((place == n).sum()), ha="center", va="bottom", fontsize=8)
    axes.set(xlabel="probability of the answer", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.08))
    axes.set_title("Reliability (rows above each bar)")
    save(figure, path)


def draw_curve(path: Path, epochs: Sequence[dict[str, Any]]) -> None:
    """Loss and accuracy by epoch."""
    numbers = [epoch["number"] + 1 for epoch in epochs]
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot(numbers, [e["loss"] for e in epochs], label="training loss (augmented, smoothed)")
    axes.plot(numbers, [e["validation_loss"] for e in epochs], label="validation loss")
    axes.plot(numbers, [e["validation_accuracy"] for e in epochs], label="validation accuracy")
    axes.set(xlabel="epoch", ylim=(0, None), title="Learning curve")
    axes.legend(fontsize=8)
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Write the picture, the same bytes for the same data."""
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
