"""Batch scoring on EMR as a user asks for it: pictures in a bucket, the packed environment, equal scores."""

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.aws import package
from flows.config import CHECKOUT, Settings
from flows.etl.lake import Lake
from services.bento.registry import Registry
from services.bento.store import open_store
from tests.factories import settings_of
from tests.stack.cloud import BUCKET, Cloud, cloud
from tests.stack.emr_server.jars import needs_jars
from tests.stack.programs import needs
from tests.versions import image_model, write_version

pytestmark = [needs("minio"), needs_jars, pytest.mark.timeout(1200)]
MODEL, PICTURES = "articles", 40
SOURCE = f"s3://{BUCKET}/pictures"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud"), speed=120) as made:
        client, draw = made.emr.s3.client, np.random.default_rng(0)
        for number in range(PICTURES):
            body = io.BytesIO()
            Image.fromarray(draw.integers(0, 255, (16, 24, 3), np.uint8)).save(body, "PNG")
            client.put_object(Bucket=BUCKET, Key=f"pictures/{number:03}.png", Body=body.getvalue())
        client.put_object(Bucket=BUCKET, Key="pictures/broken.png", Body=b"no picture")
        yield made


@pytest.fixture(scope="module")
def archive(aws: Cloud, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The packed environment in the bucket."""
    data = package.build(tmp_path_factory.mktemp("work"))
    aws.emr.s3.client.put_object(Bucket=BUCKET, Key="environment.tar.gz", Body=data)
    return f"s3://{BUCKET}/environment.tar.gz"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose champion is there; its registry stays on this machine."""
    settings = settings_of(tmp_path / "home")
    registry = Registry(open_store(settings.registry), MODEL)
    version = write_version(tmp_path / "version", onnx_model=image_model(seed=1), model=MODEL)
    registry.promote(registry.add(version), None)
    return tmp_path / "home"


def score(environment: dict[str, str]) -> None:
    """`task score`, which ends well."""
    command = [sys.executable, "-m", "flows.score", "--source", SOURCE]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def scores(settings: Settings) -> list[tuple[str, str, float]]:
    """Every article with its label and probability."""
    table = Lake(settings).table(f"scores.{MODEL}")
    assert table is not None
    rows = table.scan().to_arrow().select(["article_id", "label", "probability"]).to_pylist()
    return sorted((row["article_id"], row["label"], row["probability"]) for row in rows)


@pytest.mark.parametrize("runner", ["emr_serverless", "emr"])
def test_the_scores_are_those_that_this_machine_gives(
    aws: Cloud, home: Path, archive: str, runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix, before = home.parent.name, len(aws.emr.ledger.entries)
    aws.forget_tables()
    score(aws.environment(home, runner, prefix, WATCHKEEPER_EMR_ARCHIVE=archive))
    assert len(aws.emr.ledger.entries) == before + 1
    score(aws.here(home))
    aws.lead_here(monkeypatch, home, prefix)
    there = scores(settings_of(home, store=f"s3://{BUCKET}/{prefix}"))
    assert len(there) == PICTURES
    assert there == scores(settings_of(home))
