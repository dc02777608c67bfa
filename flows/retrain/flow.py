"""The retrain flow: dataset, search, train, gate, promote, package, report.

Run by `task retrain`, `task demo` and the deployments of `prefect.yaml`. Promises that a worse model does not
become the champion, and that a killed run goes on where it was.
"""

import hashlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow

from flows.config import Settings, load_settings
from flows.console import OnProgress, no_progress
from flows.errors import WatchkeeperError
from flows.etl.steps import git_revision
from flows.retrain import dataset as datasets
from flows.retrain.config import TrainingConfig
from flows.retrain.dataset import Dataset, contract_with_pictures
from flows.retrain.evaluate import Holdout
from flows.retrain.export import export
from flows.retrain.promote import Judged, judge
from flows.retrain.report import Outcome, live_line, publish, trial_record
from flows.retrain.search import search
from flows.retrain.split import SplitFile
from flows.retrain.train import forget, train
from flows.step import flow_run_id, run_step
from flows.watched import watched
from observability import emit
from observability.metrics import RETRAIN_RUNS, RETRAIN_STEP_SECONDS
from services.bento.gate_policy import load_policy
from services.bento.manifest import ImageInput, Manifest, TabularInput, read_manifest
from services.bento.package import build
from services.bento.predictor import Floats, as_input
from services.bento.registry import Registry
from services.bento.store import open_store


@watched
@flow(name="retrain", flow_run_name="retrain-{dataset}", persist_result=False)
def retrain(
    dataset: str,
    model: str | None = None,
    snapshot: int | None = None,
    trials: int = 0,
    seed: int = 0,
    config: dict[str, Any] | None = None,
) -> Outcome:
    """Train on a snapshot of the data set's pictures, and promote what is truly better.

    Args:
        dataset: a folder of contracts, one of which has pictures.
        model: the model's name; the data set's unless said.
        snapshot: of the lake's table; the current one unless said.
        trials: of a search for a better configuration; none unless said.
        seed: of everything that is random.
        config: fields of `TrainingConfig`.

    Raises:
        WatchkeeperError: nothing to train on, or a step failed; the champion is as it was.
    """
    try:
        return Retraining(dataset, model or dataset, snapshot, seed).run(
            TrainingConfig(**config or {}), trials
        )
    except BaseException:
        emit.count(RETRAIN_RUNS, 1, model=model or dataset, outcome="failed")
        raise


class Retraining:
    """One run of the flow: what its steps share."""

    def __init__(self, dataset: str, model: str, snapshot: int | None, seed: int) -> None:
        self.settings: Settings = load_settings()
        self.contract = contract_with_pictures(self.settings, dataset)
        self.model, self.snapshot, self.seed = model, snapshot, seed
        self.store = open_store(self.settings.registry)
        self.registry = Registry(self.store, model)
        self.split = SplitFile(self.settings.registry / model / "split.parquet")

    def run(self, config: TrainingConfig, trials: int) -> Outcome:
        """Every step in its order."""
        started, when = time.perf_counter(), datetime.now(UTC)
        data = self.step("dataset", lambda show: self.load(config, show))
        if trials:
            config = self.step("search", lambda _: self.search(data, config, trials))
        folder = self.settings.training / self.model / self.key(data, config)
        manifest = self.step("train", lambda show: self.train(data, config, folder, when, show))
        judged = self.step("gate", lambda _: self.judge(data, folder / "version"))
        bento = None
        if judged.verdict.outcome == "promote":
            bento = self.step("package", lambda _: self.package(manifest.version))
        seconds = round(time.perf_counter() - started, 3)
        outcome = Outcome.of(self.model, manifest, judged, bento, data.counts, seconds)
        self.step("report", lambda _: publish(self.store, self.registry, outcome, manifest, folder))
        forget(folder)
        return outcome

    def step(self, name: str, work: Any) -> Any:
        """One step, as a task."""
        return run_step(self.model, name, work, RETRAIN_STEP_SECONDS, model=self.model)

    def load(self, config: TrainingConfig, show: OnProgress) -> Dataset:
        """The snapshot's pictures at the model's size."""
        size = (config.height, config.width)
        return datasets.load(self.settings, self.contract, self.split, size, self.snapshot, show)

    def search(self, data: Dataset, config: TrainingConfig, trials: int) -> TrainingConfig:
        """The best configuration of a study, each trial recorded."""
        folder = self.settings.training / self.model / f"study-{self.key(data, config)}"
        on_trial = trial_record(self.store, self.model, folder.name, data, self.seed)
        return search(data, config, self.seed, folder, trials, on_trial)

    def train(
        self, data: Dataset, config: TrainingConfig, folder: Path, when: datetime, show: OnProgress
    ) -> Manifest:
        """A version's folder, trained unless an earlier run that was killed had come this far."""
        version = folder / "version"
        if not (version / "manifest.json").exists():
            trained = train(data, config, self.seed, folder, live_line(show))
            export(version, self.model, data, config, trained, self.seed, when, git_revision())
        return read_manifest(version)

    def judge(self, data: Dataset, folder: Path) -> Judged:
        """The gate's verdict on the holdout, entered in the ledger."""
        holdout = self.holdout(data)
        return judge(self.registry, folder, holdout, load_policy(), flow_run_id(), self.seed)

    def holdout(self, data: Dataset) -> Holdout:
        """The snapshot's holdout; a champion of another picture size gets its own decoding."""
        rows = data.rows("holdout")

        def inputs(spec: ImageInput | TabularInput) -> Floats:
            if not isinstance(spec, ImageInput):
                raise WatchkeeperError(
                    f"{self.model} takes features, the data set {self.contract.dataset} has pictures"
                )
            size, number = (spec.height, spec.width), data.snapshot.snapshot_id
            pixels = data.pixels
            if pixels.shape[1:3] != size:
                other = datasets.load(self.settings, self.contract, self.split, size, number, no_progress)
                pixels = other.pixels
            return as_input(pixels[rows], spec)

        return Holdout(data.ids[rows], data.labels[rows], data.classes, inputs)

    def package(self, version: str) -> str:
        """The Bento of the new champion, its tag in the ledger."""
        tag = build(self.registry.fetch(version), self.settings.bento)
        self.registry.append("packaged", version, flow_run=flow_run_id(), detail={"bento": tag})
        return tag

    def key(self, data: Dataset, config: TrainingConfig) -> str:
        """What makes two trainings the same: a killed one is found by it."""
        facts = (data.snapshot, data.ids.tolist(), data.sides.tolist(), config.model_dump_json(), self.seed)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
