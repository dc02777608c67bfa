import pytest

from flows.config import Settings
from flows.drift import collectors, verdicts
from observability.metrics import DRIFT_COLUMNS, DRIFT_SCORE, DRIFT_STATE, LIVE_LABELS, LIVE_SCORE
from tests.said import Said

VERDICT = {
    "outcome": "confirmed",
    "when": "2026-11-21T12:00:00+00:00",
    "columns": {
        "price": {"score": None, "threshold": 0.1, "drifted": True},
        "kind": {"score": 0.01, "threshold": 0.2, "drifted": False},
    },
    "performance": None,
    "of_now": True,
}


def test_the_newest_verdict_that_can_be_read_counts(settings: Settings) -> None:
    assert verdicts.newest(settings) == {}
    for outcome in ("none", "confirmed"):
        verdicts.write(verdicts.new_folder(settings, "shop.sales"), VERDICT | {"outcome": outcome})
    verdicts.new_folder(settings, "shop.sales")  # of a run that was killed
    (verdicts.new_folder(settings, "shop.sales") / "verdict.json").write_text("{half")
    assert verdicts.newest(settings)["shop.sales"]["outcome"] == "confirmed"
    assert [verdict["outcome"] for verdict in verdicts.history(settings, "shop.sales")] == [
        "confirmed",
        "none",
    ]


def test_a_look_back_and_a_failure_are_passed_over(settings: Settings) -> None:
    for more in (
        {},
        {"outcome": "error"},
        {"outcome": "not_enough_data"},
        {"outcome": "none", "of_now": False},
    ):
        verdicts.write(verdicts.new_folder(settings, "shop.sales"), VERDICT | more)
    last = next(verdicts.news(settings, "shop.sales"))
    assert last["outcome"] == "confirmed"
    assert verdicts.news_of(last, "none") == "cleared"
    assert verdicts.newest(settings)["shop.sales"]["outcome"] == "not_enough_data"


@pytest.mark.parametrize(
    ("before", "outcome", "news"),
    [
        (None, "none", None),
        (None, "confirmed", "confirmed"),
        ("confirmed", "confirmed", "confirmed"),
        ("confirmed", "none", "cleared"),
        ("suspected", "none", "cleared"),
        ("confirmed", "suspected", None),
        ("confirmed", "not_enough_data", None),
        ("none", "error", None),
    ],
)
def test_what_is_news(before: str | None, outcome: str, news: str | None) -> None:
    assert verdicts.news_of({"outcome": before} if before else None, outcome) == news


def test_what_the_exporter_says(settings: Settings) -> None:
    performance = {"labels": 7, "macro_f1": 0.8, "low": 0.7, "high": 0.9, "estimated": 0.75, "trusted": False}
    verdicts.write(verdicts.new_folder(settings, "shop.sales"), VERDICT)
    verdicts.write(verdicts.new_folder(settings, "model.hm"), VERDICT | {"performance": performance})
    of = Said(collectors.drift(settings)).of
    assert of(DRIFT_SCORE, subject="shop.sales", column="price") == float("inf")
    assert of(DRIFT_COLUMNS, subject="shop.sales") == 0.5
    assert of(DRIFT_STATE, subject="shop.sales", outcome="confirmed") == 1
    assert of(DRIFT_STATE, subject="shop.sales", outcome="none") == 0
    assert of(LIVE_LABELS, model="hm") == 7
    assert of(LIVE_SCORE, model="hm", of="labels") == 0.8
    assert of(LIVE_SCORE, model="hm", of="confidence") is None, "its confidence is not calibrated"
