"""The raw loop's measurement: as many processes as cores, beside a load generator that does nothing useful.

A service shares the processor with the load generator, so the raw loop must too. The generator sends pictures
to a null server, at the rate at which both together use the processor seconds that the generator alone used
when it drove the service; what a request costs them is measured while the raw loop runs.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from observability.errors import WatchkeeperError
from tests.bench.serving import contenders
from tests.bench.serving.contenders import CORES, Service, running
from tests.bench.serving.load import Plan
from tests.bench.serving.loading import load, said, started
from tests.bench.serving.raw_loop import Work
from tests.bench.serving.setting import Setting

Seconds = npt.NDArray[np.float64]
LOADING_SECONDS = 8.0  # the processes import, load and warm up
TRIAL_SECONDS = 3.0  # the cost of a request is measured
TRIAL_RATE = 200.0


def raw(setting: Setting, generator: float) -> tuple[Seconds, float]:
    """Seconds of each picture that all processes did in `setting.seconds`.

    Also the processors that generator and null server used meanwhile, which should be `generator`.
    """
    start = time.time() + LOADING_SECONDS
    second = start + TRIAL_SECONDS + 1.0
    pause = second + 1.0 - start
    todo = Work(str(setting.version(0)), setting.pictures, start, pause, setting.seconds)
    with running(contenders.null(setting.fresh())) as server, working(todo) as finish:
        cost, _ = burnt(
            server, Plan(server.port, setting.pictures, TRIAL_SECONDS, rate=TRIAL_RATE, start=start)
        )
        seconds = setting.seconds + 1.0
        beside = Plan(server.port, setting.pictures, seconds, rate=generator / cost, start=second)
        _, used = burnt(server, beside)
        taken = finish()
    setting.discard(server.contender)
    return taken, used


def burnt(server: Service, plan: Plan) -> tuple[float, float]:
    """Processor seconds of generator and null server: of one request, and of a second."""
    before = processor_seconds(server)
    seen = load(plan)
    if seen.failed:
        raise WatchkeeperError(f"the null server failed {seen.failed} requests; {server.last_words()}")
    total = seen.cpu_seconds + processor_seconds(server) - before
    return total / len(seen.status), total / plan.seconds


def processor_seconds(server: Service) -> float:
    """Used by the service's processes so far."""
    return float(sum(sum(process.cpu_times()[:2]) for process in server.tree()))


@contextmanager
def working(work: Work) -> Iterator[Callable[[], Seconds]]:
    """The raw loop beside the block; what is given waits for its end and returns the seconds."""
    processes = []
    try:
        for _ in range(CORES):
            processes.append(started("tests.bench.serving.raw_loop", work))
        yield lambda: np.concatenate([np.array(said(process)) for process in processes])
    finally:
        for process in processes:
            process.kill()
            process.wait()
