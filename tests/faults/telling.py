"""A run's process that tells of what it came to, and hangs: `python -m tests.faults.telling FOLDER ID...`."""

import sys
import threading
from pathlib import Path

from observability.config import ObservabilitySettings
from observability.slack.events import Teller
from observability.slack.items import Event
from tests.slack import EVENT


def main() -> None:
    """Tell, say so, and wait to be killed."""
    folder, *ids = sys.argv[1:]
    teller = Teller(ObservabilitySettings(slack_events={"*": ["failure"]}), Path(folder))
    for number in ids:
        teller.tell(Event.model_validate(EVENT | {"id": number, "reason": f"number {number}"}))
    print("told", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
