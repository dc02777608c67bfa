"""From a trained network to a version's folder: one ONNX file, its manifest, its reference and its card."""

import contextlib
import io
import logging
import tempfile
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq
from keras import Model

from flows.errors import WatchkeeperError
from flows.retrain import card, network
from flows.retrain.config import TrainingConfig
from flows.retrain.dataset import Dataset
from flows.retrain.train import Trained, cross_entropy, fit_temperature, predict
from services.bento.manifest import FileInfo, ImageInput, Manifest, new_version, write_manifest
from services.bento.prediction_log import log_rows
from services.bento.predictor import Predictor, as_input
from services.bento.statistics import expected_calibration_error, macro_f1
from services.bento.verify import describe_files, sha256

TOLERANCE = 1e-5
CHECKED_PICTURES = 256


def export(
    folder: Path,
    model: str,
    dataset: Dataset,
    config: TrainingConfig,
    trained: Trained,
    seed: int,
    when: datetime,
    revision: str,
) -> Manifest:
    """Write the version's folder; its files are complete when the manifest is there.

    Raises:
        WatchkeeperError: ONNX Runtime answers otherwise than Keras.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen = dataset.rows("validation")
    features = predict(_features(trained.model), dataset.pixels, dataset.rows("train"))
    logits = predict(_logits(trained.model), dataset.pixels, chosen)
    temperature = fit_temperature(logits, dataset.labels[chosen])
    final = network.final(trained.model, config, temperature, features)
    write_onnx(final, folder / "model.onnx")
    spec = ImageInput(height=config.height, width=config.width, scale=1.0, offset=0.0)
    difference = check_export(final, folder / "model.onnx", as_input(dataset.pixels[:CHECKED_PICTURES], spec))
    manifest = Manifest(
        model=model,
        version=new_version(when, sha256(folder / "model.onnx")),
        task="classification",
        created=when,
        input=spec,
        outputs=["probabilities", "embedding"],
        classes=list(dataset.classes),
        embedding_size=int(final.output["embedding"].shape[-1]),
        metrics={},
        snapshot=dataset.snapshot,
        holdout_sha256=dataset.holdout_sha256,
        code_revision=revision,
        training={
            "config": config.model_dump(),
            "seed": seed,
            "temperature": temperature,
            "export_difference": difference,
            "counts": dataset.counts,
            "best_epoch": trained.best,
            "seconds": trained.seconds,
        },
        files={
            name: _nothing() for name in ("model.onnx", "reference.parquet", "trained_on.parquet", "card.md")
        },
    )
    return complete(folder, manifest, dataset, trained, logits / temperature)


def complete(
    folder: Path, manifest: Manifest, dataset: Dataset, trained: Trained, logits: npt.NDArray[np.float32]
) -> Manifest:
    """Reference, ids, card, and last the manifest with everything's sha256."""
    chosen = dataset.rows("validation")
    spec = manifest.input
    assert isinstance(spec, ImageInput)
    answer = Predictor(folder, manifest).predict(as_input(dataset.pixels[chosen], spec))
    truth = dataset.labels[chosen]
    reference = log_rows(
        (manifest.model, manifest.version),
        dataset.classes,
        dataset.ids[chosen].tolist(),
        manifest.created,
        answer.outputs,
        answer.embedding,
        [dataset.looks[n] for n in chosen],
        [dataset.classes[n] for n in truth],
    )
    pq.write_table(reference, folder / "reference.parquet")
    learned = np.concatenate([dataset.rows("train"), chosen])
    pq.write_table(pa.table({"id": sorted(dataset.ids[learned].tolist())}), folder / "trained_on.parquet")
    metrics = {
        "validation_accuracy": float((answer.outputs.argmax(axis=1) == truth).mean()),
        "validation_macro_f1": macro_f1(truth, answer.outputs.argmax(axis=1), dataset.classes),
        "validation_cross_entropy": cross_entropy(logits, truth),
        "validation_ece": expected_calibration_error(answer.outputs.astype(np.float64), truth),
    }
    manifest = manifest.model_copy(update={"metrics": metrics})
    epochs = [asdict(epoch) for epoch in trained.epochs]
    card.write(folder, manifest, dataset.classes, truth, answer.outputs, epochs)
    manifest = manifest.model_copy(update={"files": describe_files(folder)})
    write_manifest(folder, manifest)
    return manifest


def write_onnx(model: Any, path: Path) -> None:
    """Export with a dynamic batch, and fold weights that went into a file beside it."""
    model(np.zeros((1, *model.inputs[0].shape[1:]), np.float32))  # Keras exports what was called once
    with tempfile.TemporaryDirectory() as scratch:
        exported = Path(scratch) / "model.onnx"
        with contextlib.redirect_stdout(io.StringIO()):
            model.export(str(exported), format="onnx", verbose=False)
        whole = onnx.load(exported, load_external_data=True)
    name_outputs(whole.graph, sorted(model.output))
    onnx.save_model(whole, path, save_as_external_data=False)


def name_outputs(graph: onnx.GraphProto, names: list[str]) -> None:
    """Give the outputs their names: the exporter numbers them, in the order of the sorted names."""
    renamed = {output.name: name for output, name in zip(graph.output, names, strict=True)}
    for node in graph.node:
        for held in (node.input, node.output):
            held[:] = [renamed.get(name, name) for name in held]
    for output in graph.output:
        output.name = renamed[output.name]


def check_export(model: Any, path: Path, batch: npt.NDArray[np.float32]) -> float:
    """Largest difference of any output between Keras and ONNX Runtime; also with another batch size.

    Raises:
        WatchkeeperError: more than `TOLERANCE`.
    """
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    names = [output.name for output in session.get_outputs()]
    whole = dict(zip(names, session.run(names, {name: batch}), strict=True))
    few = dict(zip(names, session.run(names, {name: batch[:3]}), strict=True))
    expected = {key: np.asarray(value) for key, value in model.predict_on_batch(batch).items()}
    # An embedding has no scale of its own: what counts is the difference beside its size.
    scale = {key: max(1.0, float(np.abs(value).max())) for key, value in expected.items()}
    differences = [
        float(np.abs(np.asarray(seen[key]) - value[: len(np.asarray(seen[key]))]).max()) / scale[key]
        for key, value in expected.items()
        for seen in (whole, few)
    ]
    if max(differences) > TOLERANCE:
        raise WatchkeeperError(
            f"ONNX Runtime and Keras differ by {max(differences):.2g} on {len(batch)} pictures (at most "
            f"{TOLERANCE:g}): the export cannot be trusted, so no version was made"
        )
    return max(differences)


def _features(model: Any) -> Any:
    return Model(model.inputs[0], model.output["features"])


def _logits(model: Any) -> Any:
    return Model(model.inputs[0], model.output["logits"])


def _nothing() -> FileInfo:
    """Stands for a file that is not written yet; the last step describes them all."""
    return FileInfo(sha256="0" * 64, bytes=0)


logging.getLogger("jax2onnx").setLevel(logging.WARNING)
