"""The Prefect server that belongs to a home: `python -m flows.server start|stop|status|ui|deploy`.

It promises one server a home however many ask at once, on the loopback only, and none left behind:
the one of `start` runs until `stop`, the one of `with server(settings)` ends with the block, or
with the process that the block was in.
"""

import argparse
import os
import socket
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from flows.config import Settings, load_settings
from flows.errors import WatchkeeperError, run_command
from flows.prefect_env import flush_prefect
from flows.server_record import (
    ServerRecord,
    is_orphan,
    one_at_a_time,
    printable,
    read_record,
    remove_record,
    running_server,
    server_pid,
    write_record,
)
from flows.server_spawn import becomes_healthy, end, log_file, spawn

__all__ = ["running_server", "server", "start_server", "stop_server"]


def start_server(settings: Settings) -> str:
    """Start this home's server unless it runs, to stay until it is stopped; give its API URL.

    One that runs for another process's duration is taken over and stays.

    Raises:
        WatchkeeperError: a shared server is configured, or ours does not become healthy.
    """
    record, _ = _ensure(settings, owner=None)
    return record.url


def stop_server(settings: Settings) -> bool:
    """Stop this home's server, healthy or not; say whether there was one."""
    with one_at_a_time(settings):
        return _stop(settings)


@contextmanager
def server(settings: Settings) -> Iterator[str]:
    """Give the API URL of the shared server, of the one that runs, or of one for this block.

    Call `apply_prefect_environment(settings)` inside the block, before `import prefect`. Who finds
    the server of another's block running uses it, and loses it when that block ends.
    """
    if settings.prefect_api_url:
        yield settings.prefect_api_url
        return
    record, started = _ensure(settings, owner=os.getpid())
    try:
        yield record.url
    finally:
        if started:
            flush_prefect()
            _stop_if_still_ours(settings)


def _stop_if_still_ours(settings: Settings) -> None:
    with one_at_a_time(settings):
        record = read_record(settings)
        if record and record.owner == os.getpid():
            _stop(settings)


def _ensure(settings: Settings, owner: int | None) -> tuple[ServerRecord, bool]:
    if settings.prefect_api_url:
        raise WatchkeeperError(
            "WATCHKEEPER_PREFECT_API_URL names a shared Prefect server, so this home needs none of"
            " its own; unset it to use one"
        )
    with one_at_a_time(settings):
        record = _found(settings)
        if record is None:
            return _launch(settings, owner), True
        if owner is None and record.owner is not None:
            record = replace(record, owner=None)
            write_record(settings, record)
        return record, False


def _found(settings: Settings) -> ServerRecord | None:
    record = read_record(settings)
    if record is None or server_pid(settings) is None or is_orphan(record):
        return None
    # It may be dying as we look: then there is none.
    healthy = becomes_healthy(settings, record.url, lambda: server_pid(settings) is None)
    return record if healthy else None


def _launch(settings: Settings, owner: int | None) -> ServerRecord:
    _stop(settings)  # An orphan: it is ending by itself, and must have ended before we begin.
    with socket.socket() as bound:
        # Bound here and handed over: a port only looked up may be taken when the server binds.
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        process = spawn(settings, bound)
    record = ServerRecord(process.pid, f"http://127.0.0.1:{port}/api", port, owner)
    try:
        if not becomes_healthy(settings, record.url, lambda: process.poll() is not None):
            see = f"see {log_file(settings)}"
            raise WatchkeeperError(f"the Prefect server ended while it started; {see}")
        write_record(settings, record)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.returncode = 0  # `_stop` waits for it, maybe elsewhere; this object need not warn.
    return record


def _stop(settings: Settings) -> bool:
    pid = server_pid(settings)
    if pid is not None:
        end(pid, lambda: server_pid(settings) is None)
    remove_record(settings)
    return pid is not None


def main() -> int:
    """Run one command of the server's."""
    arguments = _parser().parse_args()
    settings = load_settings()
    match arguments.command:
        case "start":
            print(start_server(settings))
        case "stop":
            print("stopped" if stop_server(settings) else "not running")
        case "status":
            return _print_status(settings)
        case "ui":
            _print_ui(settings, arguments.open)
        case "deploy":
            from flows.deploy import deploy

            _chosen_server(settings)
            deploy(settings)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flows.server", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start", help="start it unless it runs, and print its API URL")
    commands.add_parser("stop", help="stop it")
    commands.add_parser("status", help="say whether it runs; exit code 1 if it does not")
    ui = commands.add_parser("ui", help="start it unless it runs, and print the URL of its UI")
    ui.add_argument("--open", action="store_true", help="open it in a browser")
    commands.add_parser("deploy", help="start it unless it runs, and deploy all of prefect.yaml")
    return parser


def _chosen_server(settings: Settings) -> str:
    return settings.prefect_api_url or start_server(settings)


def _print_status(settings: Settings) -> int:
    record = read_record(settings)
    if record is None or running_server(settings) is None:
        print(f"not running; home {settings.home}")
        return 1
    until = f"until process {record.owner} ends" if record.owner else "until stopped"
    print(f"running at {record.url}, process {record.pid}, {until}; log {log_file(settings)}")
    return 0


def _print_ui(settings: Settings, browse: bool) -> None:
    url = printable(_chosen_server(settings).removesuffix("/api"))
    print(url)
    if browse:
        webbrowser.open(url)


if __name__ == "__main__":
    run_command(main)
