"""Many racers for one pointer, in threads of several processes, and readers who watch them.

In every round all racers see one champion and each promotes its own version against it: one may win.
"""

import multiprocessing
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.bento.registry import OvertakenError, Registry
from services.bento.store import LocalStore, Store
from tests.versions import write_version

MODEL = "articles"
PATIENCE = 300
PAUSE = 0.02  # a reader that never rests would take the cores from the racers


@dataclass(frozen=True)
class Place:
    """A registry that a process can open; `endpoint` is an S3 server's, and `where` then a bucket."""

    where: str
    cache: Path
    endpoint: str = ""

    def store(self) -> Store:
        if not self.endpoint:
            return LocalStore(Path(self.where))
        import boto3
        from botocore.config import Config

        from services.bento.s3_store import S3Store

        config = Config(max_pool_connections=32)
        return S3Store(boto3.client("s3", endpoint_url=self.endpoint, config=config), self.where, "registry")

    def registry(self, store: Store | None = None) -> Registry:
        return Registry(store or self.store(), MODEL, cache=self.cache)


@dataclass(frozen=True)
class Race:
    place: Place
    processes: int
    threads: int
    rounds: int

    @property
    def racers(self) -> int:
        return self.processes * self.threads


def version_of(racer: int, lap: int) -> str:
    """A racer's version. It has two, so that it never promotes the champion that it made."""
    return f"r{racer}-{'ab'[lap % 2]}"


def run(race: Race, folder: Path) -> None:
    """Hold the race and check everything that it must show."""
    registry = race.place.registry()
    for racer in range(race.racers):
        for lap in range(2):
            version = version_of(racer, lap)
            registry.add(write_version(folder / version, version=version))
    registry.promote(version_of(0, 1), None)
    wins, seen = hold(race)
    assert wins == dict.fromkeys(range(race.rounds), 1), "each round has exactly one winner"
    assert seen, "readers have read"
    check_log(registry, race.rounds + 1)


def check_log(registry: Registry, entries: int) -> None:
    """The log has no gap, each promotion follows the one before, and the pointer is the last."""
    history = registry.history()
    assert [entry.number for entry in history] == list(range(1, entries + 1))
    assert [entry.before for entry in history[1:]] == [entry.champion for entry in history[:-1]]
    assert registry.champion() == history[-1]


def hold(race: Race) -> tuple[Counter[int], int]:
    """Run the racers' processes; returns wins by round, and how often readers read."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(race.racers), context.Queue()
    workers = [
        context.Process(target=work, args=(race, number, barrier, results), daemon=True)
        for number in range(race.processes)
    ]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=5 * PATIENCE) for _ in workers]
    for worker in workers:
        worker.join(PATIENCE)
    assert not (problems := [text for *_, texts in answers for text in texts]), problems
    return sum((wins for wins, *_ in answers), Counter()), sum(reads for _, reads, _ in answers)


def work(race: Race, process: int, barrier: Any, results: Any) -> None:
    """One process: its racers, and one reader as long as they race."""
    store, wins, problems, over = race.place.store(), Counter[int](), list[str](), threading.Event()
    reads = [0]

    def guarded(target: Any, *args: Any) -> threading.Thread:
        def call() -> None:
            try:
                target(*args)
            except Exception as error:
                problems.append(repr(error))
                barrier.abort()

        thread = threading.Thread(target=call)
        thread.start()
        return thread

    reader = guarded(read, race.place, store, over, reads)
    first = process * race.threads
    threads = [
        guarded(compete, race, store, racer, barrier, wins) for racer in range(first, first + race.threads)
    ]
    for thread in threads:
        thread.join()
    over.set()
    reader.join()
    results.put((wins, reads[0], problems))


def compete(race: Race, store: Store, racer: int, barrier: Any, wins: Counter[int]) -> None:
    """One racer's rounds. The barriers make all see the same champion, and then start together."""
    registry = race.place.registry(store)
    for lap in range(race.rounds):
        barrier.wait(PATIENCE)
        champion = registry.champion()
        assert champion
        barrier.wait(PATIENCE)
        try:
            registry.promote(version_of(racer, lap), champion.version, flow_run=f"{racer}-{lap}")
        except OvertakenError:
            continue
        with LOCK:
            wins[lap] += 1


LOCK = threading.Lock()


def read(place: Place, store: Store, over: threading.Event, reads: list[int]) -> None:
    """Read the pointer anew each time: never none, never half, never backwards."""
    number = 0
    while not over.wait(PAUSE) or not reads[0]:
        champion = place.registry(store).champion()
        assert champion is not None
        assert champion.version == champion.champion
        assert champion.number >= number
        number = champion.number
        reads[0] += 1
