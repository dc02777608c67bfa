"""What differs from its manifest is refused before anything of it is loaded.

`verify` runs before every load, in training, in the gate and in the service. It reads bytes and Parquet's
footers, never ONNX Runtime and never a pickle.
"""

import hashlib
import os
from pathlib import Path

from services.bento.manifest import MANIFEST, FileInfo, Manifest, ManifestError
from services.bento.onnx_file import FLOAT32, OnnxError, Port, read_onnx


def describe_files(folder: Path) -> dict[str, FileInfo]:
    """What a manifest's `files` must say of a folder that is complete but for its manifest."""
    names = _files_in(folder) - {MANIFEST}
    return {
        name: FileInfo(sha256=sha256(folder / name), bytes=(folder / name).stat().st_size)
        for name in sorted(names)
    }


def verify(folder: Path, manifest: Manifest, tables: bool = True) -> None:
    """Refuse a folder that is not what its manifest says, byte for byte and input for input.

    `tables` reads the footers of its Parquet files too, for which PyArrow must be loaded: who only answers
    with the model does without.

    Raises:
        ManifestError: naming the file, what is wrong with it, and what to do.
    """
    present, listed = _files_in(folder) - {MANIFEST}, manifest.files.keys()
    if missing := sorted(listed - present):
        raise ManifestError(
            f"{folder / missing[0]} is missing, though the manifest lists it; fetch or train again"
        )
    if unknown := sorted(present - listed):
        raise ManifestError(f"{folder / unknown[0]} is not in the manifest; remove it")
    for name, info in manifest.files.items():
        _check_bytes(folder / name, info)
    if tables:
        _check_table(folder / "reference.parquet")
        _check_table(folder / "trained_on.parquet", "id")
    _check_onnx(folder / "model.onnx", manifest)


def _files_in(folder: Path) -> set[str]:
    """Names of all files below a folder. Refuses links and anything else that is no plain file."""
    found = set()
    if folder.is_symlink() or not folder.is_dir():
        raise ManifestError(f"{folder} is no folder; give the folder of one version")
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent) / name for name in (*folders, *files)):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ManifestError(f"{path} is a link or no plain file; a version holds only plain files")
        found |= {(Path(parent) / name).relative_to(folder).as_posix() for name in files}
    return found


def _check_bytes(path: Path, info: FileInfo) -> None:
    remedy = "it was changed or damaged: fetch or train the version again"
    if (size := path.stat().st_size) != info.bytes:
        raise ManifestError(f"{path} has {size:,} bytes, the manifest says {info.bytes:,}; {remedy}")
    if (found := sha256(path)) != info.sha256:
        raise ManifestError(
            f"{path} has sha256 {found[:12]}…, the manifest says {info.sha256[:12]}…; {remedy}"
        )


def sha256(path: Path) -> str:
    """Digest of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_table(path: Path, *columns: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
    except (pa.ArrowInvalid, OSError) as error:
        raise ManifestError(f"{path} is no Parquet file: {error}; train the version again") from None
    if missing := set(columns) - set(names):
        raise ManifestError(f"{path} has no column {', '.join(missing)}; train the version again")


def _check_onnx(path: Path, manifest: Manifest) -> None:
    """Compare the ports of the ONNX file with the manifest's."""
    try:
        model = read_onnx(path)
    except OnnxError as error:
        raise ManifestError(str(error)) from None
    if len(model.inputs) != 1:
        raise ManifestError(f"{path} has {len(model.inputs)} inputs; export it with exactly one")
    _check_port(path, model.inputs[0], [manifest.input.row])
    outputs = {port.name: port for port in model.outputs}
    if sorted(outputs) != sorted(manifest.outputs):
        raise ManifestError(
            f"{path} has outputs {sorted(outputs)}, the manifest says {sorted(manifest.outputs)}; train again"
        )
    columns: list[tuple[int, ...]] = [(len(manifest.classes),)] if manifest.classes else [(), (1,)]
    _check_port(path, outputs[manifest.answer], columns)
    if manifest.embedding_size:
        _check_port(path, outputs["embedding"], [(manifest.embedding_size,)])


def _check_port(path: Path, port: Port, rows: list[tuple[int, ...]]) -> None:
    """A port takes or gives float32 in batches of any size, each row of one of these shapes."""
    if port.element != FLOAT32:
        raise ManifestError(f"{path}: {port.name!r} is not float32; export it as float32")
    shape = port.shape or ()
    if not shape or shape[1:] not in rows:
        wanted = " or ".join(str(("batch", *row)).replace("'", "") for row in rows)
        raise ManifestError(f"{path}: {port.name!r} has shape {list(shape)}, the manifest says {wanted}")
    if shape[0] is not None:
        raise ManifestError(f"{path}: {port.name!r} takes {shape[0]} rows only; export with a dynamic batch")


def compatible(champion: Manifest, challenger: Manifest) -> None:
    """Refuse a challenger that cannot be scored against the champion.

    Raises:
        ManifestError: another model, task, input kind, or other classes (their order counts: it is the
            order of the columns of `probabilities`).
    """
    for what, old, new in (
        ("model", champion.model, challenger.model),
        ("task", champion.task, challenger.task),
        ("input kind", champion.input.kind, challenger.input.kind),
        ("classes", champion.classes, challenger.classes),
    ):
        if old != new:
            raise ManifestError(
                f"version {challenger.version} has {what} {new}, the champion {champion.version} has {old}; "
                "give a model of another kind another name"
            )
