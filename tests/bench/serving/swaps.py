"""Champion swaps under load: no failed request, and no answer by a version outside its time."""

import time
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass

import numpy as np

from services.bento.ledger import MOVES, Entry
from services.bento.registry import OvertakenError, Registry
from tests.bench.serving import contenders
from tests.bench.serving.contenders import running
from tests.bench.serving.load import Plan
from tests.bench.serving.loading import Answers, loading
from tests.bench.serving.setting import VERSIONS, Figure, Setting
from tests.bench.serving.throughput import CLIENTS

EVERY_SECONDS = 2.5
GRACE_SECONDS = 2.0  # in which the service must have noticed


@dataclass(frozen=True)
class Reigns:
    """When each version was champion."""

    spans: dict[str, list[tuple[float, float]]]

    @classmethod
    def of(cls, history: list[Entry]) -> "Reigns":
        """From the ledger; the last one has no end."""
        moves = [entry for entry in history if entry.event in MOVES]
        ends = [entry.when.timestamp() for entry in moves[1:]] + [float("inf")]
        spans: dict[str, list[tuple[float, float]]] = {}
        for entry, end in zip(moves, ends, strict=True):
            assert entry.champion
            spans.setdefault(entry.champion, []).append((entry.when.timestamp(), end))
        return cls(spans)

    def stale(self, version: str, sent: float, received: float) -> float:
        """Seconds from the end of the version's reign to the request; infinite before its first."""
        spans = self.spans.get(version, [])
        before = bisect_right(spans, (received, float("inf")))
        return max(0.0, sent - spans[before - 1][1]) if before else float("inf")


def measure(setting: Setting) -> list[Figure]:
    """Three versions take turns, with two rollbacks between them, while 32 clients ask without a pause."""
    swaps = 6 if setting.quick else 50
    contender = setting.ours(versions=len(VERSIONS))
    registry = contenders.registry(contender.scratch / "home")
    with running(contender) as service:
        seconds = setting.warm_up + (swaps + 1) * EVERY_SECONDS
        start = time.time() + 1.0
        busy = Plan(service.port, setting.pictures, seconds, clients=CLIENTS, start=start)
        with loading(busy) as finish:
            overtaken = swap(registry, swaps, start + setting.warm_up)
            seen = finish()
    history = registry.history()
    setting.discard(contender)
    return figures(seen, history, swaps, overtaken)


def swap(registry: Registry, swaps: int, start: float) -> int:
    """Move the champion so often, from `start` on; how often somebody else had moved it meanwhile."""
    overtaken = 0
    champion: str | None = VERSIONS[0]
    for number in range(swaps):
        time.sleep(max(0.0, start + number * EVERY_SECONDS - time.time()))
        try:
            if number in (swaps // 3, 2 * swaps // 3):
                champion = registry.rollback(reason="the benchmark").champion
            else:
                following = VERSIONS[(VERSIONS.index(str(champion)) + 1) % len(VERSIONS)]
                champion = registry.promote(following, champion, reason="the benchmark").champion
        except OvertakenError as error:
            overtaken += 1
            print(f"  swap {number + 1}: {error}")
            now = registry.champion()
            champion = now.champion if now else None
    return overtaken


def figures(seen: Answers, history: list[Entry], swaps: int, overtaken: int) -> list[Figure]:
    """Failures, versions outside their time, and how fast the champion was followed."""
    reigns = Reigns.of(history)
    good = seen.where(seen.status == 200)
    columns = (good.version.tolist(), good.sent.tolist(), good.received.tolist())
    stale = np.array([reigns.stale(*row) for row in zip(*columns, strict=True)])
    counts = dict(Counter(good.version.tolist()))
    unasked = sum(entry.event in MOVES for entry in history) - 1 - (swaps - overtaken)
    print(
        f"  {swaps} swaps, {len(seen.status):,} requests: answers {seen.statuses()} by {counts}; "
        f"the last answer by a former champion was to a request {stale.max():.2f} s after its end"
    )
    return [
        Figure("swaps: failed requests", float(seen.failed), 0.0),
        Figure("swaps: answers by a version outside its time", float((stale > GRACE_SECONDS).sum()), 0.0),
        Figure("swaps: moves of the champion that nobody asked for", float(unasked), 0.0),
        Figure("swaps: longest that a former champion answered, s", float(stale.max()), GRACE_SECONDS),
    ]
