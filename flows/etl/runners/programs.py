"""The programs that runners can run, where they lie in this checkout, and what they need beside them."""

from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
ETL = CHECKOUT / "flows" / "etl"


@dataclass(frozen=True)
class Program:
    """One program.

    Attributes:
        script: what runs; the modules beside it can be imported.
        packages: a folder that it and its Python workers import from, beside the script's own.
    """

    script: Path
    packages: Path | None = None


PROGRAMS = {
    "etl": Program(ETL / "spark_job.py"),
    "profile": Program(ETL / "profile_job.py"),
    "score": Program(CHECKOUT / "flows" / "score" / "spark_job.py", CHECKOUT),
}
