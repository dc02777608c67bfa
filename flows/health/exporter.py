"""`task exporter`: what Prometheus scrapes of this home."""

import signal
import sys
import threading

from flows.config import load_settings
from flows.drift import collectors
from flows.errors import WatchkeeperError, run_command
from observability.exporter import Collector, serve


def main() -> int:
    """Answer scrapes until told to end."""
    settings, over = load_settings(), threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: over.set())
    port = settings.exporter_port
    try:
        stop = serve([Collector("drift", lambda: collectors.drift(settings))], port)
    except OSError as error:
        raise WatchkeeperError(
            f"127.0.0.1 port {port}: {error.strerror}; set WATCHKEEPER_EXPORTER_PORT to another"
        ) from None
    print(f"http://127.0.0.1:{port}/metrics", file=sys.stderr, flush=True)
    over.wait()
    stop()
    return 0


if __name__ == "__main__":
    run_command(main)
