"""Starts load generators, and says what their answers come to."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flows.config import CHECKOUT
from observability.errors import WatchkeeperError
from tests.bench.serving.load import Plan

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """What a load saw: a row an answer; times are of `time.time()`."""

    sent: Floats
    received: Floats
    status: npt.NDArray[np.int64]
    version: npt.NDArray[np.str_]
    begin: float
    seconds: float
    cpu_seconds: float
    late_seconds: float
    refusals_without_retry_after: int

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Answers":
        """Some of the rows."""
        columns = (self.sent[chosen], self.received[chosen], self.status[chosen], self.version[chosen])
        rest = (self.begin, self.seconds, self.cpu_seconds, self.late_seconds)
        return Answers(*columns, *rest, self.refusals_without_retry_after)

    @property
    def failed(self) -> int:
        """Answers other than 200, and requests without one."""
        return int((self.status != 200).sum())

    def latency(self, percentile: float) -> float:
        """Milliseconds of the requests that were answered with 200."""
        good = self.status == 200
        if not good.any():
            return float("nan")
        return float(np.percentile(self.received[good] - self.sent[good], percentile)) * 1000

    def steady(self, warm_up: float) -> "Answers":
        """Without what was answered in the first seconds or after the last."""
        begin, end = self.begin + warm_up, self.begin + self.seconds
        return self.where((self.received >= begin) & (self.received < end))

    def rate(self, warm_up: float) -> float:
        """Good answers a second, after the first seconds."""
        good = int((self.steady(warm_up).status == 200).sum())
        return good / (self.seconds - warm_up)

    def statuses(self) -> dict[int, int]:
        """How many answers of each status."""
        numbers, counts = np.unique(self.status, return_counts=True)
        return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def started(module: str, order: object) -> "subprocess.Popen[str]":
    """A process of this module, which reads its order, a dataclass, as JSON."""
    command = [sys.executable, "-m", module]
    process = subprocess.Popen(
        command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    process.stdin.write(json.dumps(asdict(order)))  # type: ignore[call-overload]
    process.stdin.close()
    return process


def said(process: "subprocess.Popen[str]") -> Any:
    """The JSON that it writes at its end."""
    assert process.stdout
    written = process.stdout.read()
    if code := process.wait():
        raise WatchkeeperError(f"{process.args} ended with {code}; what it said is above")  # type: ignore[str-bytes-safe]
    return json.loads(written)


@contextmanager
def loading(plan: Plan) -> Iterator[Callable[[], Answers]]:
    """A load that runs beside the block; what is given waits for its end and returns the answers."""
    process = started("tests.bench.serving.load", plan)
    try:
        yield lambda: _answers(said(process), plan)
    finally:
        process.kill()
        process.wait()


def load(plan: Plan) -> Answers:
    """Run a load."""
    with loading(plan) as finish:
        return finish()


def _answers(seen: dict[str, list[float]], plan: Plan) -> Answers:
    names = np.array(seen["versions"], dtype=np.str_)
    rest = {
        name: seen[name] for name in ("begin", "cpu_seconds", "late_seconds", "refusals_without_retry_after")
    }
    return Answers(
        np.array(seen["sent"]),
        np.array(seen["received"]),
        np.array(seen["status"], dtype=np.int64),
        names[np.array(seen["version"], dtype=np.int64)] if len(names) else np.array([], dtype=np.str_),
        seconds=plan.seconds,
        **rest,  # type: ignore[arg-type]
    )


def garments(data: Path, count: int = 500) -> list[str]:
    """The first pictures of the folder, by name."""
    return [str(path) for path in sorted(data.rglob("*.jpg"), key=os.fspath)[:count]]
