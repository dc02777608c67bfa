"""The search's study: its trials are Prefect tasks, and a killed one goes on."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from prefect.testing.utilities import prefect_test_harness

from flows.retrain.config import TrainingConfig
from flows.retrain.search import search
from flows.retrain.train import Epoch
from tests.unit.retrain.test_training import CONFIG, drawn

pytestmark = pytest.mark.timeout(300)


class KilledError(Exception):
    pass


@pytest.mark.slow
def test_a_killed_study_goes_on_and_its_best_configuration_wins(tmp_path: Path) -> None:
    data, config = drawn(80), CONFIG.model_copy(update={"epochs": 2})
    seen: list[tuple[int, str]] = []

    def on_trial(number: int, _config: TrainingConfig, outcome: str, epochs: list[Epoch]) -> None:
        seen.append((number, outcome))
        assert epochs

    def kill(number: int, *_rest: object) -> None:
        if number == 1:
            raise KilledError

    with prefect_test_harness(server_startup_timeout=120):
        with pytest.raises(KilledError):
            search(data, config, 0, tmp_path, 3, kill)
        study = optuna.load_study(study_name="retrain", storage=f"sqlite:///{tmp_path / 'study.db'}")
        study.ask()  # a trial that was under way when its process was killed
        best = search(data, config, 0, tmp_path, 3, on_trial)
    assert seen == [(3, "complete")]
    states = [trial.state for trial in optuna.load_study(study_name="retrain", storage=study._storage).trials]
    assert states == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert study.trials[0].params["learning_rate"] == pytest.approx(config.learning_rate)
    assert best.learning_rate == study.best_trial.params["learning_rate"]
    assert best.epochs == 2
    assert list(tmp_path.glob("trial-*")) == []
