"""The bound on any service: decode, resize, ONNX Runtime and nothing else, in as many processes as cores.

`python -m tests.bench.serving.raw_loop` is one of the processes: it reads what to do as JSON and writes the
seconds of each picture.
"""

import itertools
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from services.bento.manifest import ImageInput, read_manifest
from services.bento.predictor import Predictor, as_input, decode


@dataclass(frozen=True)
class Work:
    """What one process does from `start`, of `time.time()`; after `warm_up`, `seconds` count."""

    folder: str
    pictures: list[str]
    start: float
    warm_up: float
    seconds: float


def run(work: Work) -> list[float]:
    """Seconds of each picture that was finished in time."""
    folder = Path(work.folder)
    manifest = read_manifest(folder)
    predictor, spec = Predictor(folder, manifest, threads=1), manifest.input
    assert isinstance(spec, ImageInput)
    bodies = [Path(name).read_bytes() for name in work.pictures]

    def one(body: bytes) -> int:
        picture = decode(body, spec.height, spec.width)
        return int(predictor.predict(as_input([picture.pixels], spec)).outputs[0].argmax())

    for body in bodies[:20]:
        one(body)
    if (early := work.start - time.time()) < 0:
        raise SystemExit(f"ready {-early:.1f} s after the start; give the raw loop more time to load")
    time.sleep(early)
    taken: list[float] = []
    now = time.perf_counter()
    begin = now + work.warm_up
    for body in itertools.cycle(bodies):
        one(body)
        now, before = time.perf_counter(), now
        if now >= begin + work.seconds:
            break
        if now >= begin:
            taken.append(now - before)
    return taken


if __name__ == "__main__":
    json.dump(run(Work(**json.load(sys.stdin))), sys.stdout)
