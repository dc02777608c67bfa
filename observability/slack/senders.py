"""One message out: to a webhook of Slack or Discord, or by e-mail. No secret is in a word of the answer."""

import logging
import math
import re
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any, Literal, Protocol

import httpx
from pydantic import SecretStr

from observability.config import ObservabilitySettings
from observability.errors import WatchkeeperError
from observability.slack.message import Message, as_discord, as_mail, as_slack

TIMEOUT_SECONDS = 10.0
MOST_AFTER = 3600.0
"""Seconds of a Retry-After that are believed."""
OF_THE_RECEIVER = {401, 403, 404, 407, 408, 410}
"""Refusals that concern the webhook and not the message, such as Slack's `no_service`: the next message would
get the same, so this one waits until the webhook works again."""
CODE = re.compile(r"[a-z][a-z_]{2,59}")
"""Slack's word for what is wrong, such as `invalid_payload`; no other text of an answer is repeated."""


@dataclass(frozen=True)
class Answer:
    """What became of one attempt.

    Attributes:
        outcome: `refused`: this message will never be taken.
        why: in words without a secret.
        after: seconds to wait before the next attempt, where the receiver says.
    """

    outcome: Literal["delivered", "later", "refused"]
    why: str = ""
    after: float | None = None


class Sender(Protocol):
    """Where messages go."""

    def send(self, message: Message) -> Answer:
        """Try once; never raises for what the other side does."""


class WebhookSender:
    """A webhook that takes JSON.

    Args:
        url: secret as a whole.
        setting: that holds it, for the error.
        write: the message as the receiver wants it.
        timeout: seconds to connect, and again to get an answer.

    Raises:
        WatchkeeperError: no http address.
    """

    def __init__(
        self,
        url: SecretStr,
        setting: str,
        write: Callable[[Message], dict[str, Any]],
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        # They log the address of each request.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            parsed = httpx.URL(url.get_secret_value())
        except httpx.InvalidURL:
            parsed = httpx.URL()
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise WatchkeeperError(f"{setting} is no http address; copy it anew")
        self._url, self._write = url, write
        self._client = httpx.Client(timeout=timeout, trust_env=False)

    def send(self, message: Message) -> Answer:
        """Post it once."""
        try:
            answer = self._client.post(self._url.get_secret_value(), json=self._write(message))
        except httpx.HTTPError as error:  # its text has the address
            return Answer("later", type(error).__name__)
        status = answer.status_code
        if answer.is_success:
            return Answer("delivered")
        code = answer.text.strip()
        why = f"{status} {code}" if CODE.fullmatch(code) else str(status)
        if status in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
            return Answer("later", why, retry_after(answer.headers.get("retry-after", "")))
        if status < 400 or status >= 500 or status in OF_THE_RECEIVER:  # below 400: moved elsewhere
            return Answer("later", why)
        return Answer("refused", why)


def retry_after(said: str) -> float | None:
    """Seconds of a Retry-After, which are a number or a date."""
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError, TypeError):  # TypeError: a date without a zone
            return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), MOST_AFTER)


class MailSender:
    """A mail server; a password goes only through TLS."""

    def __init__(self, settings: ObservabilitySettings, timeout: float = TIMEOUT_SECONDS) -> None:
        self._settings, self._timeout = settings, timeout

    def send(self, message: Message) -> Answer:
        """Send it once."""
        settings = self._settings
        mail = EmailMessage()
        mail["From"], mail["To"] = settings.email_from, settings.email_to
        mail["Subject"], body = as_mail(message)
        mail.set_content(body)
        try:
            with smtplib.SMTP(
                settings.email_host or "", settings.email_port, timeout=self._timeout
            ) as server:
                server.ehlo()
                if server.has_extn("starttls"):
                    server.starttls(context=ssl.create_default_context())
                    server.ehlo()
                elif settings.email_password:
                    return Answer("later", "the mail server offers no STARTTLS, so it gets no password")
                if settings.email_user and settings.email_password:
                    server.login(settings.email_user, settings.email_password.get_secret_value())
                server.send_message(mail)
        except smtplib.SMTPDataError as error:
            return Answer("refused" if error.smtp_code >= 500 else "later", f"SMTP {error.smtp_code}")
        except OSError as error:  # smtplib's own errors too; their text may have the user
            code = getattr(error, "smtp_code", "")
            return Answer("later", f"{type(error).__name__} {code}".strip())
        return Answer("delivered")


def sender_of(settings: ObservabilitySettings) -> Sender | None:
    """Where the settings send messages; None where they name no address.

    Raises:
        WatchkeeperError: what they name is no address.
    """
    match settings.notifier:
        case "slack" if settings.slack_webhook:
            return WebhookSender(settings.slack_webhook, "WATCHKEEPER_SLACK_WEBHOOK", as_slack)
        case "discord" if settings.discord_webhook:
            url = SecretStr(settings.discord_webhook.get_secret_value().rstrip("/") + "/slack")
            return WebhookSender(url, "WATCHKEEPER_DISCORD_WEBHOOK", as_discord)
        case "email" if settings.email_host and settings.email_to:
            return MailSender(settings)
    return None
