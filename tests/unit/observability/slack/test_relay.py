"""The relay's pages: what is taken is on disk before it is acknowledged, what is malformed is told why."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from observability.slack.delivery import Delivery
from observability.slack.message import Message
from observability.slack.outbox import Outbox
from observability.slack.relay import BODY_BYTES, RUNBOOKS, Relay
from observability.slack.senders import Answer
from tests.slack import EVENT, alert, group


class Nobody:
    """A receiver that does not answer."""

    def send(self, _: Message) -> Answer:
        return Answer("later", "ReadTimeout")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    made = Outbox(tmp_path)
    yield made
    made.close()


@pytest.fixture
def client(outbox: Outbox) -> TestClient:
    return TestClient(Relay(Delivery(outbox, Nobody()), "slack").app(), raise_server_exceptions=False)


def kept(outbox: Outbox) -> list[dict[str, Any]]:
    waiting = outbox.next()
    assert waiting is not None
    found: list[dict[str, Any]] = json.loads(waiting.items)
    return found


def test_alertmanagers_webhook_is_kept_once(client: TestClient, outbox: Outbox) -> None:
    body = group(alert(1), alert(2, "resolved"))
    assert client.post("/alerts", json=body).json() == {"new": 2, "known": 0}
    assert client.post("/alerts", json=body).json() == {"new": 0, "known": 2}
    assert [item["fingerprint"] for item in kept(outbox)] == [f"{1:016x}", f"{2:016x}"]


def test_grafanas_webhook_is_taken_too(client: TestClient, outbox: Outbox) -> None:
    more = {
        "generatorURL": "http://g/alerting/x",
        "silenceURL": "http://g/silence",
        "dashboardURL": "http://g/d/x",
        "panelURL": "http://g/d/x?viewPanel=2",
        "values": {"query": 0, "is_firing": 1},
        "valueString": "[ var='query' value=0 ]",
        "imageURL": None,
    }
    body = group(alert(1) | more) | {
        "version": "1",
        "orgId": 1,
        "title": "t",
        "state": "alerting",
        "message": "m",
    }
    answer = client.post("/alerts", json=body)
    assert answer.json() == {"new": 1, "known": 0}
    assert kept(outbox)[0]["dashboardURL"] == "http://g/d/x"


def test_a_flow_event_is_kept(client: TestClient, outbox: Outbox) -> None:
    assert client.post("/events", json=EVENT).json() == {"new": 1, "known": 0}
    assert client.post("/events", json=EVENT | {"event": "start"}).json() == {"new": 1, "known": 0}
    assert client.post("/events", json=EVENT).json() == {"new": 0, "known": 1}
    assert kept(outbox)[0]["reason"] == "no disk"


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/alerts", b"", "the body: Invalid JSON"),
        ("/alerts", b"\xff\xfe{", "the body: Invalid JSON"),
        ("/alerts", b'{"alerts": [', "the body: Invalid JSON"),
        ("/alerts", b"[" * 100_000, "the body: Invalid JSON"),
        ("/alerts", b"[]", "the body: Input should be an object"),
        ("/alerts", b"{}", "alerts: Field required"),
        ("/alerts", b'{"alerts": 3}', "alerts: Input should be a valid array"),
        ("/alerts", b'{"alerts": [{}]}', "alerts.0.status: Field required"),
        (
            "/alerts",
            json.dumps(group(alert(1, "pending"))).encode(),
            "alerts.0.status: Input should be 'firing'",
        ),
        ("/alerts", json.dumps(group(alert(1) | {"startsAt": "soon"})).encode(), "alerts.0.startsAt: "),
        (
            "/alerts",
            json.dumps(group(alert(1) | {"startsAt": "2026-11-22T02:10:00"})).encode(),
            "alerts.0.startsAt",
        ),
        ("/alerts", json.dumps(group(alert(1) | {"labels": {"a": 1}})).encode(), "alerts.0.labels.a: "),
        ("/events", json.dumps(EVENT | {"event": "party"}).encode(), "event: Input should be 'start', "),
        ("/events", json.dumps(EVENT | {"kind": "alert"}).encode(), "kind: Input should be 'flow' or 'task'"),
    ],
)
def test_what_is_malformed_is_refused_with_a_sentence(
    client: TestClient, outbox: Outbox, path: str, body: bytes, said: str
) -> None:
    answer = client.post(path, content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(said)
    assert outbox.next() is None


def test_only_json_is_taken_so_that_no_page_of_another_site_can_post(
    client: TestClient, outbox: Outbox
) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = client.post("/alerts", content=json.dumps(group(alert(1))), headers={"content-type": kind})
        assert (answer.status_code, answer.json()) == (415, {"error": "send application/json"})
    assert outbox.next() is None


def test_a_body_has_a_bound(client: TestClient, outbox: Outbox) -> None:
    answer = client.post("/alerts", content=b" " * (BODY_BYTES + 1), headers=JSON)
    assert (answer.status_code, answer.json()) == (413, {"error": "a body has at most 8 MiB"})
    assert client.post("/alerts", json=group(*map(alert, range(3000)))).json()["new"] == 3000


def test_a_disk_that_refuses_is_not_acknowledged(
    client: TestClient, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(outbox, "append", full)
    answer = client.post("/alerts", json=group(alert(1)))
    assert (answer.status_code, answer.json()) == (503, {"error": "it cannot be kept; try again"})


def test_every_runbook_can_be_read_and_nothing_else(client: TestClient) -> None:
    for path in RUNBOOKS.glob("*.md"):
        answer = client.get(f"/runbooks/{path.name}")
        assert answer.text == path.read_text(encoding="utf-8")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    for name in (
        "Nothing.md",
        "..%2fconfig.py",
        "../config.py",
        "%2e%2e/config.py",
        ".",
        "RelayDown",
        "*.md",
    ):
        assert client.get(f"/runbooks/{name}").status_code == 404, name


def test_other_methods_and_paths_are_refused(client: TestClient) -> None:
    assert client.get("/alerts").status_code == 405
    assert client.post("/healthz").status_code == 405
    assert client.get("/").status_code == 404


def samples(client: TestClient) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}


def test_metrics_say_what_waits_since_when_and_what_became_of_the_rest(outbox: Outbox) -> None:
    delivery = Delivery(outbox, Nobody())
    client = TestClient(Relay(delivery, "slack").app())
    before = samples(client)
    assert before == {
        ("watchkeeper_relay_messages_total", "delivered"): 0,
        ("watchkeeper_relay_messages_total", "retried"): 0,
        ("watchkeeper_relay_messages_total", "refused"): 0,
        ("watchkeeper_relay_messages_total", "expired"): 0,
        ("watchkeeper_relay_waiting_messages",): 0,
        ("watchkeeper_relay_receiver_info", "slack"): 1,
    }
    client.post("/alerts", json=group(alert(1)))
    client.post("/alerts", json=group(alert(2)))
    delivery.step()
    after = samples(client)
    assert after["watchkeeper_relay_waiting_messages",] == 2
    assert after["watchkeeper_relay_messages_total", "retried"] == 1
    waiting = outbox.next()
    assert waiting is not None
    assert after["watchkeeper_relay_oldest_timestamp_seconds",] == pytest.approx(waiting.added)


def test_a_metric_says_that_there_is_no_address(outbox: Outbox) -> None:
    client = TestClient(Relay(Delivery(outbox, None), "email").app())
    assert samples(client)["watchkeeper_relay_receiver_info", "email"] == 0


def test_health_is_that_of_the_delivery(outbox: Outbox) -> None:
    delivery = Delivery(outbox, None, poll=0.001)
    client = TestClient(Relay(delivery, "slack").app())
    assert client.get("/healthz").status_code == 503
    delivery.start()
    assert client.get("/healthz").json() == {"status": "ok"}
    delivery.close()
    assert client.get("/healthz").json() == {"status": "the delivery has ended"}
