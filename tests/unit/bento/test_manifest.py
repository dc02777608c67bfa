"""What is refused before anything of a version is loaded: names, manifests, bytes, and ONNX files."""

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

from services.bento.manifest import (
    Manifest,
    ManifestError,
    model_name,
    new_version,
    parse_manifest,
    read_manifest,
    version_name,
)
from services.bento.onnx_file import OnnxError, read_onnx
from services.bento.verify import compatible, verify
from tests.versions import (
    CLASSES,
    IMAGE,
    TABULAR,
    image_model,
    port,
    sign,
    tabular_model,
    weights,
    write_version,
)


@pytest.fixture
def version(tmp_path: Path) -> Path:
    return write_version(tmp_path / "v1")


def check(folder: Path) -> None:
    verify(folder, read_manifest(folder))


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Damage that edits the manifest's JSON."""

    def damage(folder: Path) -> None:
        said = json.loads((folder / "manifest.json").read_text())
        change(said)
        (folder / "manifest.json").write_text(json.dumps(said))

    return damage


def signed(model: bytes | onnx.ModelProto) -> Callable[[Path], object]:
    """Damage that a true manifest covers: the ONNX file itself must be refused."""

    def damage(folder: Path) -> None:
        data = model if isinstance(model, bytes) else model.SerializeToString()
        (folder / "model.onnx").write_bytes(data)
        sign(folder)

    return damage


def external(tensor: onnx.TensorProto, location: str = "../../etc/passwd") -> onnx.TensorProto:
    """The tensor with its data in another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def in_initializer(location: str = "../../etc/passwd") -> onnx.ModelProto:
    model = image_model()
    external(model.graph.initializer[1], location)
    return model


def with_node(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    model = image_model()
    model.graph.node.extend(nodes)
    return model


def constant(**value: Any) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["unused"], **value)


def in_subgraph() -> onnx.ModelProto:
    inner = helper.make_graph([constant(value=external(weights("w", 2)))], "inner", [], [port("unused", [2])])
    outer = helper.make_graph(
        [helper.make_node("If", ["c"], ["x"], then_branch=inner, else_branch=inner)], "outer", [], []
    )
    return with_node(helper.make_node("If", ["c"], ["y"], then_branch=outer, else_branch=outer))


def in_sparse() -> onnx.ModelProto:
    model = image_model()
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(external(weights("s", 2)))
    return model


def in_function() -> onnx.ModelProto:
    model = image_model()
    model.functions.add(name="f", domain="d").node.append(constant(value=external(weights("w", 2))))
    return model


def location_only() -> onnx.ModelProto:
    model = image_model()
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    return model


def without_batch(shape: list[int | str | None], element: int = TensorProto.FLOAT) -> onnx.ModelProto:
    return image_model(input=port("input", shape, element))


def two_inputs() -> onnx.ModelProto:
    model = image_model()
    model.graph.input.append(port("mask", ["n", 1]))
    return model


def extra_output() -> onnx.ModelProto:
    model = image_model()
    model.graph.output.append(port("scores", ["n", 3]))
    return model


def bad_table(file: str, **columns: list[str]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        if columns:
            pq.write_table(pa.table(columns), folder / file)
        else:
            (folder / file).write_bytes(b"no table")
        sign(folder)

    return damage


def append(name: str, data: bytes) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        with (folder / name).open("ab") as stream:
            stream.write(data)

    return damage


def flip(name: str) -> Callable[[Path], object]:
    """One bit of the file, its size kept."""

    def damage(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)

    return damage


def link(name: str, to: str) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(to)

    return damage


def listed(name: str) -> Callable[[Path], object]:
    return edited(lambda said: said["files"].update({name: {"sha256": "0" * 64, "bytes": 1}}))


def linked_folder(folder: Path) -> None:
    real = folder.rename(folder.with_name("real"))
    folder.symlink_to(real)


def truncated_manifest(folder: Path) -> None:
    data = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(data[: len(data) // 2])


WHOLE = image_model().SerializeToString()
LONG_VARINT = b"\x08" + b"\xff" * 11
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
    "a truncated manifest": (truncated_manifest, "Invalid JSON"),
    "an empty manifest": (lambda folder: (folder / "manifest.json").write_text(""), "Invalid JSON"),
    "a manifest that is no JSON": (
        lambda folder: (folder / "manifest.json").write_bytes(b"\x80\x04}"),
        "JSON",
    ),
    "a manifest that is a list": (
        lambda folder: (folder / "manifest.json").write_text("[]"),
        "manifest.json",
    ),
    "a deeply nested manifest": (
        lambda folder: (folder / "manifest.json").write_text("[" * 9999),
        "recursion",
    ),
    "an unknown field": (edited(lambda said: said.update(pickle="x")), "pickle: Extra inputs"),
    "an unknown field of the input": (edited(lambda said: said["input"].update(crop=1)), "crop"),
    "a missing field": (edited(lambda said: said.pop("classes")), "classes: Field required"),
    "an unknown task": (edited(lambda said: said.update(task="ranking")), "task"),
    "an unknown input kind": (edited(lambda said: said["input"].update(kind="audio")), "input"),
    "a time without a zone": (edited(lambda said: said.update(created="2026-11-21T10:00:00")), "created"),
    "a time that is not UTC": (edited(lambda said: said.update(created="2026-11-21T10:00:00+02:00")), "UTC"),
    "one class": (edited(lambda said: said.update(classes=["boot"])), "classes"),
    "a class twice": (edited(lambda said: said.update(classes=["boot", "boot", "shirt"])), "classes"),
    "classes of a regression": (edited(lambda said: said.update(task="regression")), "classes"),
    "an output twice": (edited(lambda said: said["outputs"].append("embedding")), "outputs"),
    "no probabilities": (edited(lambda said: said.update(outputs=["embedding"])), "'probabilities'"),
    "an embedding without a size": (edited(lambda said: said.update(embedding_size=None)), "embedding_size"),
    "an embedding of 33 numbers": (edited(lambda said: said.update(embedding_size=33)), "embedding_size"),
    "a metric that is no number": (edited(lambda said: said.update(metrics={"f1": float("nan")})), "metrics"),
    "a model name that climbs": (edited(lambda said: said.update(model="../other")), "model '../other'"),
    "a version name that climbs": (edited(lambda said: said.update(version="a/../b")), "version 'a/../b'"),
    "a listed file above the folder": (listed("../secret"), "no path of a file inside"),
    "a listed absolute file": (listed("/etc/passwd"), "no path of a file inside"),
    "a listed file with a backslash": (listed("..\\secret"), "no path of a file inside"),
    "the manifest in itself": (listed("manifest.json"), "no path of a file inside"),
    "a digest that is none": (edited(lambda said: said["files"]["card.md"].update(sha256="abc")), "sha256"),
    "no model listed": (edited(lambda said: said["files"].pop("model.onnx")), "needs model.onnx"),
    "a wrong digest": (
        edited(lambda said: said["files"]["model.onnx"].update(sha256="0" * 64)),
        "the manifest says 000000000000…",
    ),
    "a wrong size": (
        edited(lambda said: said["files"]["model.onnx"].update(bytes=1)),
        "the manifest says 1;",
    ),
    "a flipped bit in the model": (flip("model.onnx"), "model.onnx has sha256"),
    "a flipped bit in the reference": (flip("reference.parquet"), "reference.parquet has sha256"),
    "a longer model": (append("model.onnx", b"\0"), "model.onnx has"),
    "a file that is not listed": (append("model.onnx.data", b"x"), "model.onnx.data is not in the manifest"),
    "a hidden file": (append(".hidden", b"x"), ".hidden is not in the manifest"),
    "a listed file that is gone": (lambda folder: (folder / "card.md").unlink(), "card.md is missing"),
    "a linked file": (link("card.md", "/etc/hostname"), "card.md is a link"),
    "a link that is not listed": (link("more", "/etc"), "more is a link"),
    "a linked folder": (linked_folder, "is no folder"),
    "a reference that is no Parquet": (bad_table("reference.parquet"), "is no Parquet file"),
    "training ids that are no Parquet": (bad_table("trained_on.parquet"), "is no Parquet file"),
    "training ids without ids": (bad_table("trained_on.parquet", name=["a"]), "has no column id"),
    "external data above the folder": (signed(in_initializer()), "'to_embedding' refers to external data"),
    "external data in the folder": (signed(in_initializer("card.md")), "external data"),
    "external data by its location alone": (signed(location_only()), "external data"),
    "external data in a constant": (
        signed(with_node(constant(value=external(weights("w", 2))))),
        "'w' refers to external data",
    ),
    "external data in a list of tensors": (
        signed(
            with_node(helper.make_node("Odd", [], ["o"], many=[weights("a", 1), external(weights("b", 1))]))
        ),
        "'b' refers to external data",
    ),
    "external data two graphs deep": (signed(in_subgraph()), "external data"),
    "external data of a sparse tensor": (signed(in_sparse()), "external data"),
    "external data in a function": (signed(in_function()), "external data"),
    "a truncated ONNX file": (signed(WHOLE[: len(WHOLE) // 2]), "truncated"),
    "an ONNX file cut within a number": (signed(WHOLE + b"\x80"), "truncated within a number"),
    "an empty ONNX file": (signed(b""), "no ONNX graph"),
    "a pickle for a model": (signed(b"\x80\x04\x95\x10\0\0\0\0\0\0\0"), "model.onnx: "),
    "an endless number": (signed(LONG_VARINT), "more than ten bytes"),
    "a group, which protobuf gave up": (signed(b"\x0b"), "wire type 3"),
    "another height": (signed(without_batch(["n", 9, 8, 3])), "(batch, 8, 8, 3)"),
    "channels first": (signed(without_batch(["n", 3, 8, 8])), "(batch, 8, 8, 3)"),
    "a fixed batch": (signed(without_batch([1, 8, 8, 3])), "dynamic batch"),
    "no batch": (signed(without_batch([8, 8, 3])), "(batch, 8, 8, 3)"),
    "a free height": (signed(without_batch(["n", None, 8, 3])), "(batch, 8, 8, 3)"),
    "input of bytes": (signed(without_batch(["n", 8, 8, 3], TensorProto.UINT8)), "not float32"),
    "two inputs": (signed(two_inputs()), "2 inputs"),
    "columns for other classes": (
        signed(image_model(probabilities=port("probabilities", ["n", 4]))),
        "(batch, 3)",
    ),
    "probabilities without a shape": (
        signed(image_model(probabilities=port("probabilities", None))),
        "(batch, 3)",
    ),
    "another embedding": (signed(image_model(embedding=port("embedding", ["n", 5]))), "(batch, 4)"),
    "an output that is not in the manifest": (signed(extra_output()), "has outputs"),
    "another model's outputs": (signed(tabular_model()), "model.onnx"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_before_it_is_loaded(version: Path, case: str) -> None:
    damage, words = REFUSED[case]
    damage(version)
    with pytest.raises(ManifestError) as refused:
        check(version)
    assert words in str(refused.value)


def test_what_is_true_is_accepted(version: Path) -> None:
    check(version)
    assert read_manifest(version).input.row == (8, 8, 3)


@pytest.mark.parametrize("shape", [[None, 1], ["n"]])
def test_a_regression_gives_a_column_or_a_vector(tmp_path: Path, shape: list[int | str | None]) -> None:
    check(write_version(tmp_path / "v1", TABULAR, tabular_model(value=port("value", shape))))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (tabular_model(input=port("input", [None, 3])), "(batch, 2)"),
        (tabular_model(value=port("value", [None, 2])), "(batch) or (batch, 1)"),
        (tabular_model(value=port("value", [1])), "dynamic batch"),
    ],
)
def test_a_tabular_model_must_fit_its_manifest(tmp_path: Path, model: onnx.ModelProto, words: str) -> None:
    with pytest.raises(ManifestError) as refused:
        check(write_version(tmp_path / "v1", TABULAR, model))
    assert words in str(refused.value).replace("(batch,)", "(batch)")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "hats"}, "has model hats"),
        ({"classes": [*CLASSES, "hat"]}, "has classes"),
        ({"classes": CLASSES[::-1]}, "has classes"),
        ({"input": {"kind": "tabular", "features": ["a"]}}, "has input kind tabular"),
        ({name: TABULAR[name] for name in ("task", "classes", "outputs", "embedding_size")}, "has task"),
    ],
)
def test_a_challenger_of_another_kind_is_refused(version: Path, changes: dict[str, Any], words: str) -> None:
    champion = read_manifest(version)
    challenger = Manifest.model_validate(champion.model_dump() | {"version": "v2"} | changes)
    with pytest.raises(ManifestError, match=words):
        compatible(champion, challenger)


def test_a_challenger_of_another_size_is_compared(version: Path) -> None:
    champion = read_manifest(version)
    larger = IMAGE["input"] | {"height": 64}
    compatible(champion, Manifest.model_validate(champion.model_dump() | {"input": larger}))


def test_initializers_that_old_files_list_as_inputs_are_none(tmp_path: Path) -> None:
    model = image_model()
    model.graph.input.append(port("to_scores", [3, 3]))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert [port.name for port in read_onnx(path).inputs] == ["input"]


def test_no_truncation_of_an_onnx_file_ends_in_another_error(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for length in range(len(WHOLE)):
        path.write_bytes(WHOLE[:length])
        with contextlib.suppress(OnnxError):  # a cut between two fields can be a whole, smaller model
            read_onnx(path)


def test_a_version_is_named_by_time_and_content() -> None:
    now = datetime(2026, 11, 21, 14, 22, 33, tzinfo=UTC)
    assert new_version(now, "1a2b3c4d" + "0" * 56) == "20261121T142233Z-1a2b3c4d"
    assert version_name(new_version(now, "f" * 64))


@pytest.mark.parametrize("name", ["", ".", "..", "a..b", "a/b", "-a", "A", "a b", "a\n", "ä", "a" * 101])
def test_a_name_that_plays_with_paths_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="model"):
        model_name(name)


def test_an_error_counts_what_else_is_wrong() -> None:
    with pytest.raises(ManifestError, match=r"here: model: Field required \(and \d+ more\); train"):
        parse_manifest(b"{}", "here")
