"""What `task aws:package` packs: EMR's Python needs nothing else than it and the zip of each job."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from flows.aws import package
from flows.etl.runners.artifact import zipped

SAYS = """
import sys, onnxruntime, numpy, PIL, pyarrow, pydantic
import flows.score.classify, services.bento.predictor
for module in (onnxruntime, numpy, PIL, pyarrow, pydantic, flows.score.classify):
    print(module.__name__, module.__file__)
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return package.build(tmp_path_factory.mktemp("work"))


def test_batch_scoring_imports_all_from_the_archive_and_the_jobs_zip(archive: bytes, tmp_path: Path) -> None:
    whole = tmp_path / "environment.tar.gz"
    whole.write_bytes(archive)
    with tarfile.open(whole) as opened:
        opened.extractall(tmp_path / "environment", filter="data")
    (tmp_path / "jobs.zip").write_bytes(zipped())
    done = subprocess.run(
        ["./environment/bin/python", "-s", "-c", SAYS],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "jobs.zip")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = dict(line.split() for line in done.stdout.splitlines())
    assert found.pop("flows.score.classify").startswith(str(tmp_path / "jobs.zip"))
    for name, path in found.items():
        assert path.startswith(str(tmp_path / "environment" / "packages")), name
