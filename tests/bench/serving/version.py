"""A version with a realistic network, made in a second without training: no Keras, no JAX.

The network is that of `flows/retrain/network.py` as it looks after the export, batch normalisations folded
into the convolutions, with a last stage of 192 instead of 256 filters: 890 thousand parameters. Its weights
are drawn, so its answers mean nothing, but they cost what answers cost.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.versions import IMAGE, port, write_version

MODEL = "articles"
HEIGHT, WIDTH = 96, 72
STAGES = (32, 64, 128, 192)
CLASSES = [
    "Blazer",
    "Dress",
    "Hat",
    "Hoodie",
    "Longsleeve",
    "Outwear",
    "Pants",
    "Shirt",
    "Shoes",
    "Shorts",
    "Skirt",
    "T-Shirt",
]
EMBEDDING = 32


class Graph:
    """Nodes and weights, as they are added."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(seed)

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """A node with one output, whose name it returns."""
        name = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, *shape: int, fan_in: int) -> str:
        """Weights drawn as He et al. initialise them, so that activations keep their size."""
        values = self._rng.normal(scale=np.sqrt(2 / fan_in), size=shape).astype(np.float32)
        name = f"weights_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def convolution(self, x: str, before: int, after: int, kernel: int, strides: int) -> str:
        """With a bias, as a folded normalisation leaves it."""
        weights = self.constant(after, before, kernel, kernel, fan_in=before * kernel * kernel)
        bias = self.constant(after, fan_in=2_000)
        return self.add("Conv", x, weights, bias, auto_pad="SAME_UPPER", strides=[strides, strides])

    def residual(self, x: str, before: int, after: int, strides: int) -> str:
        """Two convolutions and a way past them."""
        past = x if strides == 1 and before == after else self.convolution(x, before, after, 1, strides)
        inner = self.add("Relu", self.convolution(x, before, after, 3, strides))
        return self.add("Relu", self.add("Add", past, self.convolution(inner, after, after, 3, 1)))

    def dense(self, x: str, before: int, after: int, output: str = "") -> str:
        """A product with a matrix."""
        return self.add("MatMul", x, self.constant(before, after, fan_in=2 * before), output=output)


def network(seed: int) -> onnx.ModelProto:
    """From `input` (n, 96, 72, 3), pixels from 0 to 255, to `probabilities` and `embedding`."""
    graph = Graph(seed)
    graph.weights += [
        numpy_helper.from_array(np.array(v, np.float32), n) for n, v in (("half", 127.5), ("one", 1.0))
    ]
    x = graph.add("Sub", graph.add("Div", "input", "half"), "one")
    x = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    x = graph.add("Relu", graph.convolution(x, 3, STAGES[0], 5, 2))
    before = STAGES[0]
    for number, filters in enumerate(STAGES):
        x = graph.residual(x, before, filters, strides=1 if number == 0 else 2)
        before = filters
    features = graph.add("ReduceMean", x, axes=[2, 3], keepdims=0)
    graph.add("Softmax", graph.dense(features, before, len(CLASSES)), output="probabilities", axis=-1)
    graph.dense(features, before, EMBEDDING, output="embedding")
    made = helper.make_graph(
        graph.nodes,
        "residual",
        [port("input", ["n", HEIGHT, WIDTH, 3], TensorProto.FLOAT)],
        [port("probabilities", ["n", len(CLASSES)]), port("embedding", ["n", EMBEDDING])],
        graph.weights,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def write_cnn_version(folder: Path, version: str, seed: int) -> Path:
    """Write the folder of one version of `MODEL`; another seed gives another file."""
    return write_version(
        folder,
        IMAGE,
        network(seed),
        model=MODEL,
        version=version,
        classes=CLASSES,
        embedding_size=EMBEDDING,
        input={"kind": "image", "height": HEIGHT, "width": WIDTH, "scale": 1.0, "offset": 0.0},
    )
