"""The version that answers: loaded, and warmed by an answer to an input that we make up."""

import io
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from services.bento.manifest import ImageInput, Manifest, ManifestError
from services.bento.predictor import (
    MAX_PIXELS,
    Answer,
    Floats,
    Picture,
    Predictor,
    TooManyPixelsError,
    UnreadableImageError,
    as_input,
    decode,
)
from services.bento.probation import Record
from services.bento.problems import ProblemError

FLOAT32_MAX = float(np.finfo(np.float32).max)
WARM_SIZES = (1, 2, 4, 8)
Row = dict[str, Any]
Payload = bytes | Row


@dataclass
class Live:
    """A version in memory. `number` is its entry in the ledger, 0 for the version that a Bento carries."""

    manifest: Manifest
    predictor: Predictor
    since: datetime
    number: int = 0
    before: str | None = None
    promoted: bool = False
    max_pixels: int = MAX_PIXELS  # of a picture; larger ones are refused
    record: Record = field(default=Record(), init=False)  # replaced whole: another thread reads it

    def decode(self, payload: Payload, max_pixels: int) -> tuple[Any, Picture | None]:
        """An input's row of the batch, and the picture where it is one.

        Raises:
            ProblemError: not what the manifest's input spec asks for; too many pixels before one is decoded.
        """
        spec = self.manifest.input
        if isinstance(spec, ImageInput):
            if not isinstance(payload, bytes):
                raise ProblemError("bad_request", "this model takes a picture, not a row of features")
            try:
                picture = decode(payload, spec.height, spec.width, max_pixels)
            except TooManyPixelsError as error:
                raise ProblemError("too_many_pixels", str(error)) from None
            except UnreadableImageError as error:
                raise ProblemError("bad_image", str(error)) from None
            return picture.pixels, picture
        if not isinstance(payload, dict):
            raise ProblemError("bad_request", "this model takes a JSON row of features, not a picture")
        return row_of(payload, spec.features), None

    def predict(self, rows: list[Any]) -> Answer:
        """Answer decoded rows."""
        spec = self.manifest.input
        batch: Floats = as_input(rows, spec) if isinstance(spec, ImageInput) else np.asarray(rows, np.float32)
        return self.predictor.predict(batch)

    def example(self) -> Payload:
        """An input of the right kind: a grey picture in JPEG, larger than the model's, or a row of zeros."""
        spec = self.manifest.input
        if not isinstance(spec, ImageInput):
            return dict.fromkeys(spec.features, 0.0)
        stream = io.BytesIO()
        Image.new("RGB", (4 * spec.width, 4 * spec.height), (128, 128, 128)).save(stream, "JPEG")
        return stream.getvalue()

    def warm(self) -> None:
        """Answer the example, alone and in batches: ONNX Runtime plans each size when it first meets it.

        Raises:
            ManifestError: the version does not answer with finite numbers.
        """
        row, _ = self.decode(self.example(), MAX_PIXELS)
        for size in WARM_SIZES:
            outputs = self.predict([row] * size).outputs
            if len(outputs) != size or not np.isfinite(outputs).all():
                raise ManifestError(
                    f"version {self.manifest.version} does not answer each row with finite numbers"
                )


def row_of(row: Row, features: list[str]) -> list[float]:
    """The features' values, in the model's order.

    Raises:
        ProblemError: a feature is missing, unknown, or no finite number.
    """
    if unknown := sorted(row.keys() - set(features)):
        raise ProblemError(
            "bad_row", f"unknown feature {unknown[0]!r}; the model takes {', '.join(features)}"
        )
    values = []
    for name in features:
        if name not in row:
            raise ProblemError("bad_row", f"feature {name!r} is missing")
        value = row[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= FLOAT32_MAX:
            raise ProblemError("bad_row", f"feature {name!r} is no number that float32 holds")
        values.append(float(value))
    return values


def load(folder: Path, manifest: Manifest, since: datetime, max_pixels: int, **ledger: Any) -> Live:  # noqa: ANN401
    """Load a verified version and warm it. One thread: each core has a worker of its own.

    Raises:
        ManifestError: ONNX Runtime refuses it, or it does not answer.
    """
    try:
        made = Live(manifest, Predictor(folder, manifest, threads=1), since, max_pixels=max_pixels, **ledger)
        made.warm()
    except ManifestError:
        raise
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise ManifestError(f"version {manifest.version} cannot be loaded: {error}") from None
    return made
