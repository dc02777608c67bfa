"""Ten of the fifty faults of EMR; `task bench:faults` makes all of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.factories import settings_of
from tests.faults.emr.cases import CASES, EDGES, SAMPLE, Case
from tests.faults.emr.prefect_server import PrefectServer
from tests.faults.emr.scene import Scene
from tests.stack.cloud import Cloud, cloud
from tests.stack.emr_server.jars import needs_jars
from tests.stack.programs import needs

pytestmark = [needs("minio"), needs_jars, pytest.mark.timeout(1800)]
OUTAGE_SECONDS = 10


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud"), speed=240) as made:
        yield made


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    server = PrefectServer(settings_of(tmp_path_factory.mktemp("prefect")))
    server.start()
    yield server
    server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("case", SAMPLE, ids=str)
def test_never_two_jobs_none_left_and_the_table_right(
    aws: Cloud, prefect: PrefectServer, tmp_path: Path, case: Case
) -> None:
    folder = tmp_path / f"case-{CASES.index(case)}"
    folder.mkdir()
    Scene(case, aws, prefect, folder, OUTAGE_SECONDS).play()


def test_there_are_fifty_and_the_sample_has_one_of_each_edge() -> None:
    assert len(set(CASES)) == 50
    assert {case.edge for case in SAMPLE} == set(EDGES)
    assert set(SAMPLE) <= set(CASES)
