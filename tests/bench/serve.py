"""`task bench:serve`: the service beside a hand-written FastAPI service, the raw loop and an empty BentoML.

Each contender is started on the same cores in turn, in alternating rounds, answers real garment photographs
with a network of 890 thousand parameters, and is stopped. Prints tables, then every figure beside its goal;
`docs/benchmarks.md` records them. `--only` chooses among throughput, cold, soak, overload and swaps.
"""

import argparse
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from flows.config import CHECKOUT
from flows.errors import WatchkeeperError, run_command
from tests.bench.serving import cold, overload, soak, swaps, throughput
from tests.bench.serving.contenders import CORES
from tests.bench.serving.loading import garments
from tests.bench.serving.setting import Figure, Setting

MEASUREMENTS: dict[str, Callable[[Setting], list[Figure]]] = {
    "throughput": throughput.measure,
    "cold": cold.measure,
    "soak": soak.measure,
    "overload": overload.measure,
    "swaps": swaps.measure,
}
PACKAGES = ("bentoml", "fastapi", "uvicorn", "uvloop", "httptools", "onnxruntime", "pillow", "numpy")


def main() -> int:
    """Measure, and say which goals are met; 1 where one is missed."""
    args = argparse.ArgumentParser(prog="task bench:serve --", description=__doc__)
    args.add_argument("--data", type=Path, default=CHECKOUT.parent / "shared" / "data" / "garments")
    args.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS), metavar="NAME")
    args.add_argument("--quick", action="store_true", help="one short round of each")
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--soak-seconds", type=float)
    given = args.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    pictures = garments(given.data.resolve())
    if not pictures:
        raise WatchkeeperError(f"no *.jpg below {given.data}; --data FOLDER names the garment photographs")
    print(
        f"{CORES} cores, Python {platform.python_version()}, "
        + ", ".join(f"{name} {release(name)}" for name in PACKAGES)
        + f"; {len(pictures)} photographs; others use {psutil.cpu_percent(2.0):.0f}% of the processor"
    )
    with tempfile.TemporaryDirectory(prefix="bench-serve-") as folder:
        setting = Setting(
            scratch=Path(folder),
            pictures=pictures,
            rounds=1 if given.quick else given.rounds,
            seconds=4.0 if given.quick else 15.0,
            quick=given.quick,
            soak_seconds=given.soak_seconds or (20.0 if given.quick else 600.0),
        )
        figures = [figure for name in given.only for figure in run(name, setting)]
    print("\n" + "\n".join(map(str, figures)))
    return 0 if all(figure.met for figure in figures) else 1


def run(name: str, setting: Setting) -> list[Figure]:
    """One measurement."""
    started = time.perf_counter()
    print(f"\n{name}, {time.strftime('%H:%M')}", flush=True)
    figures = MEASUREMENTS[name](setting)
    print(f"  took {time.perf_counter() - started:.0f} s", flush=True)
    return figures


def release(package: str) -> str:
    """The installed version."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


if __name__ == "__main__":
    run_command(main)
