"""Hundreds of hostile inputs while good traffic runs: each refused or closed, and nobody else is hurt.

The tests after the cases look at what the whole storm has left behind.
"""

from collections import Counter

import pytest

from tests.everything import EVERYTHING
from tests.factories import wait_until
from tests.faults.serving.case import Case
from tests.faults.serving.conftest import CLIENTS, Storm, workers
from tests.faults.serving.hostile import ALL, CASES
from tests.faults.serving.payloads import FORM, JSON, encoded, form, part, said
from tests.faults.serving.pictures import picture, png
from tests.faults.serving.slow import CONNECTIONS, ENDED_WITHIN, KINDS
from tests.faults.serving.traffic import GoodTraffic
from tests.faults.serving.wire import converse, get, head, post

pytestmark = pytest.mark.timeout(300)
GROWTH_MEGABYTES, CALM_SECONDS = 64, 20
UNKNOWN_PATHS = 300
MARK = "zq7"


def test_there_are_at_least_200_and_each_has_its_name() -> None:
    assert len(ALL) >= 200
    assert max(Counter(case.name for case in ALL).values()) == 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_input_is_refused(storm: Storm, case: Case) -> None:
    replies = converse(
        storm.service.port, case.pieces(storm.traps), answers=case.answers, half_close=case.half_close
    )
    assert ({reply.outcome for reply in replies} or {"closed"}) <= set(case.right.split())
    assert not storm.restarted
    storm.look_outward()


@pytest.mark.parametrize("kind", ["form", "json"])
def test_a_poisoned_picture_fails_alone(storm: Storm, kind: str) -> None:
    good, bomb = picture("JPEG"), png(65535, 65535, data=b"a")
    images = [good, b"rubbish", good, bomb, b"", good[:900], picture("WEBP")]
    body = form(*map(part, images)) if kind == "form" else said({"images": [encoded(i) for i in images]})
    (reply,) = converse(storm.service.port, [post("/predict_batch", body, FORM if kind == "form" else JSON)])
    codes = [answer.get("code") for answer in reply.json()["answers"]]
    assert codes == [None, "bad_image", None, "too_many_pixels", "bad_image", "bad_image", None]


def test_unknown_paths_make_no_series(storm: Storm) -> None:
    for number in range(UNKNOWN_PATHS if EVERYTHING else UNKNOWN_PATHS // 10):
        start = ["", "static_content/", "metrics", "metrics/", "healthz", "predict/"][number % 6]
        assert get(storm.service.port, f"/{start}{MARK}-{number}").status == 404
    method = head(f"{MARK.upper()} / HTTP/1.1")
    converse(storm.service.port, [method])
    metrics = get(storm.service.port, "/metrics")
    assert metrics.status == 200
    assert metrics.body.lower().count(MARK.encode()) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_slow_sender_is_ended(storm: Storm, kind: str) -> None:
    storm.slow.join(60)
    assert storm.slow.seconds[kind] < ENDED_WITHIN
    outcomes = Counter(o for s in storm.slow.senders if s.kind == kind for o in s.outcomes())
    assert outcomes.keys() <= KINDS[kind].right
    assert sum(outcomes.values()) >= CONNECTIONS


def test_no_worker_was_restarted(storm: Storm) -> None:
    assert workers(storm.service).keys() == storm.workers.keys()
    assert not storm.restarted


def test_no_good_request_failed(storm: Storm) -> None:
    before = storm.good.answered
    wait_until(lambda: storm.good.answered >= before + 10 * CLIENTS, "good answers after the storm")
    assert (storm.good.failures, storm.good.broken) == ([], {})


def test_memory_comes_back(storm: Storm) -> None:
    with GoodTraffic(storm.service.port, 2 * CLIENTS) as calm:
        wait_until(lambda: calm.answered >= 100, "a hundred good answers")
    wait_until(
        lambda: storm.service.resident() - storm.megabytes <= GROWTH_MEGABYTES,
        f"memory to be within {GROWTH_MEGABYTES} MB of the {storm.megabytes:.0f} MB before",
        CALM_SECONDS,
    )


def test_nobody_went_out(storm: Storm) -> None:
    assert (storm.listener.came, storm.outward) == ([], [])


def test_nothing_was_unpickled(storm: Storm) -> None:
    assert not storm.traps.file.exists()


def test_the_log_tells_of_no_failure(storm: Storm) -> None:
    log = storm.service.log.read_text(errors="replace")
    assert "Traceback" not in log
    assert len(log) < 1 << 20
