"""What Prefect's automations are told of a new champion."""

from typing import Any

import pytest

from flows.retrain import report
from flows.retrain.report import Outcome, tell_of_promotion


@pytest.mark.parametrize("verdict", ["promote", "reject", "inconclusive", "error"])
def test_a_promotion_is_an_event_and_nothing_else_is(verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(report, "emit_event", lambda **event: told.append(event))
    tell_of_promotion(Outcome("garments", "v2", verdict, (), {}, "v2", "v1", None, {}, 1.0))
    if verdict != "promote":
        assert told == []
        return
    [event] = told
    assert event["event"] == "watchkeeper.model.promoted"
    assert event["resource"] == {"prefect.resource.id": "watchkeeper.model.garments"}
    assert event["payload"] == {"model": "garments", "version": "v2", "before": "v1"}
