"""SIGKILL of a worker under load: the other's requests are unharmed, and it is back within 15 seconds."""

import math
import signal
import socket
import time

import psutil  # type: ignore[import-untyped]
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.bench.serving.contenders import Service
from tests.factories import wait_until
from tests.faults.serving.conftest import WORKERS, workers
from tests.faults.serving.traffic import GoodTraffic
from tests.faults.serving.wire import get, head

pytestmark = pytest.mark.timeout(180)
BACK_SECONDS = 15.0
CLIENTS, BATCHES, PICTURES = 6, 2, 10
MODEL_INFO = "watchkeeper_serve_model_info"


def clients_of(service: Service, worker: psutil.Process) -> set[int]:
    """The clients' ports of a worker's connections."""
    connections = worker.net_connections("tcp")
    return {one.raddr.port for one in connections if one.raddr and one.laddr.port == service.port}


def kill(service: Service) -> tuple[set[int], float]:
    """Kill a worker with requests inside; whose connections it had, and when.

    It is stopped before, so that it takes no connection between our look at them and its death.
    """
    victim = next(process for process in workers(service).values() if clients_of(service, process))
    victim.send_signal(signal.SIGSTOP)
    theirs = clients_of(service, victim)
    victim.kill()
    killed = time.monotonic()
    wait_until(lambda: victim.pid not in workers(service), "its death")
    return theirs, killed


def answers(service: Service, worker: psutil.Process) -> bool:
    """Whether this very worker answers: ask until a connection is its own."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
        connection.sendall(head("GET /readyz HTTP/1.1"))
        ready = connection.recv(15).endswith(b"200 OK")
        return ready and connection.getsockname()[1] in clients_of(service, worker)


def samples(service: Service) -> list[Sample]:
    """What /metrics says."""
    reply = get(service.port, "/metrics")
    assert reply.status == 200
    families = text_string_to_metric_families(reply.body.decode())
    return [sample for family in families for sample in family.samples]


def total(found: list[Sample], name: str, **labels: str) -> float:
    """Sum of the samples of a name with these labels."""
    return sum(s.value for s in found if s.name == name and labels.items() <= s.labels.items())


def test_a_killed_worker_comes_back_and_the_other_goes_on(service: Service) -> None:
    before = set(workers(service))
    with (
        GoodTraffic(service.port, CLIENTS) as single,
        GoodTraffic(service.port, BATCHES, PICTURES) as batches,
    ):
        wait_until(lambda: single.answered > 200 and batches.answered > 20, "load")
        theirs, killed = kill(service)

        wait_until(lambda: len(set(workers(service)) - before) == 1, "a new worker", seconds=BACK_SECONDS)
        assert len(workers(service)) == WORKERS
        for process in workers(service).values():
            left = killed + BACK_SECONDS - time.monotonic()
            wait_until(lambda p=process: answers(service, p), f"{process} to answer", seconds=left)  # type: ignore[misc]
        again = single.answered, batches.answered
        wait_until(lambda: single.answered > again[0] + 100 and batches.answered > again[1], "load again")

    assert single.failures + batches.failures == []
    broken = single.broken | batches.broken
    assert broken.keys() <= theirs, broken


@pytest.mark.slow
def test_clients_that_stay_are_shared_again_after_a_worker_was_killed(service: Service) -> None:
    before = set(workers(service))

    def fewest() -> int:
        return min(len(clients_of(service, process)) for process in workers(service).values())

    with GoodTraffic(service.port, 2 * CLIENTS, anew=10**6) as traffic:
        wait_until(lambda: fewest() >= 2, "a share for each")
        theirs, _ = kill(service)
        wait_until(lambda: len(set(workers(service)) - before) == 1, "a new worker", seconds=BACK_SECONDS)
        wait_until(lambda: len(workers(service)) == WORKERS and fewest() >= CLIENTS - 2, "its share", 60)
    assert traffic.failures == []
    assert traffic.broken.keys() <= theirs


@pytest.mark.slow
def test_metrics_add_up_after_a_worker_was_killed(service: Service) -> None:
    before = set(workers(service))
    with (
        GoodTraffic(service.port, CLIENTS) as single,
        GoodTraffic(service.port, BATCHES, PICTURES) as batches,
    ):
        wait_until(lambda: single.answered > 200 and batches.answered > 20, "load")
        earlier = samples(service)
        kill(service)
        wait_until(lambda: len(set(workers(service)) - before) == 1, "a new worker", seconds=BACK_SECONDS)
        wait_until(lambda: get(service.port, "/readyz").status == 200, "readiness")
    assert single.failures + batches.failures == []

    later = samples(service)
    assert all(math.isfinite(sample.value) and sample.value >= 0 for sample in later)
    counted = {(s.name, *sorted(s.labels.items())): s.value for s in later}
    for sample in earlier:
        if sample.name.endswith(("_total", "_count", "_sum", "_bucket")):
            assert counted[(sample.name, *sorted(sample.labels.items()))] >= sample.value, sample
    done = total(later, "bentoml_service_request_total", endpoint="/predict", http_response_code="200")
    assert single.answered <= done <= single.answered + len(single.broken)
    pictures = single.answered + PICTURES * batches.answered
    lost = len(single.broken) + PICTURES * len(batches.broken)
    assert (
        pictures <= total(later, "watchkeeper_serve_predictions_total") <= pictures + lost + 1
    )  # and the example
    gauges = ("watchkeeper_serve_queue_depth", "bentoml_service_request_in_progress")
    # An answer is counted as under way until just after its client has it.
    wait_until(lambda: not any(total(samples(service), name) for name in gauges), "the gauges to fall to 0")
    assert total(later, MODEL_INFO) == 1
