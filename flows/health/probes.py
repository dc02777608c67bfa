"""What the health flow asks: one plain function a dependency, which gives what it saw or raises.

What is not set up in this home raises `NotSetUpError`: that is neither good nor bad. No answer has a secret.
"""

import io
import smtplib
import socket
import ssl
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from PIL import Image
from pydantic import SecretStr

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl.lake import Lake
from flows.prefect_env import authorization
from flows.server import running_server
from flows.server_record import printable
from observability.config import USER
from services.bento.registry import last_promoted
from services.bento.store import open_store

GOOD_WORDS = {"no_text", "invalid_payload", "missing_text_or_fallback_or_attachments"}
"""What Slack answers to an empty message where the webhook is good: nothing is posted."""
PROBE_HEADER = {"x-watchkeeper-probe": "1"}
"""Keeps a prediction out of the prediction log: a picture that we drew is no traffic."""


class NotSetUpError(Exception):
    """There is nothing to ask."""


@dataclass(frozen=True)
class Probe:
    """One dependency.

    Attributes:
        name: of the label; that of Prometheus's job or of the exporter's collector where one says the same.
        ask: says what it saw.
        seconds: that it gets.
    """

    name: str
    ask: Callable[[Settings], str]
    seconds: float = 10.0


def prefect(settings: Settings) -> str:
    """Prefect's API, down to its database."""
    url = settings.prefect_api_url or running_server(settings)
    if url is None:
        raise WatchkeeperError("no Prefect server answers; `task server` starts one")
    with asking(url, printable(url), headers=authorization(settings)) as client:
        return f"{good(client.post('/flow_runs/count', json={})).json():,} flow runs"


def tables(settings: Settings) -> str:
    """The lake's catalog."""
    return f"{len(Lake(settings).tables())} tables"


def store(settings: Settings) -> str:
    """Where the home's files lie: a small one is written, read and removed."""
    path, said = settings.staging / f"probe-{uuid.uuid4().hex}", uuid.uuid4().bytes
    settings.staging.mkdir(parents=True, exist_ok=True)
    path.write_bytes(said)
    try:
        if path.read_bytes() != said:
            raise WatchkeeperError(f"{path} does not hold what was written to it")
    finally:
        path.unlink()
    return "written, read and removed"


def serve(settings: Settings) -> str:
    """The service, through a prediction of a picture that we draw, or of a row of zeros."""
    token = settings.serve_token
    headers = {"authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    url = settings.serve_url or f"http://{settings.serve_host}:{settings.serve_port}"
    with asking(url, printable(url), headers=headers | PROBE_HEADER) as client:
        try:
            known = good(client.get("/model")).json()
        except httpx.ConnectError:
            if last_promoted(open_store(settings.registry)) is None:
                raise NotSetUpError("no champion yet") from None
            if not was_watched(settings) and not (settings.landing / "serving").exists():
                raise NotSetUpError("no service was ever started; `task serve` does") from None
            raise
        answer = good(client.post("/predict", **example(known["input"]))).json()
    return f"{answer['model_version']} answers {answer.get('label', answer.get('value'))}"


def example(spec: dict[str, Any]) -> dict[str, Any]:
    """A request for a model with this input: a grey picture, or a row of zeros."""
    if spec["kind"] == "tabular":
        return {"json": dict.fromkeys(spec["features"], 0.0)}
    stream = io.BytesIO()
    Image.new("RGB", (2 * spec["width"], 2 * spec["height"]), (128, 128, 128)).save(stream, "JPEG")
    return {"content": stream.getvalue(), "headers": {"content-type": "image/jpeg"}}


def statsd(settings: Settings) -> str:
    """StatsD's TCP port; by UDP nobody answers."""
    if not was_watched(settings) and "statsd_host" not in settings.model_fields_set:
        raise NotSetUpError("`task watch` has never run here")
    with socket.create_connection((settings.statsd_host, settings.statsd_port), timeout=10):
        return "its TCP port is open"


def prometheus(settings: Settings) -> str:
    """Prometheus, ready to be asked."""
    if not was_watched(settings) and "prometheus_host" not in settings.model_fields_set:
        raise NotSetUpError("`task watch` has never run here")
    password = settings.prometheus_password
    login = (USER, password.get_secret_value()) if password else None
    url = f"http://{settings.prometheus_host}:{settings.prometheus_port}"
    with asking(url, url, auth=login) as client:
        good(client.get("/-/ready"))
    return "ready"


def grafana(settings: Settings) -> str:
    """Grafana and its database, where the settings say that there is one."""
    if settings.pager != "grafana" and settings.grafana_token is None:
        raise NotSetUpError("no Grafana: neither WATCHKEEPER_PAGER nor WATCHKEEPER_GRAFANA_TOKEN says so")
    url = settings.grafana_api_url or settings.grafana_url
    with asking(url, printable(url)) as client:
        return f"its database is {good(client.get('/api/health')).json()['database']}"


def receiver(settings: Settings) -> str:
    """Where messages go, in dry form: asked in a way that posts nothing."""
    match settings.notifier:
        case "slack" if settings.slack_webhook:
            return slack(settings.slack_webhook)
        case "discord" if settings.discord_webhook:
            return discord(settings.discord_webhook)
        case "email" if settings.email_host and settings.email_to:
            return mail(settings)
    raise NotSetUpError(f"{settings.notifier} has no address; messages are only kept")


def slack(webhook: SecretStr) -> str:
    """An empty message, which a good webhook refuses for what it lacks and a revoked one for what it is."""
    url = webhook.get_secret_value()
    with asking(url, "Slack") as client:
        answer = client.post(url, json={})  # whole: to a base address httpx adds a slash
    word = answer.text.strip()
    if answer.status_code == httpx.codes.BAD_REQUEST and word in GOOD_WORDS:
        return f"Slack knows the webhook ({word})"
    raise WatchkeeperError(
        f"Slack answers {answer.status_code} to an empty message; a good webhook answers 400 no_text:"
        " make a new one, and set WATCHKEEPER_SLACK_WEBHOOK"
    )


def discord(webhook: SecretStr) -> str:
    """Discord shows a webhook to who has its address."""
    url = webhook.get_secret_value().rstrip("/")
    with asking(url, "Discord") as client:
        good(client.get(url))
    return "Discord knows the webhook"


def mail(settings: Settings) -> str:
    """The mail server, up to its login; the password goes only through TLS."""
    with smtplib.SMTP(settings.email_host or "", settings.email_port, timeout=10) as server:
        server.ehlo()
        if server.has_extn("starttls"):
            server.starttls(context=ssl.create_default_context())
            server.ehlo()
            if settings.email_user and settings.email_password:
                server.login(settings.email_user, settings.email_password.get_secret_value())
        elif settings.email_password:
            raise WatchkeeperError("the mail server offers no STARTTLS, so it gets no password")
        server.noop()
    return "the mail server answers"


def was_watched(settings: Settings) -> bool:
    """Whether somebody wants this home watched from this machine."""
    return (settings.run / "watch" / "prometheus.yml").exists()


@contextmanager
def asking(url: str, name: str, **more: Any) -> Iterator[httpx.Client]:  # noqa: ANN401  # httpx's own
    """A client past any proxy of the user's: what is asked is ours.

    Raises:
        WatchkeeperError: no answer; it has the name, as the address may be a secret.
    """
    try:
        with httpx.Client(base_url=url, timeout=10, trust_env=False, **more) as client:
            yield client
    except httpx.ConnectError:
        raise WatchkeeperError(f"{name}: nothing answers there") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise WatchkeeperError(f"{name}: {type(error).__name__}") from None


def good(answer: httpx.Response) -> httpx.Response:
    """The answer, if it is one.

    Raises:
        WatchkeeperError: another status; without the address, which may be a secret.
    """
    if not answer.is_success:
        raise WatchkeeperError(f"it answers {answer.status_code}")
    return answer


PROBES = [
    Probe("prefect", prefect),
    Probe("tables", tables),
    Probe("store", store),
    Probe("serve", serve, 15.0),  # two requests, and other requests may have both cores
    Probe("statsd", statsd),
    Probe("prometheus", prometheus),
    Probe("grafana", grafana),
    Probe("receiver", receiver),
]
