"""Values exactly at a bound, where `>` and `>=` part, and windows, told by series of no other use.

Recorded series are written as they would be recorded, as no counters give a ratio of exactly 0.072.
"""

from tests.unit.observability.prometheus.edges import (
    EDGES,
    LATE,
    OLDEST,
    Edge,
    answers,
    beat,
    both,
    free,
    rows,
    steps,
)

RATIO7D = 'watchkeeper:table_commit_rows:ratio7d{dataset="hm", table="articles", outcome="committed"}'


def burning(kind: str, **said: float) -> dict[str, str]:
    """Recorded shares of a kind, `errors` or `slow`, from the 10th minute on; requests of an hour (200)."""
    requests = said.pop("requests", 200)
    shares = {f"watchkeeper:serve_{kind}:ratio_{name}": f"0x9 {share}x50" for name, share in said.items()}
    return {**shares, "watchkeeper:serve_requests:increase1h": f"{requests}x60"}


BURNS = [
    edge
    for kind, bound, name in (("errors", 0.072, "Errors"), ("slow", 0.144, "Slow"))
    for edge in (
        Edge(f"Service{name}Fast", burning(kind, rate5m=bound, rate1h=0.5), "30m", False),
        Edge(f"Service{name}Fast", burning(kind, rate5m=0.5, rate1h=bound), "30m", False),
        Edge(f"Service{name}Fast", burning(kind, rate5m=0.5, rate1h=0.5, requests=100), "30m", False),
        Edge(f"Service{name}Fast", burning(kind, rate5m=0.5, rate1h=0.5, requests=101), "30m", True),
        Edge(f"Service{name}Fast", burning(kind, rate5m=0.5, rate1h=0.5), "10m30s", False),
        Edge(f"Service{name}Fast", burning(kind, rate5m=0.5, rate1h=0.5), "11m", True, "30s"),
    )
]

FALLING = [
    # Most answers came long ago: a share is of the answers of its own window.
    Edge(
        "ServiceSlowFast", answers(steps((400, 60), (40, 70)), steps((500, 60), (50, 70))), "80m", True, "5m"
    ),
    Edge(
        "ServiceSlowSlow",
        answers(steps((450, 300), (45, 110)), steps((500, 300), (50, 110))),
        "390m",
        True,
        "5m",
    ),
]

EXACT = [
    # Exactly 5% is not NodeDiskFull's, so it is this one's.
    Edge("NodeDiskFilling", free("20-0.125x118 5x100"), "121m", True),
    # In a day nothing is left, and nothing is missing: 86,400 bytes in the 63rd minute, one less each second.
    # 64 samples, so that no number is rounded.
    Edge(
        "NodeDiskFilling",
        {
            'node_filesystem_avail_bytes{instance="n1", mountpoint="/", fstype="ext4"}': "90180-60x200",
            'node_filesystem_size_bytes{instance="n1", mountpoint="/", fstype="ext4"}': "345600x200",
        },
        "123m",
        False,
    ),
    Edge("TableRowsUnusual", {RATIO7D: "3x20"}, "10m", False),
    Edge("TableRowsUnusual", {RATIO7D: "0.33x20"}, "10m", False),
    # Seven days, not half of them nor twice: their mean is 206, that of half of them 310, that of twice 600.
    Edge(
        "TableRowsUnusual",
        {rows("committed"): "1000x335 100x167 300x165 700x9"},
        "336h30m",
        True,
        "30m",
        "30m",
    ),
    Edge("FlowLate", {LATE: "2x20", beat("p"): "0+60x8 480x9"}, "10m", True),
    Edge("WorkerGone", {beat("p"): "0x20"}, "3m", False),
    Edge("RelayUndelivered", {OLDEST: "-15+60x40"}, "20m", False),
    *both(
        "ServiceQueueFull",
        "15m",
        30,
        30.5,
        {
            f'watchkeeper_serve_rejected_total{{reason="{reason}"}}': "0+{v}x20"
            for reason in ("busy", "overloaded")
        },
    ),
    *BURNS,
    *FALLING,
]

EVERY_EDGE = [*EDGES, *EXACT]

ALWAYS = {"watchkeeper:deadman": 1.0}
"""Recorded series that need no other one, and what they are."""
