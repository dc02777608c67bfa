"""The files are what Grafana reads, after it has expanded what it expands, and no secret is in any."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from observability.config import ObservabilitySettings
from observability.grafana.client import Grafana
from observability.grafana.provisioning import DASHBOARDS, HERE, committed, files
from observability.grafana.source import source
from observability.grafana.sync import sync
from tests.grafana.fake import TOKEN, FakeGrafana
from tests.grafana.server import running

WEBHOOK = "https://hooks.slack.test/services/SECRET"
ENVIRONMENT = {"WATCHKEEPER_SLACK_WEBHOOK": WEBHOOK, "GF_PATHS_PROVISIONING": "/etc/grafana/provisioning"}
SETTINGS = ObservabilitySettings.model_construct()
TEXTS = files(SETTINGS)


def read(path: str) -> Any:
    """A file as YAML."""
    return yaml.safe_load(TEXTS[path])


def expanded(value: Any) -> Any:
    """As Grafana expands what it expands: `$$` is a dollar, `$NAME` is the environment's or nothing."""
    if isinstance(value, dict):
        return {key: expanded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [expanded(each) for each in value]
    if not isinstance(value, str):
        return value
    parts = (
        re.sub(r"\$(?:(\w+)|{(\w+)})", lambda name: ENVIRONMENT.get(name[1] or name[2], ""), part)
        for part in value.split("$$")
    )
    return "$".join(parts)


@pytest.fixture(scope="module")
def pushed() -> FakeGrafana:
    """A Grafana that the sync has written."""
    with running(FakeGrafana()) as fake:
        webhook = SecretStr(WEBHOOK)
        sync(Grafana(fake.url, SecretStr(TOKEN), webhook), source(SETTINGS, webhook))
    return fake


def same(have: dict[str, Any], want: dict[str, Any], *but: str) -> bool:
    """Whether Grafana has what is wanted; it adds to it."""
    return {key: have.get(key) for key in want if key not in but} == {
        key: value for key, value in want.items() if key not in but
    }


def test_rules_of_the_files_and_of_the_sync_are_the_same(pushed: FakeGrafana) -> None:
    groups = read("alerting/rules.yml")["groups"]
    assert {rule["uid"] for group in groups for rule in group["rules"]} == set(pushed.rules)
    for group in groups:
        assert group["interval"] == f"{pushed.intervals[group['name']]}s"
        for rule in group["rules"]:
            have = pushed.rules[rule["uid"]]
            assert same(have, rule | {"labels": expanded(rule["labels"])})
            assert (have["ruleGroup"], pushed.folders[have["folderUID"]]["title"]) == (
                group["name"],
                group["folder"],
            )


def test_contact_points_of_the_files_and_of_the_sync_are_the_same(pushed: FakeGrafana) -> None:
    points = expanded(read("alerting/contact-points.yml")["contactPoints"])
    assert [each["name"] for each in points] == list(pushed.points)
    for point in points:
        (receiver,) = point["receivers"]
        have = pushed.points[receiver["uid"]]
        have = have | {"settings": have["settings"] | pushed.secrets[receiver["uid"]]}
        assert same(have, receiver | {"name": point["name"]})


def test_the_rest_of_the_files_and_of_the_sync_is_the_same(pushed: FakeGrafana) -> None:
    (policies,) = expanded(read("alerting/policies.yml")["policies"])
    assert same(pushed.policies, policies, "orgId")
    (template,) = read("alerting/templates.yml")["templates"]
    assert same(pushed.templates["watchkeeper"], template, "orgId")
    (timing,) = read("alerting/mute-timings.yml")["muteTimes"]
    assert same(pushed.mute_timings["watchkeeper-weekends"], timing, "orgId")
    (data_source,) = expanded(read("datasources/prometheus.yml")["datasources"])
    assert same(pushed.data_sources["prometheus"], data_source, "editable")
    boards = {path: json.loads(text) for path, text in TEXTS.items() if path.endswith(".json")}
    assert {f"{DASHBOARDS}/{uid}.json" for uid in pushed.dashboards} == set(boards)
    assert all(same(pushed.dashboards[board["uid"]], board) for board in boards.values())


def test_what_is_there_agrees_with_the_description(pushed: FakeGrafana) -> None:
    assert pushed.wrong == []


def test_the_dashboards_are_where_their_provider_looks() -> None:
    (provider,) = expanded(read("dashboards/watchkeeper.yml")["providers"])
    assert provider["options"]["path"] == f"/etc/grafana/provisioning/{DASHBOARDS}"


def test_every_folder_that_grafana_looks_into_is_there() -> None:
    looked_into = {"datasources", "dashboards", "alerting", "plugins", "notifiers"}
    assert {path.partition("/")[0] for path in TEXTS} == looked_into
    assert read("plugins/none.yml") == {"apiVersion": 1, "apps": []}
    assert read("notifiers/none.yml") == {"apiVersion": 1, "notifiers": []}


def test_every_rule_has_a_for_without_which_grafana_does_not_start() -> None:
    for group in read("alerting/rules.yml")["groups"]:
        assert all(re.fullmatch(r"\d+[smh]", rule["for"]) for rule in group["rules"])


def test_nothing_is_expanded_that_is_not_meant_to_be() -> None:
    texts = "".join(text for path, text in TEXTS.items() if path.startswith("alerting/"))
    assert "${" not in texts, "the newest Grafana expands this in annotations"
    assert re.findall(r"\$[A-Z_]+", texts) == ["$WATCHKEEPER_SLACK_WEBHOOK"]


def test_no_file_holds_a_secret() -> None:
    told = files(ObservabilitySettings(slack_webhook=SecretStr(WEBHOOK), grafana_token=SecretStr(TOKEN)))
    assert not [path for path, text in told.items() if "SECRET" in text or TOKEN in text]


def test_the_committed_files_are_these_and_no_others() -> None:
    there = {path for path in HERE.rglob("*") if path.is_file()}
    assert there == set(committed()) == {HERE / path for path in TEXTS}
    assert all(Path(path).read_text(encoding="utf-8") == render() for path, render in committed().items())
