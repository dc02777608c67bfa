"""What every measurement is told, and how it says what it found."""

import http.client
import itertools
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.bento.manifest import ImageInput, read_manifest
from services.bento.predictor import Predictor, as_input, decode
from tests.bench.serving import contenders
from tests.bench.serving.contenders import Contender, Service
from tests.bench.serving.version import write_cnn_version

VERSIONS = tuple(f"20261121T12000{number}Z-{number:08x}" for number in range(3))


@dataclass(frozen=True)
class Figure:
    """One figure beside its goal; a goal of None is none."""

    name: str
    value: float
    goal: float | None = None
    at_most: bool = True

    @property
    def met(self) -> bool:
        """Whether the goal is reached; NaN reaches none."""
        return self.goal is None or (self.value <= self.goal if self.at_most else self.value >= self.goal)

    def __str__(self) -> str:
        if self.goal is None:
            return f"{self.name:<58} {self.value:8.2f}"
        bound = "at most " if self.at_most else "at least"
        met = "met" if self.met else "MISSED"
        return f"{self.name:<58} {self.value:8.2f}   goal {bound} {self.goal:<5g} {met}"


@dataclass(frozen=True)
class Setting:
    """One run of the benchmark.

    Attributes:
        scratch: for everything that is written.
        pictures: files that are sent.
        rounds: alternating, of each contender.
        seconds: a load lasts, after its warm-up.
        quick: everything else is short too.
        soak_seconds: of the soak.
    """

    scratch: Path
    pictures: list[str]
    rounds: int
    seconds: float
    quick: bool
    soak_seconds: float
    _count: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def warm_up(self) -> float:
        """Seconds at the start of a load that do not count."""
        return 1.0 if self.quick else 3.0

    def version(self, number: int) -> Path:
        """The folder of a version, made when it is asked for first."""
        folder = self.scratch / "versions" / VERSIONS[number]
        return folder if folder.exists() else write_cnn_version(folder, VERSIONS[number], seed=number)

    def fresh(self) -> Path:
        """A folder that is new."""
        folder = self.scratch / f"start-{next(self._count)}"
        folder.mkdir()
        return folder

    def ours(self, versions: int = 1) -> Contender:
        """Our service on a home of its own, whose registry holds so many versions, the first champion."""
        folder = self.fresh()
        kept = contenders.registry(folder / "home")
        for number in range(versions):
            kept.add(self.version(number))
        kept.promote(VERSIONS[0], None)
        return contenders.ours(folder, folder / "home")

    def fastapi(self, threads: int = 0) -> Contender:
        """FastAPI by hand, with the first version."""
        return contenders.fastapi(self.fresh(), self.version(0), threads)

    def empty(self) -> Contender:
        """An empty BentoML service."""
        return contenders.empty(self.fresh())

    def discard(self, contender: Contender) -> None:
        """Remove what a stopped contender left."""
        shutil.rmtree(contender.scratch, ignore_errors=True)


def check_answers(setting: Setting, service: Service) -> None:
    """A contender that answers otherwise than the model is not compared.

    Raises:
        SystemExit: naming the picture and both answers.
    """
    manifest = read_manifest(setting.version(0))
    predictor, spec = Predictor(setting.version(0), manifest, threads=1), manifest.input
    assert isinstance(spec, ImageInput)
    for name in setting.pictures[:3]:
        body = Path(name).read_bytes()
        row = predictor.predict(as_input([decode(body, spec.height, spec.width).pixels], spec)).outputs[0]
        said = post(service.port, body)
        expected = manifest.classes[int(row.argmax())]
        if said.get("label") != expected or abs(float(said["probability"]) - float(row.max())) > 1e-4:
            raise SystemExit(
                f"{service.contender.name} says {said} of {name}, the model {expected} {row.max():.4f}"
            )


def post(port: int, body: bytes) -> dict[str, Any]:
    """The JSON that a service answers a picture with."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/predict", body, {"Content-Type": "image/jpeg"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()
