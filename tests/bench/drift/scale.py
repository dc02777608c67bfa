"""`task bench:drift`: profile-and-compare beside Evidently's `DataDriftPreset`, on the same frames.

Each contender is a process of its own that starts at the Parquet files of two frames and ends with a distance
for each column. Prints time, peak memory (of all its processes) and agreement, then every figure beside its
goal; `docs/benchmarks.md` records them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq

from flows.config import CHECKOUT
from observability.drift.profiles import Kind, cells_of, scale_of, windows
from tests.bench.drift.plain import plain
from tests.bench.serving.setting import Figure

SIZES = ((100_000, 10), (1_000_000, 20), (3_000_000, 100))
GROWTH = (300_000, 1_000_000, 3_000_000, 30_000_000)
GROWTH_COLUMNS = 10
FILES = 4
PATIENCE = 1200.0
CASES = 200


@dataclass(frozen=True)
class Run:
    """One contender on two frames; `scores` is None where it did not finish."""

    seconds: float
    megabytes: float
    scores: dict[str, float] | None


def kind_of(number: int) -> Kind:
    """Every fifth column is of texts."""
    return "categorical" if number % 5 == 4 else "numeric"


def drawn(rng: np.random.Generator, rows: int, number: int, shift: float) -> Any:
    """A column's values: each kind of column in turn, to as many digits as measurements have."""
    if kind_of(number) == "categorical":
        shares = np.arange(1, 21) ** -(1.0 + shift)
        names = np.array([f"category {n}" for n in range(20)], object)
        return names[rng.choice(20, rows, p=shares / shares.sum())]
    if number % 5 == 1:
        return np.round(rng.lognormal(3, 0.8, rows) * (1 + shift), 2)
    if number % 5 == 2:
        return rng.poisson(30 * (1 + shift), rows).astype(np.float64)
    return np.round(rng.normal(100 + 15 * shift, 15, rows), 2)


def write_frames(folder: Path, rows: int, columns: int) -> None:
    """A reference and a current frame, a few files each; every third column has drifted."""
    for frame in ("reference", "current"):
        (folder / frame).mkdir(parents=True)
        for part in range(FILES):
            rng = np.random.default_rng([rows, columns, part, frame == "current"])
            shifts = [0.3 if frame == "current" and n % 3 == 0 else 0.0 for n in range(columns)]
            held = {f"c{n:03}": drawn(rng, rows // FILES, n, shifts[n]) for n in range(columns)}
            pq.write_table(pa.table(held), folder / frame / f"{part}.parquet", compression="zstd")


def measured(contender: str, folder: Path) -> Run:
    """Run a contender in a process of its own, watched."""
    started, peak, over = time.perf_counter(), 0.0, threading.Event()
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.bench.drift.{contender}", str(folder)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.2):
            try:
                tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                peak = max(peak, sum(each.memory_info().rss for each in tree) / 2**20)
            except psutil.Error:
                continue

    threading.Thread(target=watch, daemon=True).start()
    try:
        said, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        said = ""
    finally:
        over.set()
    seconds = time.perf_counter() - started
    return Run(seconds, peak, json.loads(said.splitlines()[-1]) if process.returncode == 0 else None)


def compare(sizes: tuple[tuple[int, int], ...], scratch: Path) -> tuple[list[Figure], tuple[int, int]]:
    """Both contenders along the sizes; ours a second time, with the profiles that the first time has made."""
    print(
        "| rows x columns | ours, s | MB | again, s | MB | Evidently, s | MB | ratio | again | same columns |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    ratios, largest, worst = (float("nan"), float("nan")), sizes[0], 0.0
    for rows, columns in sizes:
        folder = scratch / f"{rows}x{columns}"
        write_frames(folder, rows, columns)
        first, again, theirs = (measured(name, folder) for name in ("ours", "ours", "evidently"))
        assert first.scores
        assert again.scores == first.scores
        same, took = "-", f"not in {theirs.seconds:.0f}"
        cold, warm = theirs.seconds / first.seconds, theirs.seconds / again.seconds
        if theirs.scores:
            pairs = [(first.scores[name], score) for name, score in theirs.scores.items()]
            same = f"{sum((ours >= 0.1) == (score >= 0.1) for ours, score in pairs)} of {len(pairs)}"
            took = f"{theirs.seconds:.1f}"
            ratios = cold, warm
            largest, worst = (rows, columns), max(worst, *(abs(ours - score) for ours, score in pairs))
        print(
            f"| {rows:,} x {columns} | {first.seconds:.1f} | {first.megabytes:,.0f} | {again.seconds:.1f} | "
            f"{again.megabytes:,.0f} | {took} | {theirs.megabytes:,.0f} | "
            f"{cold:.1f} | {warm:.1f} | {same} |",
            flush=True,
        )
    return [
        Figure("Evidently's seconds / ours, largest size it finished", ratios[0], 50.0, at_most=False),
        Figure("the same where the profiles are there", ratios[1], 50.0, at_most=False),
        Figure("largest difference of a distance on these frames", worst, 0.02),
    ], largest


def growth(sizes: tuple[int, ...], scratch: Path) -> list[Figure]:
    """Ours alone, with ever more rows."""
    runs = {}
    for rows in sizes:
        folder = scratch / f"growth-{rows}"
        write_frames(folder, rows, GROWTH_COLUMNS)
        runs[rows] = measured("ours", folder)
        for path in folder.rglob("*.parquet"):
            path.unlink()
        microseconds = 1e6 * runs[rows].seconds / rows
        print(
            f"  {rows:>10,} x {GROWTH_COLUMNS}: {runs[rows].seconds:6.1f} s, {microseconds:6.2f} µs a row, "
            f"{runs[rows].megabytes:,.0f} MB",
            flush=True,
        )
    first, last = sizes[0], sizes[-1]
    middle = min(sizes, key=lambda rows: abs(rows - 1_000_000))
    per_row = (runs[last].seconds / last) / (runs[first].seconds / first)
    return [
        Figure(f"time a row, {last:,} / {first:,} rows", per_row, 1.1),
        Figure(
            f"peak memory, {last:,} / {middle:,} rows", runs[last].megabytes / runs[middle].megabytes, 1.2
        ),
    ]


def agreement(cases: int) -> list[Figure]:
    """Small frames with shifts of all sizes around the threshold: ours from cells, Evidently's from rows."""
    from tests.bench.drift.evidently import distances

    same, worst = 0, 0.0
    for seed in range(cases):
        rng = np.random.default_rng(seed)
        shift = float(rng.choice([0.0, 0.02, 0.05, 0.1, 0.2, 0.4]))
        frames = [{f"c{n:03}": drawn(rng, 3000, n, s) for n in range(5)} for s in (0.0, shift)]
        exact = distances(*(pa.table(frame) for frame in frames))
        kinds = {f"c{n:03}": kind_of(n) for n in range(5)}
        scales = {name: scale_of(frames[0][name]) for name, kind in kinds.items() if kind == "numeric"}
        cells = [
            cells_of({n: (kinds[n], frame[n]) for n in kinds}, np.zeros(3000, np.int64), scales)
            for frame in frames
        ]
        before, now = windows(cells[0], cells[1], kinds)
        ours = {name: plain(before.columns[name], now.columns[name]) for name in kinds}
        same += all((ours[name] >= 0.1) == (exact[name] >= 0.1) for name in kinds)
        worst = max(worst, *(abs(ours[name] - exact[name]) for name in kinds))
    return [
        Figure(f"cases of {cases} with the same drifted columns", same, 0.975 * cases, at_most=False),
        Figure("largest difference of a distance in them", worst, 0.02),
    ]


def main() -> int:
    """Measure, and say which goals are met."""
    args = argparse.ArgumentParser(prog="task bench:drift --", description=__doc__)
    args.add_argument("--quick", action="store_true", help="the smallest sizes")
    given = args.parse_args()
    sizes, rows = (SIZES[:1], GROWTH[:2]) if given.quick else (SIZES, GROWTH)
    with tempfile.TemporaryDirectory(prefix="bench-drift-") as folder:
        figures, (most, columns) = compare(sizes, Path(folder))
        print(f"\nEvidently's largest finished size is {most:,} x {columns}\n")
        figures += growth(rows, Path(folder))
    figures += agreement(20 if given.quick else CASES)
    print("\n" + "\n".join(map(str, figures)))
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
