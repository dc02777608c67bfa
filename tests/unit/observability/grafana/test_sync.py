"""The sync brings a running Grafana to what is wanted, says what it does, and a second time does nothing."""

import socket
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

from observability.config import ObservabilitySettings
from observability.errors import WatchkeeperError
from observability.grafana import sync as command
from observability.grafana.client import Grafana
from observability.grafana.source import Source, source
from observability.grafana.sync import sync
from tests.grafana.description import complaints, description
from tests.grafana.fake import TOKEN, FakeGrafana
from tests.grafana.server import running

WEBHOOK = SecretStr("https://hooks.slack.test/services/SECRET")
WANTED = source(ObservabilitySettings.model_construct(), WEBHOOK)


@pytest.fixture
def fake() -> Iterator[FakeGrafana]:
    with running(FakeGrafana()) as one:
        yield one
    assert one.wrong == []


@pytest.mark.skipif(description() is None, reason="Grafana's description is not at hand")
def test_the_description_would_say_what_is_wrong() -> None:
    path = "/api/v1/provisioning/alert-rules"
    rule = WANTED.rules[0]
    assert complaints("POST", path, rule, 201, rule) == []
    assert complaints("POST", path, {**rule, "for": 300}, 201, rule)
    assert complaints("POST", path, rule, 201, {**rule, "noDataState": "Fine"})
    assert complaints("POST", path, None, 201, rule)
    assert complaints("PATCH", path, rule, 200, rule) == [f"PATCH {path}: there is no such call"]


def push(fake: FakeGrafana, wanted: Source = WANTED, dry: bool = False, secrets: bool = False) -> None:
    """One run; `fake.asked` is of it alone."""
    fake.asked.clear()
    sync(Grafana(fake.url, SecretStr(TOKEN), WEBHOOK), wanted, dry, secrets)


def test_the_first_run_makes_everything_and_the_second_writes_nothing(
    fake: FakeGrafana, capsys: pytest.CaptureFixture[str]
) -> None:
    push(fake)
    assert set(fake.rules) == {rule["uid"] for rule in WANTED.rules}
    assert set(fake.intervals.values()) == {10}
    assert len(fake.dashboards) == 6
    assert fake.policies["receiver"] == "watchkeeper-relay"
    assert fake.secrets["watchkeeper-slack"]["url"] == WEBHOOK.get_secret_value()
    said = capsys.readouterr().out
    assert "create alert rule watchkeeper-ServiceDown\n" in said
    push(fake)
    assert fake.written == []
    assert capsys.readouterr().out == f"{fake.url}: no change\n"


def test_a_dry_run_says_what_differs_and_the_run_mends_it(
    fake: FakeGrafana, capsys: pytest.CaptureFixture[str]
) -> None:
    push(fake)
    fake.dashboards["watchkeeper-nodes"]["panels"][1]["title"] = "Mine"
    fake.rules["watchkeeper-NodeDiskFull"]["labels"]["severity"] = "info"
    fake.rules["watchkeeper-NodeDiskFull"]["labels"]["mine"] = "too"
    fake.intervals["node"] = 60
    fake.policies["repeat_interval"] = "1m"
    fake.folders["watchkeeper"]["title"] = "Theirs"
    fake.data_sources["prometheus"]["url"] = "http://elsewhere"
    capsys.readouterr()
    push(fake, dry=True)
    assert fake.written == []
    assert capsys.readouterr().out == (
        "change folder watchkeeper\n"
        '  title: "Theirs" -> "Watchkeeper"\n'
        "change data source prometheus\n"
        '  url: "http://elsewhere" -> "http://127.0.0.1:9090"\n'
        "change notification policies\n"
        '  repeat_interval: "1m" -> "4h"\n'
        "change dashboard watchkeeper-nodes\n"
        '  dashboard.panels[1].title: "Mine" -> "Processor time used"\n'
        "change alert rule watchkeeper-NodeDiskFull\n"
        '  labels.mine: "too" -> nothing\n'
        '  labels.severity: "info" -> "page"\n'
        "change rule group node\n"
        "  interval: 60 -> 10\n"
        f"{fake.url}: 6 changes; nothing was written\n"
    )
    push(fake)
    assert fake.rules["watchkeeper-NodeDiskFull"]["labels"] == {"severity": "page", "owner": "platform"}
    push(fake, dry=True)
    assert capsys.readouterr().out.endswith("no change\n")


def test_what_is_no_longer_wanted_is_deleted_and_what_is_not_ours_stays(fake: FakeGrafana) -> None:
    push(fake)
    fake.rules["theirs"] = {**fake.rules["watchkeeper-NodeDiskFull"], "uid": "theirs"}
    fake.points["theirs"] = {**fake.points["watchkeeper-relay"], "uid": "theirs", "name": "theirs"}
    fake.dashboards["theirs"] = {**fake.dashboards["watchkeeper-nodes"], "uid": "theirs"}
    fewer = replace(
        source(ObservabilitySettings.model_construct(), None),
        rules=[rule for rule in WANTED.rules if rule["title"] != "NodeClockSkew"],
        dashboards=[board for board in WANTED.dashboards if board["uid"] != "watchkeeper-nodes"],
    )
    push(fake, fewer)
    gone = [path.rpartition("/")[2] for method, path in fake.written if method == "DELETE"]
    assert gone == ["watchkeeper-NodeClockSkew", "watchkeeper-nodes", "watchkeeper-slack"]
    assert "watchkeeper-NodeClockSkew" not in fake.rules
    assert "theirs" in fake.rules
    assert "theirs" in fake.points
    assert "theirs" in fake.dashboards
    push(fake, fewer)
    assert fake.written == []


def test_a_mute_timing_that_is_in_use_goes_after_the_policy(fake: FakeGrafana) -> None:
    push(fake)
    policies = {**WANTED.policies, "routes": WANTED.policies["routes"][:1]}
    push(fake, replace(WANTED, mute_timings=[], policies=policies))
    assert fake.mute_timings == {}


def test_secrets_are_sent_anew_when_asked(fake: FakeGrafana, capsys: pytest.CaptureFixture[str]) -> None:
    push(fake)
    fake.secrets["watchkeeper-slack"]["url"] = "https://an.old/one"
    push(fake)
    assert fake.written == []
    push(fake, secrets=True)
    assert [path.rpartition("/")[2] for _, path in fake.written] == ["watchkeeper-slack"]
    assert fake.secrets["watchkeeper-slack"]["url"] == WEBHOOK.get_secret_value()
    assert "change contact point watchkeeper-slack\n  its secrets, anew\n" in capsys.readouterr().out


def test_no_proxy_is_asked_for_a_grafana_on_this_machine(
    fake: FakeGrafana, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    push(fake, dry=True)
    assert fake.asked


def test_a_bad_token_is_said_without_it(fake: FakeGrafana) -> None:
    fake.token = "another"
    with pytest.raises(WatchkeeperError, match="refuses the token; set WATCHKEEPER_GRAFANA_TOKEN") as error:
        push(fake)
    assert TOKEN not in str(error.value)


def test_a_token_without_rights_is_said(fake: FakeGrafana) -> None:
    fake.refuses["/api/folders/watchkeeper"] = 403, {"message": "Access denied"}
    with pytest.raises(WatchkeeperError, match=r"may not GET /folders/watchkeeper; give .* the role Admin"):
        push(fake)


def test_a_server_that_is_not_there_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(WatchkeeperError, match=rf"{url} is not reached \(ConnectionError\)"):
            sync(Grafana(url, SecretStr(TOKEN)), WANTED)


@pytest.mark.parametrize("page", [b"<html>a message to you</html>", b"<html>sign in</html>"])
@pytest.mark.parametrize("status", [200, 502])
def test_a_server_that_is_no_grafana_is_said(fake: FakeGrafana, page: bytes, status: int) -> None:
    fake.refuses["/api/folders/watchkeeper"] = status, page
    with pytest.raises(WatchkeeperError, match=r"does not answer as a Grafana does|Server Error 502"):
        push(fake)


@pytest.mark.parametrize("url", ["127.0.0.1:3001", "", "ftp://grafana"])
def test_an_address_that_is_none_is_said(url: str) -> None:
    with pytest.raises(WatchkeeperError, match="WATCHKEEPER_GRAFANA_URL"):
        Grafana(url, SecretStr(TOKEN))


def test_an_address_keeps_its_path_and_shows_no_password() -> None:
    assert (
        Grafana("https://me:word@grafana.test:8443/below/", SecretStr("x")).url
        == "https://grafana.test:8443/below"
    )


def test_what_came_from_files_is_refused_before_anything_is_written(fake: FakeGrafana) -> None:
    push(fake)
    fake.provision()
    push(fake)  # it is as it is to be
    fake.rules["watchkeeper-FlowFailed"]["for"] = "1h"
    fake.dashboards["watchkeeper-nodes"]["title"] = "Mine"
    del fake.rules["watchkeeper-FlowLate"]
    for dry in (True, False):
        with pytest.raises(
            WatchkeeperError, match=r"dashboard watchkeeper-nodes and 1 more came from its provisioning files"
        ):
            push(fake, dry=dry)
        assert fake.written == []


def test_a_tree_that_sends_to_others_is_not_replaced(fake: FakeGrafana) -> None:
    fake.policies = {"receiver": "team-a", "routes": [{"receiver": "team-b"}, {"receiver": "empty"}]}
    with pytest.raises(WatchkeeperError, match="policies send to team-a, team-b, which is not ours"):
        push(fake)
    assert fake.written == []


def test_a_secret_that_grafana_repeats_is_not_shown(fake: FakeGrafana) -> None:
    fake.refuses["/api/v1/provisioning/contact-points"] = (
        400,
        {"message": f"bad: {WEBHOOK.get_secret_value()}"},
    )
    with pytest.raises(WatchkeeperError, match=r"bad: \[REDACTED\]"):
        push(fake)


def run(monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    monkeypatch.setattr(sys, "argv", ["sync", "--dry-run"])
    for name, value in environment.items():
        monkeypatch.setenv(f"WATCHKEEPER_{name}", value)
    command.main()


def test_the_command_reads_the_settings(fake: FakeGrafana, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, GRAFANA_URL=fake.url, GRAFANA_TOKEN=TOKEN)
    assert fake.asked
    assert fake.written == []


def test_the_command_says_what_token_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHKEEPER_GRAFANA_TOKEN", raising=False)
    with pytest.raises(
        WatchkeeperError, match="WATCHKEEPER_GRAFANA_TOKEN is not there; make a service account"
    ):
        run(monkeypatch)
