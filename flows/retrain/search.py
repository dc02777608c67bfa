"""Search for a better configuration: an Optuna study in a database file, its trials Prefect tasks.

A study that was killed goes on: what finished counts, what was under way is told to have failed.
"""

from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.trial import TrialState
from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.retrain.config import TrainingConfig
from flows.retrain.dataset import Dataset
from flows.retrain.train import Epoch, Trained, forget, train
from flows.watched import watched_task

STARTUP_TRIALS, WARMUP_EPOCHS = 3, 3
OnTrial = Callable[[int, TrainingConfig, str, list[Epoch]], None]


def search(
    dataset: Dataset, config: TrainingConfig, seed: int, folder: Path, trials: int, on_trial: OnTrial
) -> TrainingConfig:
    """Run trials until `trials` are done, and give the best one's configuration.

    Args:
        dataset: what every trial trains on; the validation loss is what is searched for.
        config: the starting point, which is the first trial; fields that are not searched stay as they are.
        seed: of the sampler and of every training.
        folder: holds `study.db` and the trials' checkpoints.
        trials: how many are to be complete or pruned, earlier ones of the same study included.
        on_trial: called after each with its number, configuration, outcome and epochs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="retrain",
        storage=f"sqlite:///{folder / 'study.db'}",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARMUP_EPOCHS),
    )
    for left in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(left.number, state=TrialState.FAIL)
    if not study.trials:
        study.enqueue_trial(start_of(config))
    while len(study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))) < trials:
        one_trial(study, dataset, config, seed, folder, on_trial)
    return suggested(config, study.best_trial.params)


def one_trial(
    study: optuna.Study, dataset: Dataset, config: TrainingConfig, seed: int, folder: Path, on_trial: OnTrial
) -> None:
    """One trial, as a task."""
    trial = study.ask()
    chosen = suggested(config, ask(trial))
    epochs: list[Epoch] = []

    def on_epoch(epoch: Epoch, _of: int) -> None:
        epochs.append(epoch)
        trial.report(epoch.validation_loss, epoch.number)
        if trial.should_prune():
            raise optuna.TrialPruned

    @watched_task
    @task(name="trial", task_run_name=f"trial {trial.number}", cache_policy=NO_CACHE, persist_result=False)
    def run() -> Trained | None:
        try:
            return train(dataset, chosen, seed, folder / f"trial-{trial.number}", on_epoch)
        except optuna.TrialPruned:
            return None

    try:
        trained = run()
    except BaseException:
        study.tell(trial, state=TrialState.FAIL)
        on_trial(trial.number, chosen, "failed", epochs)
        raise
    if trained is None:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, min(epoch.validation_loss for epoch in trained.epochs))
    forget(folder / f"trial-{trial.number}")
    on_trial(trial.number, chosen, "complete" if trained else "pruned", epochs)


def ask(trial: optuna.Trial) -> dict[str, float]:
    """What is searched: what a training's result hangs on most."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 2e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-3, 0.2, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "label_smoothing": trial.suggest_float("label_smoothing", 0.0, 0.2),
        "mixup": trial.suggest_float("mixup", 0.0, 0.4),
    }


def start_of(config: TrainingConfig) -> dict[str, float]:
    """The first trial: the configuration as it is given."""
    names = ("learning_rate", "weight_decay", "dropout", "label_smoothing", "mixup")
    return {name: getattr(config, name) for name in names}


def suggested(config: TrainingConfig, values: dict[str, float]) -> TrainingConfig:
    """The configuration with a trial's values."""
    return TrainingConfig(**{**config.model_dump(), **values})
