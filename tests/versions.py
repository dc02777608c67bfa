"""Versions of models for tests: tiny ONNX files, and whole folders with true manifests."""

import timeit
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

from services.bento.manifest import Manifest, read_manifest, write_manifest
from services.bento.verify import describe_files

CLASSES = ["boot", "shirt", "skirt"]
Shape = Sequence[int | str | None]


def port(name: str, shape: Shape | None, element: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """An input or output of a graph."""
    return helper.make_tensor_value_info(name, element, shape)


def weights(name: str, *shape: int, seed: int = 0) -> onnx.TensorProto:
    """An initializer of drawn numbers."""
    return numpy_helper.from_array(np.random.default_rng(seed).normal(size=shape).astype(np.float32), name)


def image_model(seed: int = 0, **ports: onnx.ValueInfoProto) -> onnx.ModelProto:
    """A classifier of 8 x 8 pictures; `ports` replace `input`, `probabilities` or `embedding`."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["means", "to_scores"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"]),
        helper.make_node("MatMul", ["means", "to_embedding"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [ports.get("input", port("input", ["n", 8, 8, 3]))],
        [
            ports.get("probabilities", port("probabilities", ["n", 3])),
            ports.get("embedding", port("embedding", ["n", 4])),
        ],
        [weights("to_scores", 3, 3, seed=seed), weights("to_embedding", 3, 4, seed=seed)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def tabular_model(seed: int = 0, **ports: onnx.ValueInfoProto) -> onnx.ModelProto:
    """A regressor of two columns; `ports` replace `input` or `value`."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "slope"], ["value"])],
        "line",
        [ports.get("input", port("input", [None, 2]))],
        [ports.get("value", port("value", [None, 1]))],
        [weights("slope", 2, 1, seed=seed)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def changed(nodes: list[onnx.NodeProto], *constants: onnx.TensorProto) -> onnx.ModelProto:
    """The image classifier whose scores are made of `more`, which `nodes` make of the pictures' `means`."""
    model = image_model()
    means, scores, *rest = list(model.graph.node)
    scores.input[0] = "more"
    del model.graph.node[:]
    model.graph.node.extend([means, *nodes, scores, *rest])
    model.graph.initializer.extend(constants)
    return model


def nan_when_bright() -> onnx.ModelProto:
    """Passes its warm-up, as grey is not bright; NaN above 0.9, the logarithm of less than 0."""
    nodes = [
        helper.make_node("Sub", ["bound", "means"], ["room"]),
        helper.make_node("Log", ["room"], ["more"]),
    ]
    return changed(nodes, numpy_helper.from_array(np.array([0.9], np.float32), "bound"))


def slow(size: int = 1000, times: int = 12) -> onnx.ModelProto:
    """About a second for a batch: a square of the input's mean, multiplied by itself again and again."""
    nodes = [
        helper.make_node("ReduceMean", ["means"], ["mean"], keepdims=0),
        helper.make_node("Expand", ["mean", "shape"], ["square_0"]),
    ]
    for number in range(times):
        nodes.append(helper.make_node("MatMul", [f"square_{number}", "square_0"], [f"large_{number}"]))
        nodes.append(helper.make_node("Mul", [f"large_{number}", "share"], [f"square_{number + 1}"]))
    nodes.append(helper.make_node("ReduceMean", [f"square_{times}"], ["rest"], keepdims=0))
    nodes.append(helper.make_node("Add", ["means", "rest"], ["more"]))
    return changed(
        nodes,
        numpy_helper.from_array(np.array([size, size], np.int64), "shape"),
        numpy_helper.from_array(np.array([1 / size], np.float32), "share"),
    )


def slow_when_bright(seconds: float = 0.4) -> onnx.ModelProto:
    """No time for grey pictures; about so long for a batch with one above 0.9, on a machine as busy."""
    tried = onnxruntime.InferenceSession(looping_when_bright(TRIED).SerializeToString())
    white = {"input": np.ones((1, 8, 8, 3), np.float32)}
    took = min(timeit.repeat(lambda: tried.run(None, white), number=3, repeat=3)) / 3
    return looping_when_bright(int(TRIED * seconds / took))


TRIED = 20_000


def looping_when_bright(rounds: int) -> onnx.ModelProto:
    """For a batch with a picture above 0.9 it goes so many rounds, and nothing comes of them."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["still"]),
            helper.make_node("Mul", ["so_far", "one"], ["next"]),
        ],
        "once",
        [
            port("round", [], TensorProto.INT64),
            port("go_on", [], TensorProto.BOOL),
            port("so_far", [None, 3]),
        ],
        [port("still", [], TensorProto.BOOL), port("next", [None, 3])],
    )
    nodes = [
        helper.make_node("ReduceMax", ["means"], ["brightest"], keepdims=0),
        helper.make_node("Greater", ["brightest", "bound"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["once"], to=TensorProto.INT64),
        helper.make_node("Mul", ["once", "rounds"], ["times"]),
        helper.make_node("Loop", ["times", "", "means"], ["more"], body=body),
    ]
    return changed(
        nodes,
        numpy_helper.from_array(np.array(0.9, np.float32), "bound"),
        numpy_helper.from_array(np.array(rounds, np.int64), "rounds"),
        numpy_helper.from_array(np.array([1], np.float32), "one"),
    )


IMAGE: dict[str, Any] = {
    "model": "articles",
    "version": "v1",
    "task": "classification",
    "created": datetime(2026, 11, 21, 14, 22, 33, tzinfo=UTC),
    "input": {"kind": "image", "height": 8, "width": 8, "scale": 1 / 255, "offset": 0.0},
    "outputs": ["probabilities", "embedding"],
    "classes": CLASSES,
    "embedding_size": 4,
    "metrics": {"macro_f1": 0.8},
    "snapshot": {"table": "garments.articles", "snapshot_id": 7},
    "holdout_sha256": None,
    "code_revision": "abc1234",
    "training": {"epochs": 3},
}
TABULAR = IMAGE | {
    "task": "regression",
    "input": {"kind": "tabular", "features": ["height", "weight"]},
    "outputs": ["value"],
    "classes": [],
    "embedding_size": None,
}


def write_version(
    folder: Path, fields: Mapping[str, Any] = IMAGE, onnx_model: onnx.ModelProto | None = None, **changes: Any
) -> Path:
    """A version's folder whose manifest is true of its files; `changes` are of the manifest's fields."""
    folder.mkdir(parents=True)
    made = onnx_model or (image_model() if fields["task"] == "classification" else tabular_model())
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    pq.write_table(pa.table({"request_id": ["a"], "label": ["boot"]}), folder / "reference.parquet")
    pq.write_table(pa.table({"id": ["b", "c"]}), folder / "trained_on.parquet")
    (folder / "card.md").write_text("# A model\n")
    (folder / "confusion.png").write_bytes(b"a picture")
    sign(folder, {**fields, **changes})
    return folder


def sign(folder: Path, fields: Mapping[str, Any] | None = None) -> None:
    """Write a manifest that is true of the folder's files as they are now."""
    said = dict(fields or read_manifest(folder).model_dump())
    write_manifest(folder, Manifest.model_validate(said | {"files": describe_files(folder)}))
