"""What an ONNX file says of itself, read from its bytes before ONNX Runtime may touch it.

ONNX Runtime opens whatever file a tensor's `external_data` names, so a file from elsewhere is looked through
first, and without the `onnx` package, which the serving environment does not have. A protobuf message is a
run of fields, each a tag (number and wire type) and a value; a nested message is a value with a length. Two
runs of one message's fields joined are that message merged, which is how a repeated single field is read.
The numbers below are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from observability.errors import WatchkeeperError

FLOAT32 = 1
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
GRAPH, INITIALIZER, INPUT, OUTPUT = 7, 5, 11, 12
TENSOR_NAME, EXTERNAL_DATA, DATA_LOCATION = 8, 13, 14

# Every way from a model to a tensor: message -> field number -> the message that the field holds.
MESSAGES: dict[str, dict[int, str]] = {
    "model": {GRAPH: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", INITIALIZER: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


class OnnxError(WatchkeeperError):
    """Bytes that are no ONNX model that stands alone."""


@dataclass(frozen=True)
class Port:
    """One input or output. A dimension is a number, or None where it is free; `shape` None: not said."""

    name: str
    element: int
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class OnnxFile:
    """The ports of a model. Inputs are what a caller must give: initializers are not among them."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def read_onnx(path: Path) -> OnnxFile:
    """Read the ports of a model.

    Raises:
        OnnxError: truncated, no protobuf, no graph, or a tensor whose data is in another file.
    """
    try:
        return _read(memoryview(path.read_bytes()))
    except OnnxError as error:
        raise OnnxError(f"{path}: {error}; export the model again, as one file") from None


def _read(data: memoryview) -> OnnxFile:
    _refuse_external_data(data)
    graph = _merged(data, GRAPH)
    if not graph:
        raise OnnxError("holds no ONNX graph")
    known = {_text(tensor, TENSOR_NAME) for tensor in _all(graph, INITIALIZER)}
    inputs = (_port(value) for value in _all(graph, INPUT))
    return OnnxFile(
        tuple(port for port in inputs if port.name not in known),
        tuple(_port(value) for value in _all(graph, OUTPUT)),
    )


def _refuse_external_data(data: memoryview) -> None:
    """Visit every tensor: initializers, attributes, subgraphs, functions; without recursion, however deep."""
    waiting = [("model", data)]
    while waiting:
        kind, message = waiting.pop()
        if kind == "tensor":
            _refuse_external(message)
            continue
        for number, value in fields(message):
            if isinstance(value, memoryview) and number in MESSAGES[kind]:
                waiting.append((MESSAGES[kind][number], value))


def _refuse_external(tensor: memoryview) -> None:
    """Only looks at the fields' heads: the data itself is stepped over."""
    for number, value in fields(tensor):
        # Parsers cut an enum to 32 bits.
        located = number == DATA_LOCATION and isinstance(value, int) and value & 0xFFFFFFFF
        if located or number == EXTERNAL_DATA:
            name = _text(tensor, TENSOR_NAME)
            raise OnnxError(f"tensor {name!r} refers to external data, which is never read")


def _port(value: memoryview) -> Port:
    """ValueInfoProto: name 1, type 2; its tensor_type 1: elem_type 1, shape 2; the shape's dim 1."""
    tensor = _merged(_merged(value, 2), 1)
    said = any(True for _ in _all(tensor, 2))
    dimensions = (_number(item, 1) for item in _all(_merged(tensor, 2), 1))  # a dim_param is free
    return Port(_text(value, 1), _number(tensor, 1) or 0, tuple(dimensions) if said else None)


def _all(message: memoryview, wanted: int) -> Iterator[memoryview]:
    return (value for number, value in fields(message) if number == wanted and isinstance(value, memoryview))


def _merged(message: memoryview, wanted: int) -> memoryview:
    """A single nested message, empty where there is none."""
    found = list(_all(message, wanted))
    return found[0] if len(found) == 1 else memoryview(b"".join(found))


def _text(message: memoryview, wanted: int) -> str:
    """A single text; of several the last counts, as for every parser."""
    return bytes(next(reversed(list(_all(message, wanted))), b"")).decode("utf-8", "replace")


def _number(message: memoryview, wanted: int) -> int | None:
    found = [value for number, value in fields(message) if number == wanted and isinstance(value, int)]
    return found[-1] if found else None


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Each field's number and value: an int for a varint, bytes for everything else.

    Raises:
        OnnxError: the message ends within a field, or no writer of protobuf makes such a field.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise OnnxError(f"is no ONNX file: field number {number}")
        if wire == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        size, at = _size(message, at, wire)
        if at + size > len(message):
            raise OnnxError(f"is truncated: field {number} ends {at + size - len(message):,} bytes too early")
        yield number, message[at : at + size]
        at += size


def _size(message: memoryview, at: int, wire: int) -> tuple[int, int]:
    if wire == LENGTH:
        return _varint(message, at)
    if wire in (EIGHT_BYTES, FOUR_BYTES):
        return (8 if wire == EIGHT_BYTES else 4), at
    raise OnnxError(f"is no ONNX file: wire type {wire}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Seven bits a byte, lowest first; the high bit says that more follow, ten bytes at most."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise OnnxError("is truncated within a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise OnnxError("is no ONNX file: a number of more than ten bytes")
