"""From an input's bytes to what the model says. Decoding, resizing and descriptors live here, once.

Training, evaluation, batch scoring and the service all go through this module, so that a picture is the
same numbers everywhere.
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from PIL import Image, ImageOps, UnidentifiedImageError

from observability.errors import WatchkeeperError
from services.bento.costly import why_costly
from services.bento.manifest import ImageInput, Manifest

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 50_000_000
MAX_SIDE = 20_000
Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


class UnreadableImageError(WatchkeeperError):
    """Bytes that are no picture that we decode."""


class TooManyPixelsError(UnreadableImageError):
    """A picture that is not decoded for its size."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture: `pixels` of shape (height, width, 3) at the model's size; the rest as it arrived."""

    pixels: Pixels
    width: int
    height: int
    bytes: int


def decode(data: bytes, height: int, width: int, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a JPEG, PNG or WebP upright and resize it.

    Raises:
        TooManyPixelsError: more than `max_pixels`, said by its header before anything is decoded.
        UnreadableImageError: another format, damaged, or made to cost its reader (`costly.py`).
    """
    if problem := why_costly(data):
        raise UnreadableImageError(f"the picture is damaged or made to be slow: {problem}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is ours
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                size = image.size
                if max(size) > MAX_SIDE:
                    raise TooManyPixelsError(f"{size[0]} x {size[1]} pixels; at most {MAX_SIDE:,} a side")
                if size[0] * size[1] > max_pixels:
                    raise TooManyPixelsError(f"{size[0]} x {size[1]} pixels; at most {max_pixels:,} are read")
                image.draft("RGB", (2 * width, 2 * height))
                upright = ImageOps.exif_transpose(image)
                small = upright.convert("RGB").resize(
                    (width, height), Image.Resampling.BILINEAR, reducing_gap=2
                )
    except UnidentifiedImageError:
        raise UnreadableImageError("not a JPEG, PNG or WebP picture") from None
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(str(error)) from None
    except WatchkeeperError:
        raise
    except Exception as error:  # Pillow raises whatever its parsers meet in hostile bytes
        raise UnreadableImageError(f"the picture is damaged: {error}") from None
    return Picture(np.asarray(small), *size, len(data))


def descriptors(picture: Picture) -> dict[str, float]:
    """What drift watches of a picture: size as it arrived, and looks at the model's size.

    `brightness` and `contrast` are mean and standard deviation of luma (0 to 255), `sharpness` the variance
    of its Laplacian, `colourfulness` the measure M3 of Hasler and Suesstrunk, "Measuring colourfulness in
    natural images" (2003).
    """
    rgb = picture.pixels.astype(np.float32)
    luma = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    red_green = rgb[..., 0] - rgb[..., 1]
    yellow_blue = (rgb[..., 0] + rgb[..., 1]) / 2 - rgb[..., 2]
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return {
        "width": picture.width,
        "height": picture.height,
        "bytes": picture.bytes,
        "brightness": float(luma.mean()),
        "contrast": float(luma.std()),
        "sharpness": float(laplacian.var()),
        "colourfulness": float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean())),
    }


def as_input(pixels: Sequence[Pixels] | Pixels, spec: ImageInput) -> Floats:
    """A batch of pixels as the model's input, of shape (n, height, width, 3)."""
    return np.asarray(pixels, np.float32) * np.float32(spec.scale) + np.float32(spec.offset)


@dataclass(frozen=True)
class Answer:
    """What the model says of n rows: `outputs` (n, classes) probabilities, or (n,) values."""

    outputs: Floats
    embedding: Floats | None


class Predictor:
    """One version in ONNX Runtime. `folder` must have been verified against its manifest."""

    def __init__(self, folder: Path, manifest: Manifest, threads: int = 0) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.manifest = manifest
        self.session = ort.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._input = self.session.get_inputs()[0].name

    def predict(self, batch: Floats) -> Answer:
        """Answer a batch of inputs, of the shape that the manifest's input says."""
        values = cast(list[Floats], self.session.run(self.manifest.outputs, {self._input: batch}))
        named = dict(zip(self.manifest.outputs, values, strict=True))
        if self.manifest.task == "classification":
            return Answer(named["probabilities"], named.get("embedding"))
        return Answer(named["value"].reshape(len(batch)), named.get("embedding"))
