"""A message says what, where, since when and how bad, in words that cannot act, within Slack's bounds."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from observability.slack.items import Alert, Event, lasting, message_of
from observability.slack.message import PARTS, SLACK_TEXT, Message, Part, as_discord, as_mail, as_slack
from tests.slack import alert

HOSTILE = "<!channel> & <https://bad.example|click> @everyone"


def alerts(number: int, **more: Any) -> list[Alert]:
    return [Alert.model_validate(alert(each) | more) for each in range(number)]


def event(**more: Any) -> Event:
    given = {"kind": "flow", "name": "etl", "run": "etl-hm", "id": "1", "event": "failure", "seconds": 182.4}
    when = datetime(2026, 11, 22, 2, 10, tzinfo=UTC)
    return Event.model_validate(given | {"when": when} | more)


def sections(message: Message) -> list[str]:
    return [part["blocks"][0]["text"]["text"] for part in as_slack(message)["attachments"]]


def test_an_alert_that_fires() -> None:
    sent = as_slack(message_of(alerts(1)))
    assert sent == {
        "text": "TICKET firing · TableStale: number 0",
        "attachments": [
            {
                "color": "#e8912d",
                "blocks": [
                    {
                        "type": "section",
                        "text": {
                            "type": "mrkdwn",
                            "text": "The newest row is old.\nWhere: table=t0\n"
                            "Since 2026-11-22 02:10:00 UTC\nOwner: data\n"
                            "<http://127.0.0.1:9876/runbooks/TableStale.md|runbook> · "
                            "<http://127.0.0.1:3001/d/watchkeeper-pipelines|dashboard>",
                        },
                    }
                ],
            }
        ],
    }


def test_an_alert_that_is_over_says_how_long_it_was_and_is_green() -> None:
    sent = as_slack(message_of([Alert.model_validate(alert(0, "resolved"))]))
    assert sent["text"] == "TICKET resolved · TableStale: number 0"
    assert sent["attachments"][0]["color"] == "#2eb67d"
    (text,) = sections(message_of([Alert.model_validate(alert(0, "resolved"))]))
    assert "From 2026-11-22 02:10:00 UTC to 2026-11-22 02:40:30 UTC: 30m 30s" in text
    assert "Since" not in text


def test_severities_differ_in_color() -> None:
    colors = {
        severity: as_slack(message_of([Alert.model_validate(alert(0, severity=severity))]))["attachments"][0]
        for severity in ("page", "ticket", "info")
    }
    assert len({part["color"] for part in colors.values()}) == 3


def test_what_comes_late_says_so() -> None:
    assert message_of(alerts(1), late=30).headline.startswith("TICKET")
    assert message_of(alerts(1), late=725).headline == "[12m 5s late] TICKET firing · TableStale: number 0"


def test_several_are_one_message() -> None:
    message = message_of([*alerts(3), Alert.model_validate(alert(7, "resolved", alertname="FlowLate"))])
    assert message.headline == "3 firing, 1 resolved · FlowLate, TableStale"
    assert [text.splitlines()[0] for text in sections(message)] == [
        *(f"*TICKET firing · TableStale: number {number}*" for number in range(3)),
        "*TICKET resolved · FlowLate: number 7*",
    ]


def test_of_too_many_the_rest_are_named() -> None:
    texts = sections(message_of(alerts(PARTS + 5)))
    assert len(texts) == PARTS
    assert texts[-1].startswith("*And 6 more*\nTICKET firing · TableStale: number 9\n")
    assert "number 14" in texts[-1]


def test_grafanas_own_labels_say_nothing_and_its_link_serves_where_the_rule_has_none() -> None:
    given = alert(0, grafana_folder="Watchkeeper", __alert_rule_uid__="x")
    del given["annotations"]["dashboard_url"]
    given["dashboardURL"] = "http://127.0.0.1:3001/d/x?orgId=1&var-a=b"
    (text,) = sections(message_of([Alert.model_validate(given)]))
    assert "Where: table=t0\n" in text
    assert "<http://127.0.0.1:3001/d/x?orgId=1&amp;var-a=b|dashboard>" in text


def blind(name: str, **annotations: str) -> Alert:
    """As Grafana says that a rule cannot be evaluated: with the rule's labels and annotations."""
    more = {"rulename": "PrefectDown", "ref_id": "query", "datasource_uid": "prometheus"}
    given = alert(0, alertname=name, severity="page", **more)
    given["annotations"] |= {"summary": "The Prefect server does not answer"} | annotations
    return Alert.model_validate(given)


def test_a_rule_that_grafana_cannot_evaluate_is_not_told_as_what_it_watches() -> None:
    message = message_of([blind("DatasourceError", Error="[sse.dataQueryError] failed:\nconnection refused")])
    assert message.headline == "PAGE firing · DatasourceError: the rule PrefectDown cannot be evaluated"
    (text,) = sections(message)
    assert text == (
        "It neither fires nor ends until then. [sse.dataQueryError] failed: connection refused\n"
        "Where: datasource_uid=prometheus, table=t0\nSince 2026-11-22 02:10:00 UTC\nOwner: data\n"
        "<http://127.0.0.1:9876/runbooks/RulesFailing.md|runbook> · "
        "<http://127.0.0.1:3001/d/watchkeeper-pipelines|dashboard>"
    )


def test_a_rule_without_data_has_no_error_to_tell() -> None:
    message = message_of([blind("DatasourceNoData")])
    assert message.headline == "PAGE firing · DatasourceNoData: the rule PrefectDown has no data"
    assert sections(message)[0].startswith("It neither fires nor ends until then.\nWhere: ")


def test_an_error_of_grafana_may_be_long() -> None:
    (text,) = sections(message_of([blind("DatasourceError", Error="x" * 5000)]))
    assert "x" * 499 + "…" in text


@pytest.mark.parametrize(
    "long", ["x" * 5000, "&" * 5000, "<" * 5000, "ä" * 5000, "\n" * 5000 + "x", "a & b " * 900]
)
def test_nothing_is_longer_than_slack_takes(long: str) -> None:
    given = alert(0, "resolved", place=long)
    given["annotations"] |= {"summary": long, "description": long, "runbook_url": "http://h/" + "&" * 700}
    for message in (
        message_of([Alert.model_validate(given)] * 40),
        message_of([event(reason=long, run=long)]),
    ):
        sent = as_slack(message)
        assert len(sent["text"]) <= 300
        assert sum(len(part["blocks"]) for part in sent["attachments"]) <= 50
        for text in sections(message):
            assert 0 < len(text) <= SLACK_TEXT
            assert "&" not in text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        there = as_discord(message)
        assert len(there["text"]) <= 2000
        assert len(there["attachments"]) <= 10
        assert sum(len(part["text"]) for part in there["attachments"]) <= 6000


def test_words_of_others_neither_link_nor_mention() -> None:
    given = alert(0, place=HOSTILE)
    given["annotations"] |= {"summary": HOSTILE, "description": HOSTILE, "runbook_url": "javascript:x"}
    message = message_of([Alert.model_validate(given)] * 2)
    sent = json.dumps(as_slack(message))
    assert "<!" not in sent
    assert "<https://bad" not in sent
    assert "javascript" not in sent
    assert "@everyone" not in json.dumps(as_discord(message), ensure_ascii=False)


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://grafana.example/d/x?a=b&c=d#e", True),
        ("", False),
        ("ftp://h/x", False),
        ("http://h/a b", False),
        ("http://h/a|b", False),
        ("http://h/>x", False),
        ("http://h/" + "x" * 1000, False),
    ],
)
def test_only_a_plain_address_is_linked(url: str, good: bool) -> None:
    assert bool(Part("#000000", "", "x", {"runbook": url}).good_links) == good


def test_a_run_that_failed_says_why_and_where_its_log_is() -> None:
    message = message_of([event(reason="Flow run encountered an exception: no disk", url="http://p/runs/1")])
    assert message.headline == "Flow etl failed after 3m 2s · etl-hm"
    assert sections(message) == [
        "Flow run encountered an exception: no disk\n2026-11-22 02:10:00 UTC\n<http://p/runs/1|log>"
    ]


def test_a_reason_is_short() -> None:
    assert len(sections(message_of([event(reason="r" * 2000)]))[0]) < 600


def test_a_run_that_began_and_one_that_succeeded() -> None:
    assert message_of([event(event="start")]).headline == "Flow etl has begun · etl-hm"
    message = message_of([event(event="success", kind="task", figures={"hm.articles": "3 rows"})])
    assert message.headline == "Task etl succeeded after 3m 2s · etl-hm"
    assert sections(message)[0].startswith("hm.articles: 3 rows\n")


def test_by_mail_the_same_words() -> None:
    subject, body = as_mail(message_of(alerts(2)))
    assert subject == "2 firing · TableStale"
    assert body.startswith(
        "2 firing · TableStale\n\nTICKET firing · TableStale: number 0\nThe newest row is old.\n"
    )
    assert "\nrunbook: http://127.0.0.1:9876/runbooks/TableStale.md\n" in body


def test_a_line_break_in_a_summary_breaks_no_subject() -> None:
    given = alert(0)
    given["annotations"]["summary"] = "a\r\nBcc: everybody"
    subject, _ = as_mail(message_of([Alert.model_validate(given)]))
    assert subject == "TICKET firing · TableStale: a Bcc: everybody"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0s"), (-5, "0s"), (59.4, "59s"), (60, "1m"), (3661, "1h 1m"), (90061, "1d 1h"), (86400, "1d")],
)
def test_a_duration_in_words(seconds: float, said: str) -> None:
    assert lasting(seconds) == said
