"""Cold start: from the process's start to ready, and the first request after that."""

from statistics import median

from tests.bench.serving.contenders import Contender, running
from tests.bench.serving.load import Plan
from tests.bench.serving.loading import load
from tests.bench.serving.setting import Figure, Setting


def measure(setting: Setting) -> list[Figure]:
    """Ours, the empty BentoML service and FastAPI in turn, in alternating order."""
    seconds: dict[str, list[float]] = {"ours": [], "empty BentoML": [], "FastAPI": []}
    first, warm = [], []
    for number in range(setting.rounds):
        order = [setting.ours, setting.empty, setting.fastapi]
        for make in order if number % 2 == 0 else reversed(order):
            contender = make()
            ready, early = start(setting, contender)
            seconds[contender.name].append(ready)
            if contender.name == "ours":
                first.append(early[0])
                warm.append(early[1])
            print(
                f"  round {number + 1}, {contender.name:<13} ready in {ready:5.2f} s, "
                f"first request {early[0]:5.1f} ms, later p50 {early[1]:5.1f} ms",
                flush=True,
            )
    mine, least = seconds["ours"], seconds["empty BentoML"]
    return [
        Figure("cold start, ours, s", median(mine)),
        Figure("cold start, empty BentoML, s", median(least)),
        Figure("cold start, FastAPI, s", median(seconds["FastAPI"])),
        Figure("cold start, ours / empty BentoML", ratio(mine, least), 1.2),
        Figure("first request / steady p50, one client", ratio(first, warm), 1.5),
    ]


def ratio(ones: list[float], others: list[float]) -> float:
    """Median of the rounds' ratios."""
    return median(one / other for one, other in zip(ones, others, strict=True))


def start(setting: Setting, contender: Contender) -> tuple[float, tuple[float, float]]:
    """Seconds to ready; milliseconds of the first request, and of the usual one, by a single client."""
    with running(contender) as service:
        ready = service.seconds_to_ready
        nan = float("nan")
        if contender.name == "empty BentoML":
            early = (nan, nan)
        else:
            seen = load(Plan(service.port, setting.pictures, 3.0, clients=1))
            early = (1000 * float(seen.received[0] - seen.sent[0]), seen.steady(1.0).latency(50))
    setting.discard(contender)
    return ready, early
