"""Grafana's way to Slack has all its parts, and groups as Alertmanager does."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from observability.config import ObservabilitySettings
from observability.grafana import notify
from observability.prometheus.files import GROUPED, alertmanager

SETTINGS = ObservabilitySettings.model_construct(relay_port=9999)


@pytest.mark.parametrize("slack", [None, SecretStr("https://hooks.slack.test/x")])
def test_every_receiver_of_the_tree_is_there(slack: SecretStr | None) -> None:
    tree = notify.policies(native=slack is not None)
    points = {point["name"] for point in notify.contact_points(SETTINGS, slack)}
    assert {tree["receiver"], *(route["receiver"] for route in tree["routes"])} == points


def test_only_the_relays_own_failure_goes_past_it() -> None:
    past = [route for route in notify.policies(native=True)["routes"] if route["receiver"] == notify.SLACK]
    assert [route["object_matchers"] for route in past] == [
        [["alertname", "=~", "RelayDown|RelayUndelivered|PageWithoutRelay"]],
        [["alertname", "=", "NotificationsFailing"], ["integration", "=~", "webhook|relay"]],
    ]


@pytest.mark.parametrize("native", [True, False])
def test_rules_that_cannot_be_evaluated_are_one_message_on_every_day(native: bool) -> None:
    routes = notify.policies(native)["routes"]
    (blind,) = [each for each in routes if "DatasourceError" in each["object_matchers"][0][2]]
    assert blind["object_matchers"] == [["alertname", "=~", "DatasourceError|DatasourceNoData"]]
    assert blind["receiver"] == notify.RELAY
    assert not {"mute_time_intervals", "group_by"} & blind.keys()
    muted = [place for place, each in enumerate(routes) if "mute_time_intervals" in each]
    assert routes.index(blind) < min(muted)


def test_the_relay_is_where_the_settings_say() -> None:
    relay, *_ = notify.contact_points(SETTINGS, None)
    assert relay["settings"]["url"] == "http://127.0.0.1:9999/alerts"


def test_the_words_that_are_asked_for_are_defined() -> None:
    _, slack = notify.contact_points(SETTINGS, "a webhook")
    (words,) = notify.templates()
    asked = re.findall(r'{{ template "(.*?)" \. }}', slack["settings"]["title"] + slack["settings"]["text"])
    assert re.findall(r'{{ define "(.*?)" }}', words["template"]) == asked
    opened = re.findall(r"{{ (?:define|range|if|with)\b", words["template"])
    assert len(re.findall(r"{{ end }}", words["template"])) == len(opened)
    assert words["template"] == words["template"].strip(), "Grafana keeps it so"
    assert not re.search(r"\*|<|\|", words["template"]), "Grafana's Slack message shows markup as it stands"


def test_what_is_muted_has_its_timing() -> None:
    muted = [
        name
        for route in notify.policies(native=True)["routes"]
        for name in route.get("mute_time_intervals", [])
    ]
    assert muted == [timing["name"] for timing in notify.mute_timings()]


def test_alerts_are_grouped_as_alertmanager_groups_them() -> None:
    theirs = alertmanager(SETTINGS, webhook=Path("slack.url"))["route"]
    ours = notify.policies(native=True)
    assert {key: theirs[key] for key in GROUPED} == {key: ours[key] for key in GROUPED} == GROUPED
    assert theirs["routes"][0]["group_by"] == ours["routes"][0]["group_by"] == ["alertname", "fires"]
