"""The service: a picture in, a label with its probabilities out. What a built Bento runs."""

import os
from pathlib import Path
from typing import Annotated

import bentoml
import yaml
from bentoml.validators import ContentType
from pydantic import BaseModel

from services.bento.manifest import ImageInput, read_manifest
from services.bento.package import FOLDER
from services.bento.predictor import Predictor, as_input, decode
from services.bento.verify import verify


class Prediction(BaseModel):
    """What the model says of one picture."""

    label: str
    probability: float
    probabilities: dict[str, float]
    model_version: str


@bentoml.service(name="watchkeeper")
class Watchkeeper:
    """Answers with the version that `WATCHKEEPER_MODEL_FOLDER` names: the one that the Bento carries."""

    def __init__(self) -> None:
        folder = Path(os.environ.get("WATCHKEEPER_MODEL_FOLDER") or packaged_model())
        self.manifest = read_manifest(folder)
        verify(folder, self.manifest)
        self.predictor = Predictor(folder, self.manifest)

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, image: Annotated[Path, ContentType("image/*")]) -> Prediction:
        """Classify a JPEG, PNG or WebP picture."""
        spec = self.manifest.input
        if not isinstance(spec, ImageInput):
            raise bentoml.exceptions.InvalidArgument("this model takes rows of features, not pictures")
        picture = decode(image.read_bytes(), spec.height, spec.width)
        row = self.predictor.predict(as_input([picture.pixels], spec)).outputs[0]
        probabilities = dict(zip(self.manifest.classes, map(float, row), strict=True))
        label = max(probabilities, key=probabilities.__getitem__)
        return Prediction(
            label=label,
            probability=probabilities[label],
            probabilities=probabilities,
            model_version=self.manifest.version,
        )


def packaged_model() -> str:
    """Folder of the one model of the Bento that this code runs in."""
    bento = Path(__file__).resolve().parents[3] / "bento.yaml"
    if not bento.exists():
        raise RuntimeError("not in a Bento; set WATCHKEEPER_MODEL_FOLDER to a version's folder")
    (model,) = yaml.safe_load(bento.read_text())["models"]
    return str(Path(bentoml.models.get(model["tag"]).path) / FOLDER)
