"""By e-mail: the same message, and a password that leaves through TLS or not at all."""

import ipaddress
import logging
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from observability.config import ObservabilitySettings
from observability.slack.message import Message, Part
from observability.slack.senders import MailSender, sender_of
from tests.factories import free_port

MESSAGE = Message("It broke", [Part("#d40e0d", "", "Here.\n.", {"runbook": "http://h/x.md"})])
PASSWORD = "word-of-the-mail-server"
LOGIN: dict[str, Any] = {"email_user": "me", "email_password": PASSWORD}


class Post:
    """A mail server, one conversation at a time; `replies` by their word instead of what is usual."""

    def __init__(self, listener: socket.socket, features: Sequence[str], replies: Mapping[str, str]) -> None:
        self.listener, self.features, self.replies = listener, features, replies
        self.port = listener.getsockname()[1]
        self.certificate: Path | None = None
        self.said: list[str] = []
        self.mails: list[str] = []

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                if self.converse(connection, "220 here"):
                    with suppress(OSError):  # who does not believe the certificate
                        self.behind_tls(connection)

    def behind_tls(self, connection: socket.socket) -> None:
        assert self.certificate is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        with context.wrap_socket(connection, server_side=True) as safe:
            self.said.append("(safe)")
            self.converse(safe)

    def converse(self, connection: socket.socket, greeting: str = "") -> bool:
        """Whether it goes on behind TLS."""
        with connection.makefile("rwb") as lines:

            def reply(*texts: str) -> None:
                lines.write("".join(f"{text}\r\n" for text in texts).encode())
                lines.flush()

            if greeting:
                reply(greeting)
            for line in lines:
                said = line.decode().strip()
                self.said.append(said)
                word = said.split()[0].upper()
                if word in self.replies:
                    reply(self.replies[word])
                elif word == "EHLO":
                    *others, last = ["here", *self.features]
                    reply(*(f"250-{feature}" for feature in others), f"250 {last}")
                elif word == "STARTTLS":
                    reply("220 go on")
                    return True
                elif word == "DATA":
                    reply("354 go on")
                    self.mails.append(b"".join(iter(lines.readline, b".\r\n")).decode())
                    reply(self.replies.get("END", "250 taken"))
                elif word == "QUIT":
                    reply("221 bye")
                    return False
                else:
                    reply("235 ok" if word == "AUTH" else "250 ok")
        return False


@contextmanager
def post(features: Sequence[str] = (), replies: Mapping[str, str] | None = None) -> Iterator[Post]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Post(listener, features, replies or {})
        thread = threading.Thread(target=made.serve, daemon=True)
        thread.start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, by itself, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=True
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem)
    )
    return path


def settings(port: int, **more: Any) -> ObservabilitySettings:
    given: dict[str, Any] = {"notifier": "email", "email_host": "127.0.0.1", "email_port": port}
    given["email_to"] = "a@h.example"
    return ObservabilitySettings(_env_file=None, **given | more)  # type: ignore[call-arg]


def test_a_message_by_mail() -> None:
    with post() as server:
        sender = sender_of(settings(server.port))
        assert isinstance(sender, MailSender)
        assert sender.send(MESSAGE).outcome == "delivered"
    (mail,) = server.mails
    assert "Subject: It broke\r\n" in mail
    assert "To: a@h.example\r\n" in mail
    assert "runbook: http://h/x.md" in mail


def test_a_password_is_not_sent_in_the_clear(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with post(["AUTH PLAIN LOGIN"]) as server:
        answer = MailSender(settings(server.port, **LOGIN)).send(MESSAGE)
    assert answer.outcome == "later"
    assert "no STARTTLS" in answer.why
    assert not server.mails
    assert not [said for said in server.said if said.upper().startswith("AUTH")]
    assert PASSWORD not in caplog.text + repr(answer) + repr(settings(1, **LOGIN))


def test_starttls_is_taken_where_it_is_offered_and_the_password_goes_behind_it(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with post(["STARTTLS", "AUTH PLAIN"]) as server:
        server.certificate = certificate
        assert MailSender(settings(server.port, **LOGIN)).send(MESSAGE).outcome == "delivered"
    assert len(server.mails) == 1
    assert [said.split()[0] for said in server.said][:5] == ["ehlo", "STARTTLS", "(safe)", "ehlo", "AUTH"]


def test_a_certificate_that_nobody_vouches_for_gets_no_password(certificate: Path) -> None:
    with post(["STARTTLS", "AUTH PLAIN"]) as server:
        server.certificate = certificate
        answer = MailSender(settings(server.port, **LOGIN)).send(MESSAGE)
    assert (answer.outcome, answer.why) == ("later", "SSLCertVerificationError")
    assert not server.mails
    assert "(safe)" not in server.said


@pytest.mark.parametrize(
    ("replies", "outcome", "why"),
    [
        ({"END": "554 no"}, "refused", "SMTP 554"),
        ({"END": "451 not now"}, "later", "SMTP 451"),
        ({"MAIL": "550 who"}, "later", "SMTPSenderRefused 550"),
        ({"RCPT": "550 who"}, "later", "SMTPRecipientsRefused"),
    ],
)
def test_what_a_mail_server_means(replies: dict[str, str], outcome: str, why: str) -> None:
    with post(replies=replies) as server:
        answer = MailSender(settings(server.port)).send(MESSAGE)
    assert (answer.outcome, answer.why) == (outcome, why)


def test_no_mail_server_there_is_no_end() -> None:
    answer = MailSender(settings(free_port()), timeout=1).send(MESSAGE)
    assert (answer.outcome, answer.why) == ("later", "ConnectionRefusedError")
