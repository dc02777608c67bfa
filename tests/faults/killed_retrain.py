"""Retrain, and die by SIGKILL when a step has ended: `python -m tests.faults.killed_retrain STEP`.

The flow without Prefect, to its end where no step is named. Its steps are replaced in this process, and the
policy takes fewer rows.
"""

import os
import signal
import sys
from typing import Any

from flows.console import no_progress
from flows.retrain import flow
from flows.retrain.config import TrainingConfig
from services.bento.gate_policy import load_policy

CONFIG = TrainingConfig(height=32, width=24, filters=4, epochs=3, batch_size=16)


def main(last: str) -> None:
    """Every step up to this one."""

    def step(_subject: str, name: str, work: Any, *_metric: Any, **_labels: str) -> Any:
        print(name, flush=True)
        result = work(no_progress)
        if name == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    policy = load_policy().model_copy(update={"minimum_rows": 100})
    for name, ours in (("run_step", step), ("load_policy", lambda: policy)):
        setattr(flow, name, ours)
    flow.Retraining("garments", "garments", None, 0).run(CONFIG, 0)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
