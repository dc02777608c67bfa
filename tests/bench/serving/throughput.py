"""Throughput and latency: ours, FastAPI and the raw loop in turn, in alternating order."""

import time
from dataclasses import dataclass
from statistics import median

import numpy as np

from tests.bench.serving import bound
from tests.bench.serving.contenders import Contender, Service, memory_watched, running
from tests.bench.serving.load import Plan
from tests.bench.serving.loading import load, loading
from tests.bench.serving.setting import Figure, Setting, check_answers

CLIENTS = 32


@dataclass(frozen=True)
class Row:
    """What one contender did in one round; milliseconds and megabytes."""

    rate: float
    p50: float
    p99: float
    half_p50: float
    half_p99: float
    errors: int
    memory: float
    generator: float  # processors that the load generator used
    spread: str = "-"  # connections of each worker: the kernel's choice, and a part of p99


def measure(setting: Setting) -> list[Figure]:
    """All rounds, as a table and as figures."""
    threads = fastest(setting)
    rows: dict[str, list[Row]] = {"ours": [], "FastAPI": [], "raw loop": []}
    for number in range(setting.rounds):
        # The raw loop comes after ours, whose generator's use of the processor it is to have beside it.
        for name in ("ours", "raw loop", "FastAPI") if number % 2 == 0 else ("FastAPI", "ours", "raw loop"):
            if name == "raw loop":
                row = bounded(setting, rows["ours"][-1].generator)
            else:
                row = serve(setting, setting.ours() if name == "ours" else setting.fastapi(threads))
            rows[name].append(row)
            print(
                f"  round {number + 1}, {name:<9} {row.rate:6.1f} a second, p50 {row.p50:6.1f} ms, "
                f"p99 {row.p99:6.1f} ms, half load p99 {row.half_p99:5.1f} ms, {row.errors} errors, "
                f"{row.memory:5.0f} MB, connections {row.spread}, "
                f"generator {100 * row.generator:.1f}% of a core",
                flush=True,
            )
    show(rows)
    return figures(rows)


def fastest(setting: Setting) -> int:
    """In how many threads the hand-written service does most, 0 for its event loop."""
    rates: dict[int, list[float]] = {0: [], 1: [], 4: []}
    for number in range(setting.rounds):
        for threads in rates if number % 2 == 0 else reversed(rates):
            contender = setting.fastapi(threads)
            with running(contender) as service:
                rates[threads].append(load(plan(setting, service)).rate(setting.warm_up))
            setting.discard(contender)
    best = max(rates, key=lambda threads: median(rates[threads]))
    tried = ", ".join(f"{median(seen):.1f} in {threads}" for threads, seen in rates.items())
    print(f"  FastAPI, a second by threads beside the event loop: {tried}; {best} is compared", flush=True)
    return best


def serve(setting: Setting, contender: Contender) -> Row:
    """32 clients, then half of what they got."""
    with running(contender) as service:
        check_answers(setting, service)
        with memory_watched(service) as memory:
            with loading(plan(setting, service)) as finish:
                time.sleep(setting.warm_up + setting.seconds / 2)
                spread = service.connections()
                full = finish()
            rate = full.rate(setting.warm_up)
            half = load(plan(setting, service, rate=rate / 2))
    setting.discard(contender)
    steady, calm = full.steady(setting.warm_up), half.steady(setting.warm_up)
    return Row(
        rate=rate,
        p50=steady.latency(50),
        p99=steady.latency(99),
        half_p50=calm.latency(50),
        half_p99=calm.latency(99),
        errors=full.failed + half.failed,
        memory=max(megabytes for _, megabytes in memory),
        generator=full.cpu_seconds / full.seconds,
        spread="+".join(map(str, spread)),
    )


def plan(setting: Setting, service: Service, rate: float = 0.0) -> Plan:
    """The usual load on a service."""
    seconds = setting.warm_up + setting.seconds
    return Plan(service.port, setting.pictures, seconds, clients=CLIENTS, rate=rate)


def bounded(setting: Setting, generator: float) -> Row:
    """The raw loop beside a load generator that uses `generator` processors."""
    taken, burnt = bound.raw(setting, generator)
    p50, p99 = np.percentile(taken * 1000, (50, 99)).tolist()
    nan = float("nan")
    return Row(len(taken) / setting.seconds, p50, p99, nan, nan, 0, nan, burnt)


def show(rows: dict[str, list[Row]]) -> None:
    """Medians of the rounds, as a table."""
    print("\n| medians | a second | p50, ms | p99, ms | half load p50 | half load p99 | errors | peak MB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, seen in rows.items():
        columns = ("rate", "p50", "p99", "half_p50", "half_p99", "errors", "memory")
        cells = [median(getattr(row, column) for row in seen) for column in columns]
        formatted = " | ".join("-" if np.isnan(cell) else f"{cell:,.1f}" for cell in cells)
        print(f"| {name} | {formatted} |")
    print()


def figures(rows: dict[str, list[Row]]) -> list[Figure]:
    """Ratios of the rounds, their medians."""
    ours, fastapi, loop = rows["ours"], rows["FastAPI"], rows["raw loop"]

    def ratio(column: str, others: list[Row], other: str) -> float:
        pairs = zip(ours, others, strict=True)
        return float(median(getattr(mine, column) / getattr(theirs, other) for mine, theirs in pairs))

    return [
        Figure("throughput, ours / FastAPI", ratio("rate", fastapi, "rate"), 1.0, at_most=False),
        Figure("p99, ours / FastAPI", ratio("p99", fastapi, "p99"), 1.0),
        Figure("throughput, ours / raw loop", ratio("rate", loop, "rate"), 0.85, at_most=False),
        Figure("p99 at half load / raw p50", ratio("half_p99", loop, "p50"), 3.0),
        Figure("errors", float(sum(row.errors for row in ours)), 0.0),
    ]
