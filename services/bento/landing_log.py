"""Rows that leave the service as Parquet files in the landing zone, without anybody waiting for them."""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from observability.metrics import SERVE_LOG_ROWS
from services.bento.instruments import instrument

if TYPE_CHECKING:
    import pyarrow as pa

LOG = logging.getLogger("watchkeeper.serve")
FIRST_SECONDS = 1.0
HELD = 10
"""Files' worth of rows that memory holds while the disk is slow; what comes then is dropped."""


class LandingLog:
    """One folder of the landing zone.

    Args:
        folder: where the files appear, each whole at once; the ETL brings them into the lake.
        rows: that end a file.
        seconds: after which a file is written, however short.
        join: makes one table of the parts that were offered.
    """

    def __init__(
        self, folder: Path, rows: int, seconds: float, join: "Callable[[list[Any]], pa.Table]"
    ) -> None:
        self._folder, self._rows, self._seconds = folder, rows, seconds
        self._join = join
        self._counter = instrument(SERVE_LOG_ROWS)
        self._parts: deque[tuple[int, Any]] = deque()
        self._held = 0
        self._files = 0
        self._refused = False
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"log-{folder.name}", daemon=True)
        self._thread.start()

    def offer(self, rows: int, part: Any) -> bool:  # noqa: ANN401  # what `join` takes
        """Take rows of which a table is made later, or drop and count them where memory holds too many."""
        with self._wake:
            if self._held + rows > HELD * self._rows:
                self._counter.labels("dropped").inc(rows)
                return False
            self._parts.append((rows, part))
            self._held += rows
            if self._held >= self._rows:
                self._wake.notify()
        return True

    def close(self) -> None:
        """Write what is held."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(30)

    def _run(self) -> None:
        with self._wake:
            self._wake.wait_for(lambda: self._closed, FIRST_SECONDS)
        import pyarrow.parquet  # noqa: F401  # now and not with the first file, amid traffic

        while not self._closed or self._parts:
            with self._wake:
                self._wake.wait_for(lambda: self._closed or self._held >= self._rows, self._seconds)
            while self._parts:
                self._flush()
                if self._held < self._rows and not self._closed:
                    break  # what came meanwhile waits for its own time

    def _flush(self) -> None:
        """Write one file."""
        taken = []
        rows = 0
        with self._wake:
            while self._parts and rows < self._rows:
                taken.append(self._parts.popleft())
                rows += taken[-1][0]
        outcome = "written"
        try:
            self._write(self._join([part for _, part in taken]))
            self._refused = False
        except Exception as error:  # a full disk, above all: the service answers all the same
            outcome = "dropped"
            if not self._refused:
                LOG.error("%s cannot be written: %s; its rows are dropped and counted", self._folder, error)
            self._refused = True
        self._counter.labels(outcome).inc(rows)
        with self._wake:
            self._held -= rows

    def _write(self, table: "pa.Table") -> None:
        import pyarrow.parquet as pq

        self._folder.mkdir(parents=True, exist_ok=True)
        self._files += 1
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{os.getpid()}-{self._files}.parquet"
        half = self._folder / f".{name}"
        try:
            pq.write_table(table, half, compression="zstd")
            half.rename(self._folder / name)
        finally:
            half.unlink(missing_ok=True)
