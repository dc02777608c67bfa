"""Photographs as a network sees them, and what can happen to a camera."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from observability.drift.profiles import Cells, Kind, Scale, cells_of, scale_of
from services.bento.manifest import ImageInput, Manifest
from services.bento.prediction_log import DESCRIPTORS, entropy
from services.bento.predictor import Predictor, as_input, decode, descriptors

WATCHED = {
    **{name: [name] for name in ("label", "probability", "entropy", *DESCRIPTORS)},
    "embedding": [f"embedding_{n:02}" for n in range(32)],
}
KINDS: dict[str, Kind] = {
    name: "categorical" if name == "label" else "numeric" for columns in WATCHED.values() for name in columns
}


@dataclass(frozen=True)
class Seen:
    """What the prediction log holds of pictures, a row each, and their class."""

    values: dict[str, Any]
    classes: "np.ndarray[Any, np.dtype[np.object_]]"

    def cells(
        self, rows: "np.ndarray[Any, np.dtype[np.int64]]", periods: Any, scales: dict[str, Scale]
    ) -> Cells:
        """Cells of some rows."""
        chosen = {name: (KINDS[name], held[rows]) for name, held in self.values.items()}
        return cells_of(chosen, np.asarray(periods), scales)

    @property
    def scales(self) -> dict[str, Scale]:
        """As these rows fix them."""
        return {name: scale_of(held) for name, held in self.values.items() if KINDS[name] == "numeric"}


class Eye:
    """A network with drawn weights whose last layer is fitted: it tells classes apart, if not well.

    Args:
        folder: the version's.
        manifest: of the version.
        photographs: that it sees.
        known: others, that the layer is fitted to.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        photographs: list[tuple[Path, str]],
        known: list[tuple[Path, str]],
    ) -> None:
        assert isinstance(manifest.input, ImageInput)
        self._predictor, self._spec = Predictor(folder, manifest, threads=2), manifest.input
        self._photographs = photographs
        self._layer = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        self._layer.fit(self._look(known, None)[0], [name for _, name in known])

    def see(self, change: Callable[[Image.Image], bytes] | None = None) -> Seen:
        """All photographs, each changed first."""
        embedding, rows = self._look(self._photographs, change)
        shares = self._layer.predict_proba(embedding)
        rows["label"] = self._layer.classes_[shares.argmax(axis=1)]
        rows["probability"], rows["entropy"] = shares.max(axis=1), entropy(shares)
        for number, name in enumerate(WATCHED["embedding"]):
            known = number < embedding.shape[1]
            rows[name] = embedding[:, number] if known else np.full(len(embedding), np.nan)
        held = {n: np.array(v, object if KINDS[n] == "categorical" else np.float64) for n, v in rows.items()}
        return Seen(held, np.array([name for _, name in self._photographs], object))

    def _look(
        self, photographs: list[tuple[Path, str]], change: Callable[[Image.Image], bytes] | None
    ) -> tuple[Any, dict[str, Any]]:
        """The embedding and the descriptors of photographs."""
        embedding, rows = [], []
        for start in range(0, len(photographs), 64):
            pixels = []
            for path, _ in photographs[start : start + 64]:
                data = path.read_bytes()
                if change:
                    with Image.open(io.BytesIO(data)) as image:
                        data = change(image.convert("RGB"))
                picture = decode(data, self._spec.height, self._spec.width)
                rows.append(descriptors(picture))
                pixels.append(picture.pixels)
            answer = self._predictor.predict(as_input(pixels, self._spec))
            assert answer.embedding is not None
            embedding.append(answer.embedding)
        return np.concatenate(embedding), {name: [row[name] for row in rows] for name in DESCRIPTORS}


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    """The picture as a file."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def darker(size: float) -> Callable[[Image.Image], bytes]:
    """So much less light."""
    return lambda image: jpeg(ImageEnhance.Brightness(image).enhance(1 - size))


def blurred(size: float) -> Callable[[Image.Image], bytes]:
    """Out of focus by so many thousandths of the picture's width."""
    return lambda image: jpeg(image.filter(ImageFilter.GaussianBlur(size * image.width / 1000)))


def noisy(size: float) -> Callable[[Image.Image], bytes]:
    """Noise of such a standard deviation, of 255."""

    def change(image: Image.Image) -> bytes:
        rng = np.random.default_rng(image.width)
        pixels = np.asarray(image, np.float32)
        worse = np.clip(pixels + rng.normal(0, size, pixels.shape), 0, 255).astype(np.uint8)
        return jpeg(Image.fromarray(worse))

    return change


def squeezed(size: float) -> Callable[[Image.Image], bytes]:
    """JPEG of a lower quality, by so much below 90."""
    return lambda image: jpeg(image, int(90 - size))


def wider(size: float) -> Callable[[Image.Image], bytes]:
    """Another camera's aspect: wider by a share."""
    return lambda image: jpeg(image.resize((int(image.width * (1 + size)), image.height)))


SHIFTS = {
    "light less by": (darker, (0.05, 0.1, 0.2, 0.4)),
    "blur, thousandths of the width": (blurred, (2.0, 5.0, 10.0, 20.0)),
    "noise, of 255": (noisy, (5.0, 10.0, 20.0, 40.0)),
    "JPEG quality below 90 by": (squeezed, (10.0, 30.0, 50.0, 70.0)),
    "wider by": (wider, (0.05, 0.1, 0.2, 0.4)),
}


def photographs(folder: Path, count: int) -> tuple[list[tuple[Path, str]], list[tuple[Path, str]]]:
    """So many of the labelled photographs, drawn without replacement; and the others."""
    with (folder / "articles.csv").open(encoding="utf-8", newline="") as stream:
        rows = [(folder / row["image_path"], row["product_group_name"]) for row in csv.DictReader(stream)]
    order = np.random.default_rng(0).permutation(len(rows))
    return [rows[n] for n in order[:count]], [rows[n] for n in order[count:]]
