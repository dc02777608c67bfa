"""What is remembered of each job, so that another process or machine finds it: one small JSON file a job.

A file `<key>.json` for each flow run and name, written before the job is asked for and again when its id is
known, before the first look at it.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from flows.etl.runners.base import Handle, SparkJob
from flows.paths import json_in, write_whole
from flows.s3_path import AnyPath


@dataclass(frozen=True)
class Record:
    """One job: what it is, and where it runs as far as is known.

    Attributes:
        handle: None until the service has named the job.
        phase: the last that was seen.
    """

    token: str
    name: str
    program: str
    flow: str
    run: str
    runner: str
    attempt: int
    handle: Handle | None = None
    phase: str = "pending"
    when: str = ""

    @classmethod
    def of(cls, job: SparkJob, runner: str, attempt: int, handle: Handle | None, phase: str) -> "Record":
        """What is to be remembered now."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(job.token, job.name, job.program, job.flow, job.run, runner, attempt, handle, phase, now)


class Records:
    """The records of a folder, here or on S3."""

    def __init__(self, folder: AnyPath) -> None:
        self.folder = folder

    def read(self, key: str) -> Record | None:
        """The record of a flow run and name; None where there is none, or none that is whole."""
        try:
            held = json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
            handle = held.pop("handle")
            return Record(**held, handle=Handle(**handle) if handle else None)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def write(self, key: str, record: Record) -> None:
        """Keep a record in the place of the one before, at once."""
        write_whole(self.folder / f"{key}.json", json.dumps(asdict(record), indent=1).encode())

    def all(self) -> Iterator[Record]:
        """Every record that is whole."""
        for path in json_in(self.folder):
            if record := self.read(path.stem):
                yield record
