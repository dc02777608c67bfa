"""The demo's fourth act: traffic as in training, then dark and blurred pictures of fewer kinds."""

import base64
import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from PIL import Image, ImageEnhance, ImageFilter

from flows.config import Settings
from flows.console import out, reporter
from flows.demo_serve import Client, service
from flows.drift import verdicts
from services.bento.registry import Registry
from services.bento.store import open_store

if TYPE_CHECKING:
    from flows.drift.flow import Result

MODEL = "hm"
AT_ONCE = 50
FEW_GROUPS = 2
Picture = tuple[str, bytes]
"""What it shows, and the file."""


def act_drift(settings: Settings, source: Path) -> "dict[str, Result]":
    """Both stretches of traffic, each followed by its verdict; nothing where an earlier demo did it."""
    from flows.drift.flow import drift
    from flows.etl.flow import etl

    if next(verdicts.history(settings, f"model.{MODEL}"), None):
        return {}
    pictures = unseen(settings, source)
    common = [group for group, _ in Counter(group for group, _ in pictures).most_common(FEW_GROUPS)]
    few = [(group, spoilt(data)) for group, data in pictures if group in common and is_readable(data)]
    stretches: dict[str, list[Picture]] = {
        "as in training": pictures,
        # Again and again, so that they are most of the hour's traffic.
        "dark, blurred, two groups": list(islice(cycle(few), 2 * len(pictures))),
    }
    results = {}
    for name, sent in stretches.items():
        with (
            reporter.shown(),
            reporter.step(f"traffic · {name}") as on_progress,
            service(settings, MODEL) as client,
        ):
            send(client, sent, on_progress)
        with reporter.shown():
            etl("serving")
            results[name] = drift(model=MODEL)
    return results


def unseen(settings: Settings, source: Path) -> list[Picture]:
    """Pictures of the catalogue that the champion was not trained on."""
    registry = Registry(open_store(settings.registry), MODEL)
    version, _ = registry.live()
    trained = set(pq.read_table(registry.fetch(version) / "trained_on.parquet")["id"].to_pylist())
    with (source / "articles.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    known = registry.manifest(version).classes
    return [
        (row["product_group_name"], (source / row["image_path"]).read_bytes())
        for row in rows
        if row["article_id"] not in trained
        and row["product_group_name"] in known
        and row["image_path"]
        and (source / row["image_path"]).is_file()
    ]


def is_readable(picture: bytes) -> bool:
    """Whether it can be decoded: some drawn pictures are broken on purpose."""
    try:
        with Image.open(io.BytesIO(picture)) as image:
            image.load()
    except OSError:
        return False
    return True


def spoilt(picture: bytes) -> bytes:
    """The picture as a dirty camera in a dark room sees it."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        dark = ImageEnhance.Brightness(image.convert("RGB")).enhance(0.45)
        dark.filter(ImageFilter.GaussianBlur(2)).save(stream, "JPEG")
    return stream.getvalue()


def send(client: Client, pictures: list[Picture], on_progress: Callable[[int, int], None]) -> None:
    """Have the pictures classified, and tell what was right."""
    for start in range(0, len(pictures), AT_ONCE):
        batch = pictures[start : start + AT_ONCE]
        images = [base64.b64encode(data).decode() for _, data in batch]
        answers = client.send("/predict_batch", json.dumps({"images": images}).encode())["answers"]
        for (group, _), answer in zip(batch, answers, strict=True):
            if "request_id" in answer:  # none of a drawn picture that is broken on purpose
                client.tell(answer["request_id"], group)
        on_progress(start + len(batch), len(pictures))


def show(results: "dict[str, Result]") -> None:
    """The verdicts, one after the other."""
    from flows.drift.__main__ import print_result

    for name, result in results.items():
        out.print(f"\n[bold]Traffic, {name}[/]")
        print_result(result)
