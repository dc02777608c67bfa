"""Soak: 80% of capacity for ten minutes; errors, and where memory goes."""

import numpy as np

from tests.bench.serving.contenders import memory_watched, running
from tests.bench.serving.load import Plan
from tests.bench.serving.loading import load
from tests.bench.serving.setting import Figure, Setting
from tests.bench.serving.throughput import CLIENTS, plan

SHARE = 0.8
SETTLING_SECONDS = 60.0


def measure(setting: Setting) -> list[Figure]:
    """Ours alone."""
    contender = setting.ours()
    with running(contender) as service:
        capacity = load(plan(setting, service)).rate(setting.warm_up)
        steady = Plan(service.port, setting.pictures, setting.soak_seconds, CLIENTS, SHARE * capacity)
        with memory_watched(service, every=2.0) as memory:
            seen = load(steady)
    setting.discard(contender)
    times, megabytes = np.array(memory).T
    minutes = (times - times[0]) / 60
    settled = minutes >= min(SETTLING_SECONDS, setting.soak_seconds / 4) / 60
    slope = float(np.polyfit(minutes[settled], megabytes[settled], 1)[0])
    print(
        f"  {len(seen.status):,} requests, {SHARE:.0%} of {capacity:.0f} a second for "
        f"{setting.soak_seconds:.0f} s: answers {seen.statuses()}, p50 {seen.latency(50):.1f} ms, p99 "
        f"{seen.latency(99):.1f} ms; memory {megabytes[0]:.0f} MB at first, {megabytes[-1]:.0f} MB at last"
    )
    return [
        Figure("soak: errors", float(seen.failed), 0.0),
        # A short soak has a slope of its beginning only.
        Figure("soak: memory, MB a minute", slope, 1.0 if setting.soak_seconds >= 180 else None),
    ]
