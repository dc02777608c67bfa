"""When an event leads to a retraining, and when it is left."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from flows.config import Settings
from flows.etl.lake import Lake
from flows.retrain import triggered
from services.bento.ledger import Entry

NOW = datetime.now(UTC)


def judged(hours: float) -> Entry:
    when = NOW - timedelta(hours=hours)
    return Entry(
        number=1, event="rejected", version="v1", champion=None, before=None, when=when, snapshot_id=7
    )


class Table:
    """A table of two snapshots."""

    def current_snapshot(self) -> Any:
        return SimpleNamespace(summary={"total-records": "1500"})

    def snapshot_by_id(self, number: int) -> Any:
        return SimpleNamespace(summary={"total-records": "1000"}) if number == 7 else None


@pytest.mark.parametrize(
    ("hours_ago", "new_rows", "reason"),
    [
        (1, 0, "the gate judged v1"),
        (30, 0, None),
        (30, 500, None),
        (30, 501, "500 new rows since the snapshot of v1, 501 are asked for"),
    ],
)
def test_why_not(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, hours_ago: float, new_rows: int, reason: str | None
) -> None:
    monkeypatch.setattr(Lake, "table", lambda *_: Table())
    found = triggered.why_not(settings, "garments", judged(hours_ago), 24, new_rows)
    assert (found is None) == (reason is None)
    assert (reason or "") in (found or "")
