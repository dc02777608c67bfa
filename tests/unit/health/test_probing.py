"""Probes side by side: one that hangs or breaks holds up none, and what was found is kept whole."""

import smtplib
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.health.collectors import probes
from flows.health.probes import PROBES, NotSetUpError, Probe
from flows.health.probing import Result, ask_all, file_of, read, write
from observability.metrics import PROBE_SECONDS, PROBE_TIME, PROBE_UP
from tests.said import Said


def raises(error: Exception) -> Callable[[Settings], str]:
    def ask(_: Settings) -> str:
        raise error

    return ask


@pytest.mark.parametrize(
    ("error", "outcome", "said"),
    [
        (NotSetUpError("no champion yet"), "skipped", "no champion yet"),
        (WatchkeeperError("it answers 500"), "failing", "it answers 500"),
        (
            OSError(28, "No space left", "/home/x"),
            "failing",
            "[Errno 28] No space left: '/home/x'",
        ),
        (smtplib.SMTPAuthenticationError(535, b"user me@example.com"), "failing", "SMTPAuthenticationError"),
        (httpx.ConnectError("https://hooks.example/secret"), "failing", "ConnectError"),
        (KeyError("secret"), "failing", "KeyError"),
    ],
)
def test_whatever_a_probe_raises_is_its_result(
    settings: Settings, error: Exception, outcome: str, said: str
) -> None:
    (result,) = ask_all(settings, [Probe("store", raises(error))])
    assert (result.outcome, result.said) == (outcome, said)


def test_one_that_hangs_is_failing_and_holds_up_no_other(settings: Settings) -> None:
    over = threading.Event()
    together = threading.Barrier(2)

    def meets(_: Settings) -> str:
        together.wait(30)  # only where both are asked at once
        return "here"

    def hangs(_: Settings) -> str:
        over.wait(60)
        return "too late"

    asked = [Probe("serve", hangs, 0.2), Probe("store", meets, 30), Probe("tables", meets, 30)]
    try:
        serve, store, tables = ask_all(settings, asked)
    finally:
        over.set()
    assert (serve.outcome, serve.said) == ("failing", "no answer within 0.2 s")
    assert {store.outcome, tables.outcome} == {"good"}


def test_what_was_found_is_kept_and_told(settings: Settings) -> None:
    assert read(settings) is None
    assert list(probes(settings)) == []
    found = [
        Result("store", "good", 0.1, "written"),
        Result("serve", "failing", 0.2, "it answers 500"),
        Result("grafana", "skipped", 0.0, "none"),
    ]
    write(settings, found, 1000.5)
    assert read(settings) == (1000.5, found)
    assert [path.name for path in settings.run.iterdir()] == ["health.json"]
    told = Said(probes(settings))
    assert told.of(PROBE_TIME) == 1000.5
    assert [told.of(PROBE_UP, probe=name) for name in ("store", "serve", "grafana")] == [1, 0, None]
    assert [told.of(PROBE_SECONDS, probe=name) for name in ("store", "serve", "grafana")] == [0.1, 0.2, None]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"when": 1, "results": [{"probe": "x"}]}'])
def test_a_file_that_is_not_ours_is_named(settings: Settings, text: str) -> None:
    path: Path = file_of(settings)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(WatchkeeperError, match=r"health\.json is not what `task health` writes; remove it"):
        list(probes(settings))


def test_every_probe_is_a_value_of_the_label() -> None:
    assert tuple(probe.name for probe in PROBES) == PROBE_UP.labels["probe"]
