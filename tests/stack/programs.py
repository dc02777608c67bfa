"""Third-party servers as processes of the tests: found, started on the loopback, always stopped."""

import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.config import CHECKOUT
from tests.everything import EVERYTHING
from tests.factories import wait_until

PATH = f"{os.environ.get('PATH', '')}:{CHECKOUT / '.tools' / 'bin'}"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where a program is missing, unless everything has to run."""
    missing = [name for name in programs if shutil.which(name, path=PATH) is None]
    reason = f"neither on PATH nor in .tools/bin: {', '.join(missing)}"
    return pytest.mark.skipif(bool(missing) and not EVERYTHING, reason=reason)


@contextmanager
def running(
    command: list[str],
    ready: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """A server, from the first 200 of its page `ready` on, which may ask for `headers`."""
    program = shutil.which(command[0], path=PATH)
    assert program, f"{command[0]} is neither on PATH nor in .tools/bin; .ci/run installs it"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [program, *command[1:]], env=os.environ | (environment or {}), stdout=stream, stderr=stream
        )
    try:
        wait_until(lambda: process.poll() is not None or is_good(ready, headers), command[0])
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_good(url: str, headers: Mapping[str, str] | None = None) -> bool:
    """Whether a page answers with 200."""
    try:
        with OPENER.open(urllib.request.Request(url, headers=dict(headers or {})), timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def page(url: str) -> str:
    """A page's text."""
    with OPENER.open(url, timeout=10) as answer:
        return str(answer.read().decode())
