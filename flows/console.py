"""What a person sees while a command works: progress bars in a terminal, plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

OnProgress = Callable[[int, int], None]


def no_progress(_done: int, _total: int) -> None:
    """Progress that nobody watches."""


def no_log(_line: str) -> None:
    """A log that nobody reads."""


out = Console(highlight=False)
"""Where summaries go: standard output."""


class Reporter:
    """Shows the steps of a run; silent unless a command turns it on: a worker's log is Prefect's."""

    def __init__(self) -> None:
        self._live: Progress | None = None
        self._on = False
        self._lock = threading.Lock()

    @contextmanager
    def shown(self, quiet: bool = False) -> Iterator[None]:
        """Show steps within the block, on standard error."""
        console = Console(stderr=True, highlight=False)
        self._on = not quiet
        try:
            if quiet or not console.is_terminal:
                yield
            else:
                columns = [
                    SpinnerColumn(finished_text="[green]✓"),
                    TextColumn("{task.description}"),
                    BarColumn(bar_width=24),
                    MofNCompleteColumn(),
                    TimeElapsedColumn(),
                ]
                with Progress(*columns, console=console) as self._live:
                    yield
        finally:
            self._live, self._on = None, False

    @contextmanager
    def step(self, label: str) -> Iterator[OnProgress]:
        """Show one step; yields a function that takes what is done and the total known so far."""
        started = time.perf_counter()
        if self._live:
            with self._bar(self._live, label) as on_progress:
                yield on_progress
            return
        yield no_progress
        if self._on:
            with self._lock:
                print(f"{label:<42} {time.perf_counter() - started:6.1f} s", file=sys.stderr, flush=True)

    @staticmethod
    @contextmanager
    def _bar(live: Progress, label: str) -> Iterator[OnProgress]:
        bar = live.add_task(f"{label:<42}", total=None)
        most = 1

        def on_progress(done: int, total: int) -> None:
            nonlocal most
            most = max(most, total)
            live.update(bar, completed=done, total=most)

        yield on_progress
        live.update(bar, completed=most, total=most)


reporter = Reporter()
"""The process's one reporter."""


def mebibytes(count: int) -> str:
    """A size for people."""
    return f"{count / 2**20:,.1f} MiB" if count >= 2**20 else f"{count / 2**10:,.0f} KiB"
