"""`task bench:score`: batch scoring against the seed system's way and the raw loop, in one run.

The seed system's way is a Spark UDF that calls the HTTP API once a row, here over a connection that stays
open, against our own service with the same model on the same cores. The raw loop is decode and ONNX Runtime
in as many plain processes as there are cores. Every contender is a process of its own on a new home, in turn
(`scorers.py`). Its start-up is what the same run takes on a few pictures: figures are given with and without
it, and the goals are judged without it, for all alike. The service is up before its contenders start.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flows.config import CHECKOUT
from flows.errors import WatchkeeperError, run_command
from services.bento.registry import Registry
from services.bento.store import open_store
from tests.factories import free_port

MODEL = "bench"
CORES = os.cpu_count() or 2
FEW = 16
"""Pictures of the run that measures start-up."""
GOALS = {
    "ours / HTTP a row, all cores": (1.5, "at least"),
    "ours / raw loop": (0.85, "at least"),
    "time a picture, 10x / 1x": (1.10, "at most"),
}


@dataclass
class Contender:
    """One way to score; `argument` is how its process is told which it is."""

    name: str
    argument: str
    processes: int
    needs_service: bool = False
    startup: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def rate(self, images: int, with_startup: bool = False) -> float:
        """Median pictures a second."""
        begin = 0 if with_startup else statistics.median(self.startup)
        return statistics.median(images / (seconds - begin) for seconds in self.seconds)


@dataclass(frozen=True)
class Bench:
    """What the contenders share: where they may write, and the version that answers."""

    scratch: Path
    version: Path

    def time(self, contender: Contender, source: Path, url: str = "") -> float:
        """Wall seconds of one run in a new process."""
        home = fresh(self.scratch / "home")
        register(home, self.version)
        command = [sys.executable, "-m", "tests.bench.scorers", contender.argument]
        command += ["--data", str(source), "--home", str(home), "--url", url]
        command += ["--processes", str(contender.processes)]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        if done.returncode or int(done.stdout.split()[-1]) != count(source):
            raise WatchkeeperError(f"{contender.name} failed: {done.stdout[-500:]}{done.stderr[-3000:]}")
        return seconds

    @contextmanager
    def service(self) -> Iterator[str]:
        """Our service on all cores, ready; gives the address of its `/predict`."""
        home = fresh(self.scratch / "service")
        register(home, self.version)
        port = free_port()
        environment = os.environ | {
            "BENTOML_HOME": str(home / "bento"),
            "WATCHKEEPER_HOME": str(home),
            "WATCHKEEPER_MODEL": MODEL,
            "WATCHKEEPER_SERVE_WORKERS": str(CORES),
            "BENTOML_DO_NOT_TRACK": "true",
            "DO_NOT_TRACK": "1",
            "NO_PROXY": "127.0.0.1",
        }
        command = [str(Path(sys.executable).with_name("bentoml")), "serve"]
        command += ["services.bento.service:Watchkeeper", "--host", "127.0.0.1", "--port", str(port)]
        log = self.scratch / "service.log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                command, cwd=CHECKOUT, env=environment, stdout=stream, stderr=stream, start_new_session=True
            )
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/readyz", process, log)
            yield f"http://127.0.0.1:{port}/predict"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path, seconds: float = 120) -> None:
    """Wait until the service says that it is ready."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise WatchkeeperError(f"the service is not ready: {log.read_text()[-2000:]}")


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def count(source: Path) -> int:
    """Pictures of a source that was made by `multiply`."""
    return sum(1 for _ in source.rglob("*.jpg"))


def multiply(pictures: list[Path], target: Path, times: int) -> Path:
    """Each picture `times` times, each time under a name of its own."""
    for number in range(times):
        (target / str(number)).mkdir(parents=True)
        for path in pictures:
            shutil.copyfile(path, target / str(number) / f"{number}-{path.name}")
    return target


def register(home: Path, version: Path) -> None:
    """A registry whose champion is the version."""
    registry = Registry(open_store(home / "registry"), MODEL)
    registry.promote(registry.add(version), None)


def measure(bench: Bench, pictures: list[Path], rounds: int, times: int) -> None:
    """Every contender in turn, then growth; prints the table and which goals are met."""
    few = multiply(pictures[:FEW], bench.scratch / "few", 1)
    source = multiply(pictures, bench.scratch / "times", times)
    images = count(source)
    ours = Contender("ours: ONNX Runtime in Spark's workers", "ours", CORES)
    http = Contender("Spark UDF, HTTP a row, all cores", "http", CORES, needs_service=True)
    one = Contender("Spark UDF, HTTP a row, one process", "http", 1, needs_service=True)
    raw = Contender("raw loop, plain processes", "raw", CORES)
    contenders = [ours, http, one, raw]
    for number in range(rounds):
        for contender in contenders:
            if contender.needs_service:
                with bench.service() as url:
                    contender.startup.append(bench.time(contender, few, url))
                    contender.seconds.append(bench.time(contender, source, url))
            else:
                contender.startup.append(bench.time(contender, few))
                contender.seconds.append(bench.time(contender, source))
        told = ", ".join(f"{c.argument} ({c.processes}) {c.seconds[-1]:.1f} s" for c in contenders)
        print(f"  round {number + 1}: {told}", flush=True)
    print_rates(contenders, images)
    small, large = grow(bench, pictures, rounds, ours)
    judge(
        {
            "ours / HTTP a row, all cores": ours.rate(images) / http.rate(images),
            "ours / raw loop": ours.rate(images) / raw.rate(images),
            "time a picture, 10x / 1x": small / large,
        }
    )
    print(f"{'ours / HTTP a row, one process':<40} {ours.rate(images) / one.rate(images):6.2f}   no goal")


def grow(bench: Bench, pictures: list[Path], rounds: int, ours: Contender) -> tuple[float, float]:
    """Our pictures a second at 1x and at 10x, without start-up, in turn."""
    sources = {times: multiply(pictures, bench.scratch / f"grown-{times}", times) for times in (1, 10)}
    runs = {times: Contender(ours.name, "ours", CORES, startup=ours.startup) for times in sources}
    for number in range(rounds):
        for times, source in sources.items():
            runs[times].seconds.append(bench.time(runs[times], source))
        print(
            f"  growth, round {number + 1}: "
            + ", ".join(f"{n}x {r.seconds[-1]:.1f} s" for n, r in runs.items())
        )
    rates = {times: run.rate(count(sources[times])) for times, run in runs.items()}
    print(f"growth, images/s without start-up: {rates[1]:.0f} at 1x, {rates[10]:.0f} at 10x")
    return rates[1], rates[10]


def print_rates(contenders: list[Contender], images: int) -> None:
    """The table of all contenders."""
    print(f"\n{images:,} pictures, {CORES} cores, medians of {len(contenders[0].seconds)} rounds\n")
    columns = ("processes", "start-up, s", "whole run, s", "images/s", "images/s without start-up")
    print(f"{'contender':<40}" + "".join(f"{name:>{len(name) + 2}}" for name in columns))
    for c in contenders:
        values = (
            str(c.processes),
            f"{statistics.median(c.startup):.1f}",
            f"{statistics.median(c.seconds):.1f}",
            f"{c.rate(images, with_startup=True):.0f}",
            f"{c.rate(images):.0f}",
        )
        cells = (f"{value:>{len(name) + 2}}" for name, value in zip(columns, values, strict=True))
        print(f"{c.name:<40}" + "".join(cells))
    print(flush=True)


def judge(figures: dict[str, float]) -> None:
    """Each goal with its figure."""
    for name, (goal, sense) in GOALS.items():
        met = figures[name] >= goal if sense == "at least" else figures[name] <= goal
        print(f"{name:<40} {figures[name]:6.2f}   goal {sense} {goal:<5} {'met' if met else 'MISSED'}")


def main() -> int:
    """Measure, and say which goals are met."""
    args = argparse.ArgumentParser(prog="task bench:score --", description=__doc__)
    args.add_argument("--data", type=Path, default=CHECKOUT.parent / "shared" / "data" / "garments")
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--times", type=int, default=3, help="copies of the pictures that are compared on")
    args.add_argument("--images", type=int, help="take this many of the pictures")
    args.add_argument("--quick", action="store_true", help="one round on 200 pictures, to see it work")
    given = args.parse_args()
    wanted = given.images or (200 if given.quick else None)
    pictures = sorted(given.data.resolve().rglob("*.jpg"))[:wanted]
    if not pictures:
        raise WatchkeeperError(f"no *.jpg below {given.data}; --data FOLDER names the photographs")
    with tempfile.TemporaryDirectory() as folder:
        version = Path(folder) / "v1"
        command = [sys.executable, "-m", "tests.bench.scorers", "version", "--home", str(version)]
        subprocess.run(command, cwd=CHECKOUT, check=True)
        rounds, times = (1, 1) if given.quick else (given.rounds, given.times)
        measure(Bench(Path(folder), version), pictures, rounds, times)
    return 0


if __name__ == "__main__":
    run_command(main)
