"""`task bench:retrain`: our recipe against the seed system's, trained as long, on the real photographs.

The seed system's recipe: plain cross-entropy, no augmentation, balancing or weight decay, the best epoch of
as many seconds of the processor as ours took. Both are judged on the same holdout by the gate's own interval.

`--balance` shows what the balancing buys each class: our recipe with and without it, at a size that trains in
two minutes, so that several seeds say more than one.
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
from flows.etl.contract_file import load_contract
from flows.etl.plan import Again, make_plan
from flows.etl.runners.life import Engine
from flows.etl.runners.local import LocalRunner
from flows.retrain.config import TrainingConfig, load_config
from flows.retrain.dataset import Dataset, load
from flows.retrain.evaluate import Holdout, compare
from flows.retrain.export import export
from flows.retrain.split import SplitFile
from flows.retrain.train import Epoch, Progress, Trained, train
from services.bento.gate import decide
from services.bento.gate_facts import Facts
from services.bento.gate_policy import load_policy
from services.bento.manifest import ImageInput, TabularInput
from services.bento.predictor import Floats, as_input
from services.bento.statistics import f1_intervals

SEED_RECIPE = {"label_smoothing": 0.0, "mixup": 0.0, "augment": False, "balance": "none", "weight_decay": 0.0}


class TimeIsUpError(Exception):
    """The seed recipe has trained as long as ours."""


def lake_of(settings: Settings, source: Path) -> None:
    """Bring the photographs into a throw-away lake."""
    contract = load_contract(CHECKOUT / "flows" / "etl" / "contracts" / "garments" / "articles.yaml")
    plan = make_plan(settings, contract, str(source), Again())
    staged = steps.run_spark(settings, plan, Engine(LocalRunner(settings)))
    steps.reach_verdict(settings, plan, staged)
    steps.commit(settings, plan, staged, "bench")
    steps.discard(plan)


def dataset(settings: Settings, config: TrainingConfig) -> Dataset:
    """The photographs at the config's size."""
    contract = load_contract(CHECKOUT / "flows" / "etl" / "contracts" / "garments" / "articles.yaml")
    split = SplitFile(settings.registry / "bench" / "split.parquet")
    return load(settings, contract, split, (config.height, config.width), None, no_progress)


def trained_for(data: Dataset, config: TrainingConfig, seed: int, folder: Path, seconds: float) -> Trained:
    """Train until the seconds of the processor are over; the best epoch until then."""
    started = time.process_time()

    def on_epoch(epoch: Epoch, _of: int) -> None:
        if time.process_time() - started > seconds:
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
    started, of_processor = time.perf_counter(), time.process_time()
    ours = version_of(
        scratch / f"ours-{seed}", data, config, train(data, config, seed, scratch / f"o{seed}"), seed
    )
    seconds, cost = time.perf_counter() - started, time.process_time() - of_processor
    plain = TrainingConfig(**{**config.model_dump(), **SEED_RECIPE})
    rival = trained_for(data, plain, seed, scratch / f"s{seed}", cost)
    theirs = version_of(scratch / f"seed-{seed}", data, plain, rival, seed)
    return compare(holdout(data), ours, theirs), seconds


def holdout(data: Dataset) -> Holdout:
    """The holdout's rows."""
    rows = data.rows("holdout")

    def inputs(spec: ImageInput | TabularInput) -> Floats:
        assert isinstance(spec, ImageInput)
        return as_input(data.pixels[rows], spec)

    return Holdout(data.ids[rows], data.labels[rows], data.classes, inputs)


def tell_balance(settings: Settings, seeds: list[int], epochs: int | None, scratch: Path) -> None:
    """F1 of each class with and without balancing, over the seeds."""
    config = TrainingConfig(height=64, width=48, filters=16, epochs=epochs or 30)
    data = dataset(settings, config)
    found: dict[str, list[tuple[float, float, float]]] = {}
    for seed in seeds:
        made = []
        for name in ("root", "none"):
            told = TrainingConfig(**{**config.model_dump(), "balance": name})
            trained = train(data, told, seed, scratch / f"{name}-{seed}")
            made.append(version_of(scratch / f"balance-{name}-{seed}", data, told, trained, seed))
        facts = compare(holdout(data), *made)
        assert facts.champion
        labels = np.asarray(facts.labels)
        scores = [
            f1_intervals(labels, side.outputs.argmax(axis=1), facts.classes)
            for side in (facts.challenger, facts.champion)
        ]
        for name in facts.classes:
            row = (scores[0][name]["rows"], scores[0][name]["f1"], scores[1][name]["f1"])
            found.setdefault(name, []).append(row)
        print(f"seed {seed} done", flush=True)
    print(f"F1 with and without balancing, mean over {len(seeds)} seeds at {config.height} x {config.width}")
    for name, rows in sorted(found.items(), key=lambda item: item[1][0][0]):
        size, balanced, plain = (statistics.mean(column) for column in zip(*rows, strict=True))
        print(
            f"  {name:<14} {size:4.0f} rows  {balanced:.3f}  {plain:.3f}  difference {balanced - plain:+.3f}"
        )
    for place, name in ((1, "balanced"), (2, "not")):
        scores_of = [
            statistics.mean(r[place] for r in by_seed) for by_seed in zip(*found.values(), strict=True)
        ]
        spread = statistics.stdev(scores_of) if len(scores_of) > 1 else 0.0
        print(f"  macro-F1 {name:<9} mean {statistics.mean(scores_of):.3f}, spread {spread:.3f}")


def main() -> int:
    """Measure, and print the table."""
    args = argparse.ArgumentParser(prog="task bench:retrain --", description=__doc__)
    args.add_argument("--data", type=Path, default=CHECKOUT.parent / "shared" / "data" / "garments")
    args.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args.add_argument("--balance", action="store_true", help="what the balancing buys, instead")
    args.add_argument("--epochs", type=int, help="fewer, for a look")
    given = args.parse_args()
    if not (given.data / "articles.csv").exists():
        raise WatchkeeperError(f"no articles.csv in {given.data}; --data FOLDER names the photographs")
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home")
        lake_of(settings, given.data.resolve())
        if given.balance:
            tell_balance(settings, given.seeds, given.epochs, Path(folder))
            return 0
        scores = []
        for seed in given.seeds:
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
