"""The relay with a clock that a test moves: `python -m tests.faults.relay_process FOLDER CLOCK_FILE`.

The product knows nothing of this: its parts take their clock, their timeout and their pace as arguments.
"""

import sys
from contextlib import closing
from pathlib import Path

from observability.config import ObservabilitySettings
from observability.slack.delivery import Delivery
from observability.slack.message import as_slack
from observability.slack.outbox import Outbox
from observability.slack.relay import serve
from observability.slack.senders import WebhookSender
from observability.slack.spool import Spool


def main() -> None:
    """Serve until told to end."""
    folder, clock_file = map(Path, sys.argv[1:])
    settings = ObservabilitySettings()
    assert settings.slack_webhook is not None

    def clock() -> float:
        return float(clock_file.read_text())

    # Longer than a busy machine takes to answer: what was taken and not acknowledged is told twice.
    sender = WebhookSender(settings.slack_webhook, "WATCHKEEPER_SLACK_WEBHOOK", as_slack, timeout=5.0)
    with closing(Outbox(folder, clock)) as outbox:
        serve(settings, Delivery(outbox, sender, clock, poll=0.01), Spool(folder.with_name("events")))


if __name__ == "__main__":
    main()
