"""Asking all at once, each for as long as it may take; and the file that the exporter reads it from."""

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.health.probes import NotSetUpError, Probe

FILE = "health.json"
Outcome = Literal["good", "failing", "skipped"]


@dataclass(frozen=True)
class Result:
    """What one probe found.

    Attributes:
        probe: its name.
        outcome: `skipped` is what is not set up.
        seconds: that it took.
        said: what it saw, or why not; no secret.
    """

    probe: str
    outcome: Outcome
    seconds: float
    said: str


def ask_all(settings: Settings, probes: Sequence[Probe]) -> list[Result]:
    """Ask side by side; one that hangs holds up neither the others nor the end of the process."""
    began = time.monotonic()
    found: dict[str, Result] = {}

    def ask(probe: Probe) -> None:
        result = answer(settings, probe)
        found.setdefault(probe.name, result)

    threads = [threading.Thread(target=ask, args=(probe,), name=probe.name, daemon=True) for probe in probes]
    for thread in threads:
        thread.start()
    for probe, thread in zip(probes, threads, strict=True):
        thread.join(max(0.0, began + probe.seconds - time.monotonic()))
        late = Result(probe.name, "failing", probe.seconds, f"no answer within {probe.seconds:g} s")
        found.setdefault(probe.name, late)
    return [found[probe.name] for probe in probes]


def answer(settings: Settings, probe: Probe) -> Result:
    """One probe's, whatever it raises."""
    began, outcome = time.monotonic(), "good"
    try:
        said = probe.ask(settings)
    except NotSetUpError as nothing:
        outcome, said = "skipped", str(nothing)
    except WatchkeeperError as error:
        outcome, said = "failing", str(error)
    except OSError as error:  # of the machine: its words have no secret; smtplib's may have the user
        known = error.strerror and not hasattr(error, "smtp_code")
        outcome, said = "failing", str(error) if known else type(error).__name__
    except Exception as error:  # whatever a library raises: its text may have an address
        outcome, said = "failing", type(error).__name__
    return Result(probe.name, outcome, round(time.monotonic() - began, 3), said)  # type: ignore[arg-type]


def write(settings: Settings, results: Sequence[Result], when: float) -> None:
    """Keep the newest results, whole or not at all."""
    path = file_of(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"when": when, "results": [asdict(result) for result in results]}))
    new.replace(path)


def read(settings: Settings) -> tuple[float, list[Result]] | None:
    """When the probes last ran, and what they found; None where they never have.

    Raises:
        WatchkeeperError: the file is not ours.
    """
    path = file_of(settings)
    try:
        said = json.loads(path.read_text())
        return float(said["when"]), [Result(**each) for each in said["results"]]
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError):
        raise WatchkeeperError(f"{path} is not what `task health` writes; remove it") from None


def file_of(settings: Settings) -> Path:
    """Where they are kept."""
    return settings.run / FILE
