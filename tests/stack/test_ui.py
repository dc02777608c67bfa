"""Prefect's own page over a real run, in a real browser, on a machine without a network."""

from pathlib import Path

from tests.stack.offline import needs_browser, seen


@needs_browser
def test_the_page_shows_the_run_its_logs_and_artifacts_with_nothing_from_outside(tmp_path: Path) -> None:
    page = seen("offline_ui", tmp_path, 500)
    assert page["states"] == ["Completed"]
    assert "etl-online_retail" in page["run"]
    assert "online_retail.transactions · commit" in page["run"]
    assert any("WARN" in message for message in page["logs"]), "Spark's driver log belongs to the run's"
    assert set(page["artifacts"]) == {
        "etl-online-retail-transactions",
        "quarantine-online-retail-transactions",
    }
