"""What a person sees while a command works: bars in a terminal, lines elsewhere, nothing in a worker."""

import re

import pytest

from flows.console import Reporter, mebibytes, no_log, no_progress

STEP = re.compile(r"^hm\.articles · land {2,}\d+\.\d s$", re.MULTILINE)


def test_a_worker_sees_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter().step("hm.articles · land") as on_progress:
        on_progress(1, 2)
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_each_step_is_a_line_once_it_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    with reporter.shown():
        with reporter.step("hm.articles · land") as on_progress:
            on_progress(1, 2)
            assert capsys.readouterr() == ("", "")
        out, err = capsys.readouterr()
        assert out == ""  # standard output is for answers
        assert STEP.fullmatch(err.rstrip("\n"))


def test_a_quiet_command_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    with reporter.shown(quiet=True), reporter.step("hm.articles · land"):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_step_that_fails_is_not_told_as_done_and_its_error_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reporter = Reporter()
    with pytest.raises(ZeroDivisionError), reporter.shown(), reporter.step("hm.articles · land"):
        raise ZeroDivisionError
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("terminal", [False, True])
def test_the_reporter_is_silent_again_after_its_block_however_that_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    reporter = Reporter()
    with pytest.raises(ZeroDivisionError), reporter.shown():
        raise ZeroDivisionError
    capsys.readouterr()
    with reporter.step("hm.articles · land"):
        pass
    assert capsys.readouterr() == ("", "")


def test_in_a_terminal_a_bar_shows_what_is_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    reporter = Reporter()
    with reporter.shown():
        with reporter.step("hm.articles · land") as on_progress:
            on_progress(3, 7)
        with reporter.step("hm.articles · spark") as on_progress:
            on_progress(5, 40)
            on_progress(40, 30)  # Spark forgets stages: the total never shrinks
    out, err = capsys.readouterr()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err)
    assert out == ""
    assert re.search(r"hm\.articles · land .*7/7", shown)
    assert re.search(r"hm\.articles · spark .*40/40", shown)
    assert not STEP.search(shown)


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 KiB"),
        (1536, "2 KiB"),
        (2**20 - 1, "1,024 KiB"),
        (2**20, "1.0 MiB"),
        (3 * 2**19, "1.5 MiB"),
        (5 * 2**40, "5,242,880.0 MiB"),
    ],
)
def test_a_size_is_told_for_people(count: int, said: str) -> None:
    assert mebibytes(count) == said


def test_progress_and_logs_may_go_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    no_progress(1, 2)
    no_log("x")
    assert capsys.readouterr() == ("", "")
