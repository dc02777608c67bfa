"""Every cause that can be made is told in Slack, with the right words and links, and so is its end."""

import math
import os
import re
from collections.abc import Iterator

import pytest

from observability.grafana.dashboards import dashboards
from observability.prometheus.files import JOBS
from tests.everything import EVERYTHING
from tests.stack.phases import PHASES, SEVERITY, play, whole_watch
from tests.stack.programs import needs
from tests.stack.watching import Stack

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


def test_every_alert_is_made_to_fire() -> None:
    made = [name for phase in PHASES for told in phase for name in told.alerts]
    assert sorted(made) == sorted(SEVERITY)


def test_every_target_is_up(stack: Stack) -> None:
    up = {(each["metric"]["job"], each["value"][1]) for each in stack.query("up")}
    assert up == {(job, "1") for job in JOBS}


@pytest.mark.parametrize("number", range(len(PHASES)))
def test_causes_reach_slack_and_so_do_their_ends(stack: Stack, number: int) -> None:
    play(stack, PHASES[number])


FALLBACK = re.compile(r" or (on \(\) )?(label_replace\()?vector\(0\).*$", re.DOTALL)
"""What a panel shows where nothing is: with it no query is ever empty."""
NOT_SEEN = {
    "(sum by (model, outcome) (watchkeeper_serve_shadow_total))": "no shadow version is on",
}
"""What has a fallback and nothing else to show in this home, and why."""
QUERIES = {
    f"{board['uid']}: {panel['title']}": [target["expr"] for target in panel["targets"]]
    for board in dashboards()
    for panel in board["panels"]
    if panel["type"] != "row"
}
"""Of each panel."""
OWN = {FALLBACK.sub("", query) for each in QUERIES.values() for query in each if FALLBACK.search(query)}


@pytest.mark.parametrize("queries", [pytest.param(each, id=name) for name, each in QUERIES.items()])
def test_a_panel_has_data_after_all_that(stack: Stack, queries: list[str]) -> None:
    def shown() -> bool:
        return all(
            any(not math.isnan(float(each["value"][1])) for each in stack.query(query)) for query in queries
        )

    stack.until(shown, f"a number from each of {queries}", 10)


@pytest.mark.parametrize("query", sorted(OWN - NOT_SEEN.keys()))
def test_a_panel_with_a_fallback_has_had_data_of_its_own(stack: Stack, query: str) -> None:
    stack.until(lambda: stack.holds(f"present_over_time(({query})[30m:5s])"), query, 10)


def test_what_is_not_seen_is_still_on_a_panel() -> None:
    assert NOT_SEEN.keys() <= OWN
