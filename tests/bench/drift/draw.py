"""The pictures of `task bench:detect`."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot

Curves = dict[str, dict[int, list[tuple[float, tuple[float, float, float]]]]]
"""Of each shift and length of window, the shares found along its sizes: at all, confirmed, by Evidently."""
Months = dict[str, dict[str, tuple[float, bool, str]]]
"""Of each month and column: score over threshold, whether it drifted, and the month's outcome."""


def draw_season(found: Months, reference: str, path: Path) -> None:
    """Months by columns, coloured by score over threshold."""
    names = list(next(iter(found.values())))
    values = np.array([[month[name][0] for month in found.values()] for name in names])
    figure, panel = pyplot.subplots(figsize=(10, 3.2), layout="constrained")
    shown = panel.imshow(values, cmap="RdYlGn_r", vmin=0, vmax=2, aspect="auto")
    panel.set(yticks=range(len(names)), xticks=range(len(found)))
    panel.set_yticklabels(names)
    panel.set_xticklabels([f"{m}\n{next(iter(c.values()))[2]}" for m, c in found.items()], fontsize=8)
    for column, month in enumerate(found.values()):
        for row, name in enumerate(names):
            score, drifted, _ = month[name]
            weight = "bold" if drifted else "normal"
            panel.text(column, row, f"{score:.1f}", ha="center", va="center", fontsize=8, weight=weight)
    figure.colorbar(shown, label="score / threshold")
    panel.set_title(f"Each month beside {reference}, itself left out; bold: drifted")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def draw_curves(found: Curves, path: Path) -> None:
    """The share of windows found along each shift's sizes."""
    columns = 3
    rows = -(-len(found) // columns)
    figure, panels = pyplot.subplots(
        rows, columns, figsize=(11, 2.7 * rows), sharey=True, layout="constrained"
    )
    for panel, (name, points) in zip(panels.flat, found.items(), strict=False):
        for delay in points:
            sizes = [size for size, _ in points[delay]]
            shares = [s[0] for _, s in points[delay]]
            panel.plot(sizes, shares, marker="o", markersize=3, label=f"windows of {delay}")
        evidently = [s[2] for _, s in points[max(points)]]
        panel.plot(sizes, evidently, color="0.6", linestyle="--", label="of 10, Evidently's defaults")
        panel.axhline(0.95, color="0.8", linewidth=0.8)
        panel.set(title=name, xscale="log")
        panel.minorticks_off()
        panel.set_xticks(sizes, [f"{size:g}" for size in sizes])
        panel.title.set_fontsize(9)
    for panel in panels.flat[len(found) :]:
        panel.axis("off")
    panels.flat[0].legend(fontsize=7)
    panels.flat[0].set_ylabel("windows found")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
