"""A model's traffic for tests: drawn rows of the prediction log, and a champion with such a reference."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.config import Settings
from services.bento.prediction_log import DESCRIPTORS, feedback_rows, log_rows
from services.bento.registry import Registry
from services.bento.store import open_store
from tests.versions import CLASSES, sign, write_version


def drawn(
    rows: int,
    seed: int,
    when: datetime,
    model: tuple[str, str] = ("articles", "v1"),
    brightness: float = 120.0,
    shadow: bool = False,
) -> pa.Table:
    """Answers of a calibrated model, ten minutes apart, with their truth."""
    rng = np.random.default_rng(seed)
    outputs = rng.dirichlet([2.0] * len(CLASSES), rows).astype(np.float32)
    looks = [dict.fromkeys(DESCRIPTORS, 0.0) for _ in range(rows)]
    for look in looks:
        look.update({name: float(rng.normal(50, 5)) for name in DESCRIPTORS})
        look["brightness"] = float(rng.normal(brightness, 10))
    truth = [CLASSES[rng.choice(len(CLASSES), p=p / p.sum())] for p in outputs.astype(float)]
    return log_rows(
        model,
        CLASSES,
        [f"{seed:08x}{number:024x}" for number in range(rows)],
        [when + timedelta(minutes=10 * number / rows * 6) for number in range(rows)],
        outputs,
        rng.normal(size=(rows, 4)).astype(np.float32),
        looks,
        truth,
        shadow=shadow,
    )


def land(settings: Settings, name: str, answers: pa.Table) -> None:
    """Answers as the service leaves them: without their truth."""
    folder = settings.landing / "serving" / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    place = answers.schema.get_field_index("truth")
    unknown = pa.nulls(len(answers), pa.string())
    pq.write_table(answers.set_column(place, "truth", unknown), folder / f"{name}.parquet")


def tell(settings: Settings, name: str, answers: pa.Table, when: datetime) -> None:
    """The answers' truth, as feedback."""
    folder = settings.landing / "serving" / "feedback"
    folder.mkdir(parents=True, exist_ok=True)
    ids, truth = answers["request_id"].to_pylist(), answers["truth"].to_pylist()
    rows = [(number, when, label) for number, label in zip(ids, truth, strict=True)]
    pq.write_table(feedback_rows(rows), folder / f"{name}.parquet")


def champion(settings: Settings, folder: Path, when: datetime, model: str = "articles") -> Registry:
    """A champion whose reference is drawn like the traffic."""
    version = write_version(folder / "version", model=model)
    pq.write_table(drawn(400, 1, when, (model, "v1")), version / "reference.parquet")
    sign(version)
    registry = Registry(open_store(settings.registry), model)
    registry.promote(registry.add(version), None)
    return registry
