"""The Prefect server of a home, for real: processes, sockets, locks and signals."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows.config import CHECKOUT, Settings
from flows.errors import WatchkeeperError
from flows.prefect_env import isolated_environment
from flows.server import running_server, server, start_server, stop_server
from flows.server_record import answers, read_record, server_pid

pytestmark = pytest.mark.timeout(300)

# Nobody listens on the discard port: whoever believes these variables fails, or waits.
HOSTILE = {
    "PREFECT_API_URL": "http://127.0.0.1:9/api",
    "PREFECT_API_KEY": "pnu_the-users-own",
    "PREFECT_PROFILE": "work",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
}

FLOW = """
import sys

from flows.config import load_settings
from flows.prefect_env import apply_prefect_environment
from flows.server import server

with server(load_settings()):
    apply_prefect_environment(load_settings())
    from prefect import flow, get_run_logger, task

    @task
    def count():
        get_run_logger().info(f"said by the task {sys.argv[1]}")

    @flow
    def stock():
        get_run_logger().warning(f"said by the flow {sys.argv[1]}")
        count()

    stock()
"""

MANY = """
from flows.config import load_settings
from flows.prefect_env import apply_prefect_environment
from flows.server import server

with server(load_settings()):
    apply_prefect_environment(load_settings())
    from prefect import flow, get_run_logger, task

    @task
    def count(shelf):
        get_run_logger().info(f"shelf {shelf}")

    @flow
    def stock():
        for shelf in range(40):
            count(shelf)

    stock()
"""

HOLD = """
import sys
from flows.config import load_settings
from flows.server import server

with server(load_settings()) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefect's folder with its database laid out, which takes some seconds and one start."""
    settings = make_settings(tmp_path_factory.mktemp("laid-out"))
    with server(settings):
        pass
    return settings.prefect


@pytest.fixture
def settings(laid_out: Path, tmp_path: Path) -> Iterator[Settings]:
    """A home of its own, in a folder whose name needs care, without a server before and after."""
    settings = make_settings(tmp_path / "a home, 100% ü")
    shutil.copytree(laid_out, settings.prefect)
    yield settings
    stop_server(settings)


@pytest.fixture(scope="module")
def started(laid_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A home whose server runs; it takes so long to start that tests which leave it alone share it."""
    settings = make_settings(tmp_path_factory.mktemp("started"))
    shutil.copytree(laid_out, settings.prefect)
    start_server(settings)
    yield settings
    stop_server(settings)


def make_settings(home: Path) -> Settings:
    fields: dict[str, Any] = {"home": home, "_env_file": None}
    return Settings(**fields)


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """A user's environment in which our commands know this home and find our modules."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("WATCHKEEPER", "PREFECT"))
    }
    return kept | {
        "WATCHKEEPER_HOME": str(settings.home),
        "PYTHONPATH": str(CHECKOUT),
        **more,
    }


def command(settings: Settings, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "flows.server", *arguments],
        cwd=settings.home,
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def eventually(happened: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def servers_of(settings: Settings) -> list[str]:
    shown = subprocess.run(["ps", "-Awwo", "args"], capture_output=True, text=True, check=True)
    own = f"--home={settings.home}"
    return [line for line in shown.stdout.splitlines() if "server_process" in line and own in line]


def ask(url: str, path: str, **body: Any) -> Any:
    request = urllib.request.Request(f"{url}{path}", json.dumps(body).encode(), method="POST")
    request.add_header("Content-Type", "application/json")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        return json.load(response)


def test_a_started_server_answers_and_a_stopped_one_is_gone(settings: Settings) -> None:
    url = start_server(settings)
    assert answers(url)
    assert running_server(settings) == url
    assert stop_server(settings)
    assert not answers(url)
    assert running_server(settings) is None
    assert servers_of(settings) == []
    assert not stop_server(settings)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127/8 on its loopback")
def test_it_listens_on_no_address_but_the_loopbacks(started: Settings) -> None:
    record = read_record(started)
    assert record
    # A socket bound to every address would answer on this one too.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", record.port), timeout=5)


def test_a_foreign_web_page_may_not_call_the_api(started: Settings) -> None:
    url = str(running_server(started))
    assert cross_origin(url, url.removesuffix("/api")) == url.removesuffix("/api")
    assert cross_origin(url, "https://news.example.com") is None


def cross_origin(url: str, origin: str) -> str | None:
    request = urllib.request.Request(f"{url}/health", headers={"Origin": origin})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        value: str | None = response.headers.get("Access-Control-Allow-Origin")
        return value


def test_a_second_start_finds_the_first_ones_server(started: Settings) -> None:
    first, pid = running_server(started), server_pid(started)
    assert start_server(started) == first
    assert server_pid(started) == pid


@pytest.mark.slow
def test_starts_at_the_same_time_end_with_one_server(settings: Settings) -> None:
    commands = [command(settings, "start") for _ in range(3)]
    said = {started.communicate(timeout=120) for started in commands}
    assert len(said) == 1, said
    assert said == {(f"{running_server(settings)}\n", "")}
    assert len(servers_of(settings)) == 1


def test_the_block_uses_the_server_that_runs_and_leaves_it_running(started: Settings) -> None:
    first = str(running_server(started))
    with server(started) as url:
        assert url == first
    assert answers(first)


@pytest.mark.slow
def test_an_inner_block_leaves_the_outer_ones_server_running(settings: Settings) -> None:
    with server(settings) as outer:
        with server(settings) as inner:
            assert inner == outer
        assert answers(outer)
    assert not answers(outer)


@pytest.mark.slow
def test_the_block_stops_its_server_when_the_body_raises(settings: Settings) -> None:
    with pytest.raises(ZeroDivisionError), server(settings) as url:
        _ = 1 / 0
    assert not answers(url)
    assert servers_of(settings) == []


@pytest.mark.slow
def test_the_block_ends_when_every_log_and_every_task_is_recorded(settings: Settings) -> None:
    done = run(settings, MANY, cwd=settings.home)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    with server(settings) as url:
        said = {log["message"] for log in ask(url, "/logs/filter")}
        assert said >= {f"shelf {shelf}" for shelf in range(40)}
        states = [task_run["state_type"] for task_run in ask(url, "/task_runs/filter")]
        assert states == ["COMPLETED"] * 40


@pytest.mark.slow
def test_a_start_takes_over_the_server_of_a_block(settings: Settings) -> None:
    with server(settings) as url:
        assert start_server(settings) == url
    assert answers(url)


@pytest.mark.slow
def test_a_started_server_outlives_the_command_that_started_it(settings: Settings) -> None:
    out, _ = command(settings, "start").communicate(timeout=120)
    said, _ = command(settings, "status").communicate(timeout=60)
    assert out.strip() in said
    assert "until stopped" in said


@pytest.mark.parametrize("death", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_killed_process_leaves_no_server(settings: Settings, death: signal.Signals) -> None:
    with hold(settings) as (holder, url):
        assert answers(url)
        holder.send_signal(death)
        holder.wait()
        assert eventually(lambda: server_pid(settings) is None)
        assert not answers(url)
        assert servers_of(settings) == []


@pytest.mark.slow
def test_after_a_kill_the_next_block_gets_a_server_that_stays(settings: Settings) -> None:
    with hold(settings) as (holder, url):
        holder.kill()
        holder.wait()
        with server(settings) as next_url:
            assert next_url != url
            assert answers(next_url)


@pytest.mark.slow
def test_a_killed_server_is_replaced(settings: Settings) -> None:
    first = start_server(settings)
    pid = server_pid(settings)
    assert pid
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: running_server(settings) is None)
    second = start_server(settings)
    assert second != first
    assert answers(second)


def test_a_server_that_cannot_start_names_its_log_and_leaves_nothing(settings: Settings) -> None:
    for file in settings.prefect.glob("prefect.db*"):
        file.unlink()
    (settings.prefect / "prefect.db").write_text("no database at all\n" * 1000)
    with pytest.raises(WatchkeeperError, match=r"see .*/logs/prefect-server\.log"):
        start_server(settings)
    assert "file is not a database" in (settings.logs / "prefect-server.log").read_text()
    assert servers_of(settings) == []
    assert read_record(settings) is None


def test_a_shared_server_is_used_and_none_started(settings: Settings) -> None:
    settings.prefect_api_url = "https://prefect.example.com/api"
    with server(settings) as url:
        assert url == "https://prefect.example.com/api"
    with pytest.raises(WatchkeeperError, match="WATCHKEEPER_PREFECT_API_URL"):
        start_server(settings)
    assert servers_of(settings) == []


@pytest.mark.parametrize(
    "first",
    [
        pytest.param("", id="proper"),
        pytest.param("import prefect.main", id="imported-before", marks=pytest.mark.slow),
    ],
)
def test_a_flow_uses_nothing_of_the_users_prefect(started: Settings, tmp_path: Path, first: str) -> None:
    start = str(running_server(started))
    user, folder = hostile_user(tmp_path)
    before = contents(user)
    done = run(started, first + FLOW, folder.parent.name, cwd=folder, HOME=str(user), **HOSTILE)
    assert done.returncode == 0, done.stderr
    assert contents(user) == before
    assert contents(folder).keys() == {".env", "prefect.toml"}
    logs = ask(start, "/logs/filter")
    said = {f"said by the {who} {folder.parent.name}" for who in ("task", "flow")}
    assert said <= {log["message"] for log in logs}
    assert done.stdout + done.stderr == ""  # The console is for our own commands' words.


def test_the_variables_set_here_are_known_to_this_prefect(settings: Settings) -> None:
    names = [name for name in isolated_environment({}, settings) if name.startswith("PREFECT_")]
    overrides = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"}  # A path into Prefect's logging.yml.
    check = """
        import json, sys
        from prefect.settings.legacy import _get_settings_fields
        from prefect.settings.models.root import Settings
        known = _get_settings_fields(Settings)
        print(json.dumps([name for name in json.loads(sys.argv[1]) if name not in known]))
    """
    done = run(settings, check, json.dumps(names), cwd=settings.home, HOME=str(settings.home))
    assert set(json.loads(done.stdout)) == overrides, done.stderr


def hostile_user(tmp_path: Path) -> tuple[Path, Path]:
    """A user with a Prefect of their own: a profile, and settings in the folder they work in."""
    user, folder = tmp_path / "user", tmp_path / "work"
    (user / ".prefect").mkdir(parents=True)
    folder.mkdir()
    profile = '[profiles.work]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n'
    (user / ".prefect" / "profiles.toml").write_text('active = "work"\n' + profile)
    (folder / ".env").write_text("PREFECT_API_KEY=pnu_env\nPREFECT_LOGGING_TO_API_ENABLED=false\n")
    (folder / "prefect.toml").write_text("[client]\nmax_retries = 0\n[logging]\nlog_prints = true\n")
    return user, folder


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def run(
    settings: Settings, script: str, *arguments: str, cwd: Path, **more: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        cwd=cwd,
        env=environment(settings, **more),
        capture_output=True,
        text=True,
        timeout=120,
    )


@contextmanager
def hold(settings: Settings) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A process inside `with server(settings)`, until it is killed or this block ends."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=settings.home,
        env=environment(settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout
    try:
        yield holder, holder.stdout.readline().strip()
    finally:
        holder.kill()
        holder.communicate()
