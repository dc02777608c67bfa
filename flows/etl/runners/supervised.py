"""Run a script as a child that does not outlive its parent: `supervised.py PARENT_PID SCRIPT ARGS`.

A parent killed with SIGKILL cannot stop its children, so the child watches. Works on every Unix.
"""

import os
import runpy
import sys
import threading
import time
from pathlib import Path


def watch(parent: int, every_seconds: float = 0.2) -> None:
    """End this process, and with its standard input the JVM, once the parent is gone."""
    while os.getppid() == parent:
        time.sleep(every_seconds)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=watch, args=(int(sys.argv[1]),), daemon=True).start()
    script = sys.argv[2]
    sys.argv = sys.argv[2:]
    sys.path[0] = str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")
