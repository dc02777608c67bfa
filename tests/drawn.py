"""Articles with drawn pictures, for trainings that take seconds."""

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("dress", "shirt", "shoes")


def drawn(number: int, kind: int) -> bytes:
    """A pattern of its own, tinted as its class is."""
    rng = np.random.default_rng([number, kind])
    blocks = rng.integers(0, 150, (8, 6, 3)).astype(np.uint8)
    blocks[..., kind] += 90
    stream = io.BytesIO()
    Image.fromarray(blocks).resize((24, 32), Image.Resampling.NEAREST).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def draw(folder: Path, rows: int) -> None:
    """An index and its pictures; the classes are unbalanced."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / "articles.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["article_id", "product_group_name", "image_path"])
        for number in range(rows):
            kind = (0, 0, 0, 1, 1, 2)[number % 6]
            path = folder / "images" / f"{number}.jpg"
            path.write_bytes(drawn(number, kind))
            writer.writerow([f"a{number:05}", CLASSES[kind], f"images/{number}.jpg"])
