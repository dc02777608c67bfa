"""Every cause that can be made is told in Slack, with the right words and links, and so is its end."""

import math
import os
from collections.abc import Iterator

import pytest

from observability.grafana.dashboards import dashboards
from observability.prometheus.files import JOBS
from tests.stack.phases import NOT_MADE, PHASES, SEVERITY, play, whole_watch
from tests.stack.programs import needs
from tests.stack.watching import Stack
from tests.versions import EVERYTHING

pytestmark = [
    needs("prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "statsd_exporter"),
    needs("unshare", "mkfs.ext4"),
    pytest.mark.skipif(os.geteuid() != 0 and not EVERYTHING, reason="to mount a small disk takes root"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with whole_watch(tmp_path_factory.mktemp("watch")) as made:
        yield made


def test_every_alert_is_made_to_fire_or_said_not_to_be() -> None:
    made = [name for phase in PHASES for told in phase for name in told.alerts]
    assert sorted([*made, *NOT_MADE]) == sorted(SEVERITY)


def test_every_target_is_up(stack: Stack) -> None:
    up = {(each["metric"]["job"], each["value"][1]) for each in stack.query("up")}
    assert up == {(job, "1") for job in JOBS}


@pytest.mark.parametrize("number", range(len(PHASES)))
def test_causes_reach_slack_and_so_do_their_ends(stack: Stack, number: int) -> None:
    play(stack, PHASES[number])


PANELS = [
    pytest.param([target["expr"] for target in panel["targets"]], id=f"{board['uid']}: {panel['title']}")
    for board in dashboards()
    for panel in board["panels"]
    if panel["type"] != "row"
]


@pytest.mark.parametrize("queries", PANELS)
def test_a_panel_has_data_after_all_that(stack: Stack, queries: list[str]) -> None:
    def shown() -> bool:
        return all(
            any(not math.isnan(float(each["value"][1])) for each in stack.query(query)) for query in queries
        )

    stack.until(shown, f"a number from each of {queries}", 10)
