"""Overload: ten times the clients, who come back when they are told to; and what is left of it afterwards."""

import time

import numpy as np

from tests.bench.serving.contenders import memory_watched, running
from tests.bench.serving.load import REFUSED, Plan
from tests.bench.serving.loading import Answers, load, loading
from tests.bench.serving.setting import Figure, Setting
from tests.bench.serving.throughput import CLIENTS, plan

TIMES = 10
WINDOW_SECONDS = 0.5
MEMORY_MB = 64.0  # what hostile traffic may cost, too


def measure(setting: Setting) -> list[Figure]:
    """The normal load, then ten times as many clients, then half of the normal load at once."""
    contender = setting.ours()
    lasts = 6.0 if setting.quick else 30.0
    with running(contender) as service:
        with memory_watched(service) as before:
            normal = load(plan(setting, service))
        rate = normal.rate(setting.warm_up)
        start = time.time() + 2.0
        crowd = Plan(service.port, setting.pictures, lasts, TIMES * CLIENTS, start=start)
        after = Plan(service.port, setting.pictures, 8.0, CLIENTS, rate / 2, start=start + lasts)
        with loading(crowd) as end_of_crowd, loading(after) as end_of_after:
            with memory_watched(service, every=0.5) as during:
                crowded = end_of_crowd()
            calm = end_of_after()
    setting.discard(contender)
    normally = normal.steady(setting.warm_up).latency(99)
    admitted = crowded.steady(setting.warm_up)
    strange = int((~np.isin(crowded.status, (200, *REFUSED))).sum())
    good = int((admitted.status == 200).sum()) / (lasts - setting.warm_up)
    print(
        f"  normal: {rate:.0f} a second, p99 {normally:.1f} ms; {TIMES * CLIENTS} clients: answers "
        f"{crowded.statuses()}, {good:.0f} good ones a second, p50 {admitted.latency(50):.1f} ms, "
        f"p99 {admitted.latency(99):.1f} ms; afterwards {calm.statuses()}, p99 {calm.latency(99):.1f} ms"
    )
    grown = max(mb for _, mb in during) - max(mb for _, mb in before)
    return [
        Figure("overload: answers other than 200, 429 and 503", float(strange), 0.0),
        Figure("overload: refusals without Retry-After", float(crowded.refusals_without_retry_after), 0.0),
        Figure("overload: p99 of the admitted / normal p99", admitted.latency(99) / normally, 2.0),
        Figure("overload: goodput / normal throughput", good / rate),
        Figure("overload: memory above the normal peak, MB", grown, MEMORY_MB),
        Figure("overload: seconds to recover", recovered(calm), 5.0),
    ]


def recovered(calm: Answers) -> float:
    """Seconds from the crowd's last request to the first window from which on nothing fails."""
    window = ((calm.sent - calm.begin) // WINDOW_SECONDS).astype(int)
    bad = window[calm.status != 200]
    return WINDOW_SECONDS * (int(bad.max()) + 1) if len(bad) else 0.0
