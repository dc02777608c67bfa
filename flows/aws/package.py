"""`task aws:package`: what batch scoring imports on EMR, as one archive, uploaded once under its content.

It holds the packages of the lock's group `score` for EMR 7's Python 3.11 and Linux, whatever this machine is,
and `bin/python`, which is EMR's own Python with them on its path. The programs themselves go with each job
(`runners/artifact.py`).
"""

import argparse
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from flows.config import CHECKOUT, Settings, load_settings
from flows.errors import WatchkeeperError, run_command
from flows.etl.runners.artifact import upload
from flows.etl.runners.aws import Aws

PYTHON = "3.11"
PLATFORM = "x86_64-manylinux_2_28"
"""EMR 7 is Amazon Linux 2023, whose glibc is 2.34; the lock's wheels ask for 2.28."""
NAME = "environment.tar.gz"
INTERPRETER = f"""\
#!/bin/sh
# EMR's own Python, with this archive's packages before its own.
here=$(cd "$(dirname "$0")/.." && pwd)
PYTHONPATH="$here/packages${{PYTHONPATH:+:$PYTHONPATH}}" exec python{PYTHON} "$@"
"""


def build(folder: Path) -> bytes:
    """The archive; the same lock makes the same bytes.

    Args:
        folder: an empty one, to work in.

    Raises:
        WatchkeeperError: a package cannot be had.
    """
    packages = folder / "packages"
    wanted = run(["export", "--frozen", "--only-group", "score", "--no-hashes", "--no-emit-project"])
    (folder / "wanted.txt").write_text(wanted)
    for_emr = [
        "--python-version",
        PYTHON,
        "--python-platform",
        PLATFORM,
        "--only-binary",
        ":all:",
        "--no-deps",
    ]
    run(["pip", "install", *for_emr, "--target", str(packages), "-r", str(folder / "wanted.txt")])
    interpreter = folder / "bin" / "python"
    interpreter.parent.mkdir()
    interpreter.write_text(INTERPRETER)
    interpreter.chmod(0o755)
    return packed(folder, ("bin", "packages"))


def run(arguments: list[str]) -> str:
    """What uv says.

    Raises:
        WatchkeeperError: it fails, in its own words.
    """
    uv = shutil.which("uv", path=f"{CHECKOUT / '.tools' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise WatchkeeperError("uv is not there; `./task` brings it")
    done = subprocess.run([uv, *arguments], cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode != 0:
        raise WatchkeeperError(f"uv {arguments[0]}: {done.stderr.strip()[-500:]}")
    return done.stdout


def packed(folder: Path, names: tuple[str, ...]) -> bytes:
    """These folders as a tar.gz without times, owners or what Python has compiled here."""
    whole = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=whole, mode="wb", mtime=0, compresslevel=6) as pressed,
        tarfile.open(fileobj=pressed, mode="w") as archive,
    ):
        for path in sorted(path for name in names for path in (folder / name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
                entry.size = path.stat().st_size
                entry.mode = 0o755 if os.access(path, os.X_OK) else 0o644
                with path.open("rb") as content:
                    archive.addfile(entry, content)
    return whole.getvalue()


def publish(settings: Settings, archive: bytes) -> str:
    """Upload an archive where it is not there yet; where it is."""
    aws = Aws(settings)
    folder = f"{aws.store()}/artifacts/{hashlib.sha256(archive).hexdigest()}"
    upload(aws, folder, {NAME: archive})
    return f"{folder}/{NAME}"


def main() -> int:
    """Pack, upload, and say which setting to set."""
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--to", type=Path, metavar="FILE", help="write it to this file, and upload nothing")
    to = args.parse_args().to
    with tempfile.TemporaryDirectory() as folder:
        archive = build(Path(folder))
    if to:
        to.write_bytes(archive)
        print(to)
    else:
        print(f"WATCHKEEPER_EMR_ARCHIVE={publish(load_settings(), archive)}")
    return 0


if __name__ == "__main__":
    run_command(main)
