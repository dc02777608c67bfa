"""A command ends with one line and a code; only a defect of ours shows a stack trace."""

import errno
import subprocess
import sys

import pytest

from flows.config import CHECKOUT
from flows.errors import WatchkeeperError, in_words, run_command


def ended(capsys: pytest.CaptureFixture[str], outcome: int | BaseException | None) -> tuple[object, str, str]:
    """The exit code of a command that returns or raises this, and what it printed."""

    def main() -> int | None:
        print("at work")
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    with pytest.raises(SystemExit) as left:
        run_command(main)
    said = capsys.readouterr()
    return left.value.code, said.out, said.err


@pytest.fixture(autouse=True)
def no_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHKEEPER_DEBUG", raising=False)


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3)])
def test_a_command_ends_with_what_it_returns(
    capsys: pytest.CaptureFixture[str], returned: int | None, code: int
) -> None:
    assert ended(capsys, returned) == (code, "at work\n", "")


def test_a_users_mistake_is_one_line_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    error = WatchkeeperError("no data set 'x': contracts exist for hm")
    assert ended(capsys, error) == (2, "at work\n", "error: no data set 'x': contracts exist for hm\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/srv/lake/a.parquet"),
            "/srv/lake/a.parquet: no space left on the device; free some and run again",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/srv"),
            "/srv: permission denied; run as a user who may",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/srv"),
            "/srv: the file system is read-only; set WATCHKEEPER_HOME",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "a file: no space left on the device"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"),
            "[Errno 2] No such file or directory: '/x'",
        ),
    ],
)
def test_the_operating_systems_refusals_have_their_remedy(
    capsys: pytest.CaptureFixture[str], error: OSError, said: str
) -> None:
    assert in_words(error).startswith(said)
    code, _, printed = ended(capsys, error)
    assert code == 2
    assert printed.startswith(f"error: {said}")
    assert printed.count("\n") == 1


def test_an_interrupt_is_silent_and_has_the_shells_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(capsys, KeyboardInterrupt()) == (130, "at work\n", "")


def test_a_defect_is_not_dressed_up() -> None:
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(main)


def test_debugging_shows_the_stack_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def main() -> None:
        raise WatchkeeperError("x")

    monkeypatch.setenv("WATCHKEEPER_DEBUG", "1")
    with pytest.raises(WatchkeeperError):
        run_command(main)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    text = "from flows.errors import run_command\nrun_command(lambda: print('x\\n' * 1_000_000))"
    with subprocess.Popen(
        [sys.executable, "-c", text], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"x\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
