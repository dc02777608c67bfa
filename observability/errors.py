"""The errors that a user can cause, for every layer, and how a command reports them: no stack trace."""

import errno
import os
import sys
from collections.abc import Callable


class WatchkeeperError(Exception):
    """A user's mistake or a state of the world: the text names the thing, the value and the remedy."""


def in_words(error: Exception) -> str:
    """The message; the operating system's own refusals get their remedy."""
    remedies = {
        errno.ENOSPC: "no space left on the device; free some and run again",
        errno.EACCES: "permission denied; run as a user who may, or change its mode",
        errno.ENOTDIR: "a file is where a folder should be; set WATCHKEEPER_HOME to a folder",
        errno.EROFS: "the file system is read-only; set WATCHKEEPER_HOME to a folder that can be written",
    }
    if isinstance(error, OSError) and error.errno in remedies:
        return f"{error.filename or 'a file'}: {remedies[error.errno]}"
    return str(error)


def run_command(main: Callable[[], int | None]) -> None:
    """Run a command's `main` and exit with its code; a WatchkeeperError becomes one line and exit code 2.

    `WATCHKEEPER_DEBUG=1` shows the stack trace instead.
    """
    try:
        code = main() or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # the reader has seen enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except (WatchkeeperError, OSError) as error:
        if os.environ.get("WATCHKEEPER_DEBUG") == "1":
            raise
        print(f"error: {in_words(error)}", file=sys.stderr)
        code = 2
    sys.exit(code)
