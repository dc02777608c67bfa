"""An artifact waits for a server that restarts, and keeps no run from ending well."""

from typing import Any

import httpx
import pytest
from prefect import artifacts as prefects

from flows import artifacts


class Server:
    """Prefect's, which is away for so many calls; its clock goes on with each pause."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, away: float) -> None:
        self.away, self.now = away, 0.0
        self.kept: list[str] = []
        self.said: list[str] = []
        for name in ("create_table_artifact", "create_link_artifact", "create_markdown_artifact"):
            monkeypatch.setattr(prefects, name, self.create)
        monkeypatch.setattr(artifacts, "time", self)
        monkeypatch.setattr(artifacts, "get_run_logger", lambda: self)

    def create(self, key: str, **_: Any) -> None:
        self.away -= 1
        if self.away >= 0:
            raise httpx.ConnectError("refused")
        self.kept.append(key)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def warning(self, text: str, *values: object) -> None:
        self.said.append(text % values)


def test_a_server_that_comes_back_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, away=30)
    artifacts.create_table_artifact(key="a", table=[{}], description="x")
    artifacts.create_link_artifact(key="b", link="https://x", description="x")
    artifacts.create_markdown_artifact(key="c", markdown="x", description="x")
    assert server.kept == ["a", "b", "c"]
    assert server.now == 60
    assert not server.said


def test_a_server_that_stays_away_is_told_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, away=float("inf"))
    artifacts.create_table_artifact(key="a", table=[{}], description="x")
    assert server.now == pytest.approx(artifacts.PATIENCE_SECONDS, abs=2 * artifacts.PAUSE_SECONDS)
    assert server.said == ["artifact a is not kept: Prefect's server is away: refused"]


def test_what_the_server_refuses_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, away=0)

    def refuse(**_: Any) -> None:
        raise ValueError("the key is none")

    monkeypatch.setattr(prefects, "create_table_artifact", refuse)
    with pytest.raises(ValueError, match="the key is none"):
        artifacts.create_table_artifact(key="A b", table=[{}], description="x")
