"""The errors a user can cause, and how a command reports them: one message, no stack trace."""

import os
import sys
from collections.abc import Callable


class WatchkeeperError(Exception):
    """A user's mistake or a state of the world: the text names the thing, the value and the remedy."""


def run_command(main: Callable[[], int | None]) -> None:
    """Run a command's `main` and exit with its code; a WatchkeeperError becomes one line and exit code 2.

    `WATCHKEEPER_DEBUG=1` shows the stack trace instead.
    """
    try:
        code = main() or 0
    except KeyboardInterrupt:
        code = 130
    except (WatchkeeperError, PermissionError) as error:
        if os.environ.get("WATCHKEEPER_DEBUG") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)
