"""One attempt: what an answer means, and that no secret leaves by another way than its own."""

import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import SecretStr

from observability.config import ObservabilitySettings
from observability.errors import WatchkeeperError
from observability.slack.message import Message, Part, as_slack
from observability.slack.senders import WebhookSender, retry_after, sender_of
from tests.factories import free_port
from tests.slack import PATH, SECRETS, Reply, fake_slack

MESSAGE = Message("It broke", [Part("#d40e0d", "", "Here.\n.", {"runbook": "http://h/x.md"})])


def settings(**more: Any) -> ObservabilitySettings:
    return ObservabilitySettings(_env_file=None, **more)  # type: ignore[call-arg]


def webhook(url: str, timeout: float = 5) -> WebhookSender:
    return WebhookSender(SecretStr(url), "WATCHKEEPER_SLACK_WEBHOOK", as_slack, timeout)


def test_slack_gets_the_message_as_it_wants_it() -> None:
    with fake_slack() as slack:
        sender = sender_of(settings(slack_webhook=slack.url))
        assert sender is not None
        assert sender.send(MESSAGE).outcome == "delivered"
        assert slack.taken == [as_slack(MESSAGE)]


def test_discord_gets_it_at_its_own_address_without_blocks() -> None:
    with fake_slack() as slack:
        sender = sender_of(settings(notifier="discord", discord_webhook=f"{slack.url}/"))
        assert sender is not None
        assert sender.send(MESSAGE).outcome == "delivered"
        assert slack.paths == [f"{PATH}/slack"]
        (sent,) = slack.taken
    assert sent == {
        "text": "It broke",
        "attachments": [{"color": "#d40e0d", "text": "Here.\n.\n[runbook](http://h/x.md)"}],
    }


@pytest.mark.parametrize(
    ("reply", "outcome", "why", "after"),
    [
        (Reply(204, ""), "delivered", "", None),
        (Reply(429, headers={"retry-after": "30"}), "later", "429", 30),
        (Reply(429, "rate_limited", {"retry-after": "86400"}), "later", "429 rate_limited", 3600),
        (Reply(429), "later", "429", None),
        (Reply(500), "later", "500", None),
        (Reply(503, "service_unavailable"), "later", "503 service_unavailable", None),
        (Reply(503, headers={"retry-after": "30"}), "later", "503", 30),
        (Reply(302, headers={"location": "http://127.0.0.1:1/"}), "later", "302", None),
        (Reply(403, "invalid_token"), "later", "403 invalid_token", None),
        (Reply(404, "no_service"), "later", "404 no_service", None),
        (Reply(410, "channel_is_archived"), "later", "410 channel_is_archived", None),
        (Reply(400, "invalid_payload"), "refused", "400 invalid_payload", None),
        (Reply(413), "refused", "413", None),
        (Reply(400, f"no hook {PATH} here"), "refused", "400", None),
        (Reply(instead="reset"), "later", "ReadError", None),
        (Reply(instead="hang"), "later", "ReadTimeout", None),
    ],
)
def test_what_an_answer_means(reply: Reply, outcome: str, why: str, after: float | None) -> None:
    with fake_slack(lambda: reply) as slack:
        answer = webhook(slack.url, timeout=0.5).send(MESSAGE)
    assert (answer.outcome, answer.after) == (outcome, after)
    if reply.instead == "reset":  # seen while reading or already while writing
        assert answer.why in ("ReadError", "WriteError", "RemoteProtocolError")
    else:
        assert answer.why == why


def test_nobody_there_is_no_end() -> None:
    answer = webhook(f"http://127.0.0.1:{free_port()}{PATH}").send(MESSAGE)
    assert (answer.outcome, answer.why) == ("later", "ConnectError")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0", 0),
        ("1.5", 1.5),
        ("-3", 0),
        ("1e9", 3600),
        ("inf", 3600),
        ("nan", None),
        ("", None),
        ("soon", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
    ],
)
def test_how_long_to_wait(said: str, seconds: float | None) -> None:
    assert retry_after(said) == seconds


def test_how_long_to_wait_as_a_date() -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < (retry_after(in_a_minute) or 0) <= 60
    assert retry_after("Sun, 06 Nov 1994 08:49:37 GMT") == 0
    assert retry_after("Sun, 06 Nov 1994 08:49:37") is None


def test_a_proxy_of_the_environment_learns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with fake_slack() as slack:
        assert webhook(slack.url).send(MESSAGE).outcome == "delivered"


@pytest.mark.parametrize(
    "reply",
    [Reply(), Reply(404, "no_service"), Reply(400, PATH), Reply(instead="reset"), Reply(instead="hang")],
)
def test_the_webhook_is_in_no_log_and_no_word(reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with fake_slack(lambda: reply) as slack:
        sender = webhook(slack.url, timeout=0.5)
        said = [repr(sender), str(vars(sender)), repr(sender.send(MESSAGE)), caplog.text]
    assert not [secret for secret in SECRETS for text in said if secret in text]


@pytest.mark.parametrize(
    "url",
    ["hooks.slack.com/T0SECRET", "ftp://h/T0SECRET", "http://", "http://h\n/T0SECRET", "http://h:x/T0SECRET"],
)
@pytest.mark.parametrize("notifier", ["slack", "discord"])
def test_what_is_no_address_is_named_by_its_setting_alone(url: str, notifier: str) -> None:
    given = settings(notifier=notifier, slack_webhook=url, discord_webhook=url)
    with pytest.raises(WatchkeeperError) as refused:
        sender_of(given)
    assert str(refused.value) == f"WATCHKEEPER_{notifier.upper()}_WEBHOOK is no http address; copy it anew"
    assert refused.value.__context__ is None
    assert "T0SECRET" not in repr(given)


@pytest.mark.parametrize("notifier", ["slack", "discord", "email"])
def test_without_an_address_there_is_no_sender(notifier: str) -> None:
    assert sender_of(settings(notifier=notifier)) is None
