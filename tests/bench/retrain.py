"""`task bench:retrain`: our recipe against the seed system's, trained as long, on the real photographs.

The seed system's recipe: plain cross-entropy, no augmentation, balancing or weight decay, the best epoch of
as many seconds as ours took. Both are judged on the same holdout by the gate's own interval.
"""

import argparse
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from flows.config import CHECKOUT, Settings
from flows.console import no_progress
from flows.errors import WatchkeeperError, run_command
from flows.etl import steps
from flows.etl.contract import load_contract
from flows.etl.plan import Again, make_plan
from flows.etl.runners.local import LocalRunner
from flows.retrain.config import TrainingConfig, load_config
from flows.retrain.dataset import Dataset, load
from flows.retrain.evaluate import Holdout, compare
from flows.retrain.export import export
from flows.retrain.split import SplitFile
from flows.retrain.train import Epoch, Progress, Trained, train
from services.bento.gate import Facts, decide, f1_intervals, load_policy
from services.bento.manifest import ImageInput, TabularInput
from services.bento.predictor import Floats, as_input

SEED_RECIPE = {"label_smoothing": 0.0, "mixup": 0.0, "augment": False, "balance": "none", "weight_decay": 0.0}


class TimeIsUpError(Exception):
    """The seed recipe has trained as long as ours."""


def lake_of(settings: Settings, source: Path) -> None:
    """Bring the photographs into a throw-away lake."""
    contract = load_contract(CHECKOUT / "flows" / "etl" / "contracts" / "garments" / "articles.yaml")
    plan = make_plan(settings, contract, str(source), Again())
    staged = steps.run_spark(settings, plan, LocalRunner(settings))
    steps.reach_verdict(settings, plan, staged)
    steps.commit(settings, plan, staged, "bench")
    steps.discard(plan)


def dataset(settings: Settings, config: TrainingConfig) -> Dataset:
    """The photographs at the config's size."""
    contract = load_contract(CHECKOUT / "flows" / "etl" / "contracts" / "garments" / "articles.yaml")
    split = SplitFile(settings.registry / "bench" / "split.parquet")
    return load(settings, contract, split, (config.height, config.width), None, no_progress)


def trained_for(data: Dataset, config: TrainingConfig, seed: int, folder: Path, seconds: float) -> Trained:
    """Train until the seconds are over; the best epoch until then."""
    started = time.perf_counter()

    def on_epoch(epoch: Epoch, _of: int) -> None:
        if time.perf_counter() - started > seconds:
            raise TimeIsUpError

    try:
        return train(data, config, seed, folder, on_epoch)
    except TimeIsUpError:  # the checkpoint holds all epochs, so that taking it up again ends at once
        done = Progress.read(folder).epochs
        return train(data, config.model_copy(update={"epochs": len(done)}), seed, folder)


def version_of(folder: Path, data: Dataset, config: TrainingConfig, trained: Trained, seed: int) -> Path:
    """The trained network as a version's folder."""
    export(folder, "bench", data, config, trained, seed, datetime.now(UTC), "bench")
    return folder


def one_seed(settings: Settings, seed: int, epochs: int | None, scratch: Path) -> tuple[Facts, float]:
    """Both recipes with one seed: facts for the gate, ours the challenger, and our seconds."""
    config = load_config(None, epochs=epochs)
    data = dataset(settings, config)
    started = time.perf_counter()
    ours = version_of(
        scratch / f"ours-{seed}", data, config, train(data, config, seed, scratch / f"o{seed}"), seed
    )
    seconds = time.perf_counter() - started
    plain = TrainingConfig(**{**config.model_dump(), **SEED_RECIPE})
    rival = trained_for(data, plain, seed, scratch / f"s{seed}", seconds)
    theirs = version_of(scratch / f"seed-{seed}", data, plain, rival, seed)
    rows = data.rows("holdout")

    def inputs(spec: ImageInput | TabularInput) -> Floats:
        assert isinstance(spec, ImageInput)
        return as_input(data.pixels[rows], spec)

    return compare(Holdout(data.ids[rows], data.labels[rows], data.classes, inputs), ours, theirs), seconds


def main() -> int:
    """Measure, and print the table."""
    args = argparse.ArgumentParser(prog="task bench:retrain --", description=__doc__)
    args.add_argument("--data", type=Path, default=CHECKOUT.parent / "shared" / "data" / "garments")
    args.add_argument("--seeds", type=int, default=3)
    args.add_argument("--epochs", type=int, help="fewer, for a look")
    given = args.parse_args()
    if not (given.data / "articles.csv").exists():
        raise WatchkeeperError(f"no articles.csv in {given.data}; --data FOLDER names the photographs")
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home")
        lake_of(settings, given.data.resolve())
        scores = []
        for seed in range(given.seeds):
            facts, seconds = one_seed(settings, seed, given.epochs, Path(folder))
            scores.append(tell(seed, facts, seconds))
        names = ("ours: accuracy", "ours: macro-F1", "seed recipe: macro-F1")
        for name, column in zip(names, zip(*scores, strict=True), strict=True):
            spread = statistics.stdev(column) if len(column) > 1 else 0.0
            print(
                f"{name:<24} mean {statistics.mean(column):.3f}, spread {spread:.3f} over {len(column)} seeds"
            )
    return 0


def tell(seed: int, facts: Facts, seconds: float) -> tuple[float, float, float]:
    """One seed's lines; returns our accuracy and both macro-F1."""
    assert facts.champion
    verdict = decide(facts, load_policy())
    labels = np.asarray(facts.labels)
    ours, theirs = facts.challenger.outputs.argmax(axis=1), facts.champion.outputs.argmax(axis=1)
    accuracy = float((ours == labels).mean())
    numbers = verdict.numbers
    print(
        f"seed {seed}: ours {seconds:.0f} s, accuracy {accuracy:.3f}, "
        f"macro-F1 {numbers['f1_challenger']:.3f}; seed recipe {numbers['f1_champion']:.3f}; "
        f"difference {numbers['difference']:.3f} ({numbers['low']:.3f} to {numbers['high']:.3f}), "
        f"verdict {verdict.outcome}",
        flush=True,
    )
    mine, other = (f1_intervals(labels, predicted, facts.classes) for predicted in (ours, theirs))
    for name in facts.classes:
        scores = f"ours {mine[name]['f1']:.3f}  seed recipe {other[name]['f1']:.3f}"
        print(f"  {name:<14} {mine[name]['rows']:4.0f} rows  {scores}")
    return accuracy, numbers["f1_challenger"], numbers["f1_champion"]


if __name__ == "__main__":
    run_command(main)
