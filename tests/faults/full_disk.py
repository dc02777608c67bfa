"""A home on a small file system that fills up: run inside a mount namespace by `test_full_disk.py`.

`python -m tests.faults.full_disk FOLDER ROOM`: mounts, loads a lake, leaves ROOM bytes, runs the ETL as a
command, makes room, runs it again; prints what was seen as JSON.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from flows.config import Settings
from tests.factories import content_hash, environment_of, run_table, settings_of, table_of
from tests.faults.test_kill import CONTRACT, TABLE, bring_the_rest, first_days

SIZE = 48 * 2**20


def fill(home: Path, room: int) -> Path:
    """Write a file that leaves `room` bytes."""
    free = os.statvfs(home).f_bavail * os.statvfs(home).f_frsize
    filler = home / "filler"
    with filler.open("wb") as stream:
        stream.write(b"\0" * (free - room))
    return filler


def run_etl(settings: Settings, source: Path) -> dict[str, object]:
    """The command, its exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.etl", "--dataset", "online_retail", "--source", str(source)],
        env=environment_of(settings),
        capture_output=True,
        text=True,
        timeout=300,
    )
    return {"code": done.returncode, "said": done.stderr}


def main(folder: Path, room: int) -> None:
    """The whole story."""
    home = folder / "home"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(home)], check=True)
    settings = settings_of(home)
    source, later = first_days(folder, "2010-12-0")
    run_table(settings, CONTRACT, source)
    seen: dict[str, object] = {"old": content_hash(settings, TABLE)}
    bring_the_rest(source, later)
    filler = fill(home, room)
    seen["full"] = run_etl(settings, source)
    seen["while full"] = content_hash(settings, TABLE)
    filler.unlink()
    seen["with room"] = run_etl(settings, source)
    seen["new"] = content_hash(settings, TABLE)
    seen["snapshots"] = len(table_of(settings, TABLE).snapshots())
    undisturbed = settings_of(folder / "undisturbed")
    run_table(undisturbed, CONTRACT, source)
    seen["undisturbed"] = content_hash(undisturbed, TABLE)
    print(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
