"""What each probe asks of a server that answers well, wrongly or not at all; nothing secret is said."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.health import probes
from flows.health.probes import NotSetUpError
from tests.factories import free_port, settings_of
from tests.slack import PATH, SECRETS, Reply, fake_slack


class Web:
    """A server that gives what it is told by `METHOD path`, and remembers what it was asked."""

    def __init__(self, answers: dict[str, tuple[int, object]]) -> None:
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                name = f"{self.command} {self.path}"
                outer.asked.append((name, {k.lower(): v for k, v in self.headers.items()}, body))
                status, said = answers.get(name, (404, {}))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(said).encode())

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"


@contextmanager
def web(answers: dict[str, tuple[int, object]]) -> Iterator[Web]:
    made = Web(answers)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def set_to(settings: Settings, **more: Any) -> Settings:
    return settings_of(settings.home, **more)


def watched(settings: Settings) -> Settings:
    """`task watch` has run here."""
    (settings.run / "watch").mkdir(parents=True)
    (settings.run / "watch" / "prometheus.yml").touch()
    return settings


def test_the_store_is_written_read_and_left_as_it_was(settings: Settings) -> None:
    assert probes.store(settings) == "written, read and removed"
    assert list((settings.home / "staging").iterdir()) == []
    (settings.home / "staging").rmdir()
    (settings.home / "staging").touch()
    with pytest.raises(FileExistsError):
        probes.store(settings)


def test_a_lake_without_tables_and_one_that_is_damaged(settings: Settings) -> None:
    assert probes.tables(settings) == "0 tables"
    settings.lake.mkdir(parents=True)
    (settings.lake / "catalog.db").write_text("no database at all, but some words that fill it up")
    with pytest.raises(Exception, match="not a database"):
        probes.tables(settings)


def test_prefect_is_asked_with_its_login(settings: Settings) -> None:
    with web({"POST /api/flow_runs/count": (200, 1234)}) as server:
        shared = set_to(settings, prefect_api_url=f"{server.url}/api", prefect_auth_string="me:word")
        assert probes.prefect(shared) == "1,234 flow runs"
    assert server.asked[0][1]["authorization"].startswith("Basic ")
    with pytest.raises(WatchkeeperError, match="nothing answers there"):
        probes.prefect(shared)
    with pytest.raises(WatchkeeperError, match="`task server` starts one"):
        probes.prefect(settings)


IMAGE = {"input": {"kind": "image", "height": 8, "width": 8}}
ROWS = {"input": {"kind": "tabular", "features": ["height", "weight"]}}


def test_the_service_is_asked_for_a_prediction_that_is_no_traffic(settings: Settings) -> None:
    answer = {"model_version": "v1", "label": "boot"}
    with web({"GET /model": (200, IMAGE), "POST /predict": (200, answer)}) as server:
        here = set_to(settings, serve_port=server.port, serve_token="word")
        assert probes.serve(here) == "v1 answers boot"
    _, headers, body = server.asked[-1]
    assert (headers["content-type"], headers["authorization"]) == ("image/jpeg", "Bearer word")
    assert headers["x-watchkeeper-probe"]
    assert body.startswith(b"\xff\xd8")
    value = {"model_version": "v2", "value": 0.5}
    with web({"GET /model": (200, ROWS), "POST /predict": (200, value)}) as server:
        assert probes.serve(set_to(settings, serve_url=server.url)) == "v2 answers 0.5"
    assert json.loads(server.asked[-1][2]) == {"height": 0.0, "weight": 0.0}


def test_a_service_that_fails_and_one_that_nobody_wants(settings: Settings) -> None:
    with (
        web({"GET /model": (200, IMAGE), "POST /predict": (500, {})}) as server,
        pytest.raises(WatchkeeperError, match="it answers 500"),
    ):
        probes.serve(set_to(settings, serve_port=server.port))
    nobody = set_to(settings, serve_port=free_port())
    with pytest.raises(NotSetUpError, match="no champion yet"):
        probes.serve(nobody)


def test_a_champion_without_a_service(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "last_promoted", lambda _: "articles")
    nobody = set_to(settings, serve_port=free_port())
    with pytest.raises(NotSetUpError, match="no service was ever started"):
        probes.serve(nobody)
    with pytest.raises(WatchkeeperError, match=rf"127\.0\.0\.1:{nobody.serve_port}: nothing answers there"):
        probes.serve(watched(nobody))


def test_prometheus_and_statsd_once_they_are_wanted(settings: Settings) -> None:
    for ask in (probes.prometheus, probes.statsd):
        with pytest.raises(NotSetUpError, match="`task watch` has never run here"):
            ask(settings)
    watched(settings)
    with web({"GET /-/ready": (200, {})}) as server:
        here = set_to(
            settings, prometheus_port=server.port, statsd_port=server.port, prometheus_password="word"
        )
        assert probes.prometheus(here) == "ready"
        assert probes.statsd(here) == "its TCP port is open"
    assert server.asked[0][1]["authorization"].startswith("Basic ")
    with pytest.raises(WatchkeeperError, match="nothing answers there"):
        probes.prometheus(here)
    with pytest.raises(ConnectionRefusedError):
        probes.statsd(here)


def test_grafana_where_there_is_one(settings: Settings) -> None:
    with pytest.raises(NotSetUpError, match="no Grafana"):
        probes.grafana(settings)
    with web({"GET /api/health": (200, {"database": "ok"})}) as server:
        assert (
            probes.grafana(set_to(settings, pager="grafana", grafana_api_url=server.url))
            == "its database is ok"
        )
    with (
        web({"GET /api/health": (503, {})}) as server,
        pytest.raises(WatchkeeperError, match="it answers 503"),
    ):
        probes.grafana(set_to(settings, grafana_token="word", grafana_url=server.url))


def test_slack_is_asked_and_nothing_is_posted(settings: Settings) -> None:
    with pytest.raises(NotSetUpError, match="messages are only kept"):
        probes.receiver(settings)
    with fake_slack() as slack:
        here = set_to(settings, slack_webhook=slack.url)
        assert probes.receiver(here) == "Slack knows the webhook (no_text)"
        assert slack.paths == [PATH]
        assert slack.taken == []
    with pytest.raises(WatchkeeperError, match=r"^Slack: nothing answers there$"):
        probes.receiver(here)


@pytest.mark.parametrize(
    ("status", "word"),
    [(403, "invalid_token"), (404, "no_service"), (410, "gone"), (400, "x")],
)
def test_a_webhook_that_was_revoked_is_said_without_its_address(
    settings: Settings, status: int, word: str
) -> None:
    with (
        fake_slack(lambda: Reply(status, word)) as slack,
        pytest.raises(WatchkeeperError, match=f"Slack answers {status} to an empty message") as error,
    ):
        probes.receiver(set_to(settings, slack_webhook=slack.url))
    assert not [secret for secret in SECRETS if secret in str(error.value)]


def test_discord_is_looked_at(settings: Settings) -> None:
    with web({"GET /api/webhooks/1/secret": (200, {})}) as server:
        url = SecretStr(f"{server.url}/api/webhooks/1/secret/")
        here = set_to(settings, notifier="discord", discord_webhook=url)
        assert probes.receiver(here) == "Discord knows the webhook"
    with pytest.raises(WatchkeeperError, match=r"^Discord: nothing answers there$"):
        probes.receiver(here)
