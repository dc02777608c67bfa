"""Run a command as a child: `launcher.py COMMAND...`; ends with it, or kills it when standard input closes.

Started with `-I` by `process.py`, whose end of the pipe closes however its process ends.
"""

import os
import signal
import subprocess
import sys
import threading


def watch() -> None:
    """End this process group once nobody holds the other end of standard input."""
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=watch, daemon=True).start()
    code = subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL)
    sys.stderr.flush()
    os._exit(code if code >= 0 else 128 - code)
