"""`task exporter`: what Prometheus scrapes of this home."""

import signal
import sys
import threading

from flows.config import Settings, load_settings
from flows.drift.collectors import drift
from flows.errors import WatchkeeperError, run_command
from flows.etl.collectors import LandingZones, Orphans, contracts, tables
from flows.etl.lake import WatchedLake
from flows.health.collectors import Runs, disk, probes
from observability.exporter import Collector, serve
from services.bento.collectors import champions

LONG = 600.0
"""Seconds for every table's folders to be listed: no scrape waits for that."""

READING = 60.0
"""Seconds for the landing zones, where copies of what a table holds are read once."""

HELD = 300.0
"""Seconds for which what is kept on a store holds though it cannot be read; then CollectorFailing fires."""


def collectors(settings: Settings) -> list[Collector]:
    """Every source of truth of this home; what changes slowly or costs much is asked less often."""
    lake, runs = WatchedLake(settings), Runs(settings)
    orphans, landing = Orphans(settings, lake), LandingZones(settings, lake)
    return [
        Collector("prefect", runs.collect),
        Collector("tables", lambda: tables(settings, lake), held=HELD),
        Collector("contracts", lambda: contracts(settings), fresh=settings.listing_seconds),
        Collector("landing", landing.collect, timeout=READING, fresh=settings.listing_seconds),
        Collector("orphans", orphans.collect, timeout=LONG, fresh=settings.listing_seconds, wait=0),
        Collector("models", lambda: champions(settings), held=HELD),
        Collector("drift", lambda: drift(settings), held=HELD),
        Collector("health", lambda: probes(settings)),
        Collector("disk", lambda: disk(settings)),
    ]


def main() -> int:
    """Answer scrapes until told to end."""
    settings, over = load_settings(), threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: over.set())
    host, port = settings.listen_host, settings.exporter_port
    try:
        stop = serve(collectors(settings), port, host)
    except OSError as error:
        raise WatchkeeperError(
            f"{host} port {port}: {error.strerror}; set WATCHKEEPER_EXPORTER_PORT to another"
        ) from None
    print(f"http://{host}:{port}/metrics", file=sys.stderr, flush=True)
    over.wait()
    stop()
    return 0


if __name__ == "__main__":
    run_command(main)
