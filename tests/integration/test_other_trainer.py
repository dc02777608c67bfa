"""Tabular models of another trainer, through the same evaluation, gate and registry: none knows images."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from skl2onnx import to_onnx
from sklearn.datasets import load_digits, make_regression
from sklearn.linear_model import LinearRegression, LogisticRegression

from flows.errors import WatchkeeperError
from flows.retrain.evaluate import Holdout, compare
from flows.retrain.export import name_outputs
from flows.retrain.promote import judge
from services.bento.gate import decide
from services.bento.gate_policy import Policy, load_policy
from services.bento.registry import Registry
from services.bento.store import open_store
from tests.versions import IMAGE, sign

DIGITS = tuple("0123456789")


def version(folder: Path, model: Any, name: str, learned: list[str], features: int, **fields: Any) -> Path:
    """A version's folder of a scikit-learn model."""
    folder.mkdir(parents=True)
    options = {id(model): {"zipmap": False}} if fields["task"] == "classification" else None
    made = to_onnx(model, np.zeros((1, features), np.float32), options=options, target_opset=17)
    graph = made.graph
    if fields["task"] == "classification":
        del graph.output[0]  # the label: the probabilities say it
    name_outputs(graph, fields["outputs"])
    onnx.save_model(made, folder / "model.onnx")
    pq.write_table(pa.table({"request_id": ["a"], "label": ["0"]}), folder / "reference.parquet")
    pq.write_table(pa.table({"id": learned}), folder / "trained_on.parquet")
    (folder / "card.md").write_text("# A model\n")
    spec = {"kind": "tabular", "features": [f"f{n}" for n in range(features)]}
    common = {"model": "other", "version": name, "input": spec, "embedding_size": None, "training": {}}
    sign(folder, {**IMAGE, **common, **fields})
    return folder


def classifier(folder: Path, rows: Any, labels: Any, name: str, **more: Any) -> Path:
    model = LogisticRegression(max_iter=200, **more).fit(rows, labels)
    ids = [str(n) for n in range(len(rows))]
    return version(
        folder, model, name, ids, 64, task="classification", outputs=["probabilities"], classes=list(DIGITS)
    )


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any, Holdout]:
    rows, labels = load_digits(return_X_y=True)
    rows = (rows / 16).astype(np.float32)
    ids = np.array([str(n) for n in range(len(rows))])
    holdout = Holdout(ids[900:], labels[900:], DIGITS, lambda _spec: rows[900:])
    return rows[:900], labels[:900], holdout


def test_a_better_classifier_is_promoted_over_a_worse_one(
    digits: tuple[Any, Any, Holdout], tmp_path: Path
) -> None:
    rows, labels, holdout = digits
    registry = Registry(open_store(tmp_path / "registry"), "other")
    weak = classifier(tmp_path / "a", rows[:40], labels[:40], "a")
    strong = classifier(tmp_path / "b", rows, labels, "b")
    policy = load_policy().model_copy(
        update={"calibration": load_policy().calibration.model_copy(update={"at_most": 0.5})}
    )
    assert judge(registry, weak, holdout, policy, "run", 0).verdict.outcome == "promote"
    judged = judge(registry, strong, holdout, policy, "run", 0)
    assert (judged.verdict.outcome, judged.champion) == ("promote", "a"), judged.verdict.reasons
    assert judged.verdict.numbers["low"] > 0
    champion = registry.champion()
    assert champion
    assert champion.version == "b"
    again = judge(registry, strong, holdout, policy, "run", 0)  # as after a kill: nothing moves
    assert again.verdict.outcome == "promote"
    assert len([entry for entry in registry.history() if entry.event == "promoted"]) == 2
    back = judge(registry, classifier(tmp_path / "c", rows[:40], labels[:40], "c"), holdout, policy, "run", 0)
    assert back.verdict.outcome == "reject"


def test_rows_that_either_was_trained_on_do_not_judge(
    digits: tuple[Any, Any, Holdout], tmp_path: Path
) -> None:
    rows, labels, holdout = digits
    seen = Holdout(np.array([str(n) for n in range(500, 1700)]), holdout.labels[:1], DIGITS, holdout.inputs)
    labels_seen = np.resize(holdout.labels, 1200).astype(np.int64)
    inputs = np.zeros((1200, 64), np.float32)
    seen = Holdout(seen.ids, labels_seen, DIGITS, lambda _spec: inputs)
    facts = compare(
        seen,
        classifier(tmp_path / "a", rows, labels, "a"),
        classifier(tmp_path / "b", rows[:600], labels[:600], "b"),
    )
    assert len(facts.labels) == 800
    assert facts.champion
    assert facts.challenger.ids.tolist() == facts.champion.ids.tolist() == [str(n) for n in range(900, 1700)]


def test_other_classes_are_refused(digits: tuple[Any, Any, Holdout], tmp_path: Path) -> None:
    rows, labels, holdout = digits
    other = Holdout(holdout.ids, holdout.labels, (*DIGITS[:9], "x"), holdout.inputs)
    with pytest.raises(WatchkeeperError, match=r"differ in classes \(9, x\)"):
        compare(other, classifier(tmp_path / "a", rows, labels, "a"), None)


def test_a_regressor_passes_the_same_gate(tmp_path: Path) -> None:
    rows, targets = make_regression(1500, 5, noise=20, random_state=0)
    rows = rows.astype(np.float32)
    ids = np.array([str(n) for n in range(1500)])
    holdout = Holdout(ids[700:], targets[700:], (), lambda _spec: rows[700:])
    facts = {"task": "regression", "outputs": ["value"], "classes": []}
    folders = [
        version(
            tmp_path / name, LinearRegression().fit(rows[:n], targets[:n]), name, ids[:n].tolist(), 5, **facts
        )
        for name, n in (("a", 8), ("b", 700))
    ]
    policy = Policy(**{**load_policy().model_dump(), "task": "regression", "metric": "mean_absolute_error"})
    registry = Registry(open_store(tmp_path / "registry"), "other")
    outcomes = [judge(registry, folder, holdout, policy, "run", 0).verdict.outcome for folder in folders]
    assert outcomes == ["promote", "promote"]
    assert decide(compare(holdout, folders[0], folders[1]), policy).outcome == "reject"
