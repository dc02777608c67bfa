"""The programs on S3, as EMR runs them: one folder for each content, uploaded once.

A zip holds the modules beside the programs and the packages that they import; the same files make the same
bytes.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flows.etl.runners.aws import Aws, bucket_and_key, told
from flows.etl.runners.programs import CHECKOUT, ETL, PROGRAMS

BESIDE = ("spark_job.py", "transform.py", "profile_job.py")
"""Modules that the programs import from beside themselves."""
PACKAGES = ("flows/score", "services/bento", "observability")
"""What batch scoring imports, and what that imports; Python files only."""
ALONE = ("flows/__init__.py", "flows/etl/__init__.py", "flows/etl/spark_job.py", "flows/etl/transform.py")
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the zip, so that only content makes another zip."""


@dataclass(frozen=True)
class Artifact:
    """Where EMR finds the programs.

    Attributes:
        entry_points: by the programs' names.
        py_files: for `--py-files`.
        archives: for `--archives`: a packed Python environment.
    """

    entry_points: dict[str, str]
    py_files: tuple[str, ...]
    archives: tuple[str, ...] = ()


def artifact(aws: Aws) -> Artifact:
    """The programs of this checkout on S3, uploaded where they are not there yet.

    Raises:
        SparkJobError: they cannot be uploaded.
    """
    programs = {entry(name): program.script.read_bytes() for name, program in PROGRAMS.items()}
    files = {"jobs.zip": zipped(), **programs}
    folder = f"{aws.store()}/artifacts/{content_hash(files)}"
    upload(aws, folder, files)
    archive = aws.settings.emr_archive
    return Artifact(
        {name: f"{folder}/{entry(name)}" for name in PROGRAMS},
        (f"{folder}/jobs.zip",),
        (f"{archive}#environment",) if archive else (),
    )


def entry(program: str) -> str:
    """A program's file; `profile.py` beside the others would hide Python's own module of that name."""
    return f"{program}_job.py"


def content_hash(files: dict[str, bytes]) -> str:
    """A name for these files with this content."""
    whole = hashlib.sha256()
    for name, data in sorted(files.items()):
        whole.update(f"{name} {hashlib.sha256(data).hexdigest()}\n".encode())
    return whole.hexdigest()


def upload(aws: Aws, folder: str, files: dict[str, bytes]) -> None:
    """Put files into a folder that their content names; the last one says that all are there."""
    bucket, prefix = bucket_and_key(folder)
    with told(f"uploading the programs to {folder}"):
        held = aws.s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
        there = {item["Key"].rpartition("/")[2] for item in held}
        for name, data in files.items():
            if name not in there:
                aws.s3.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=data)


@cache
def zipped() -> bytes:
    """What the programs import, as one zip."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(members()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    return whole.getvalue()


def members() -> Iterator[tuple[str, Path]]:
    """Name in the zip, and file."""
    yield from ((name, ETL / name) for name in BESIDE)
    for name in ALONE:
        yield name, CHECKOUT / name
    for package in PACKAGES:
        for path in (CHECKOUT / package).rglob("*.py"):
            yield path.relative_to(CHECKOUT).as_posix(), path
    yield "services/__init__.py", CHECKOUT / "services" / "__init__.py"
