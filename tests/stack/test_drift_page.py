"""A drift report and Evidently's own page over it, in a real browser, on a machine without a network."""

from pathlib import Path

import pytest

from tests.stack.offline import needs_browser, seen


@needs_browser
@pytest.mark.timeout(400)
def test_a_report_opens_without_a_network_and_is_listed(tmp_path: Path) -> None:
    page = seen("offline_drift_page", tmp_path, 390)
    assert (page["verdict"]["outcome"], page["verdict"]["columns"]["country"]["drifted"]) == (
        "confirmed",
        True,
    )
    assert "unit_price" in page["report"]["text"]
    assert [url for url in page["report"]["loaded"] if not url.startswith("file:")] == []
    assert [url for url in page["ui"]["loaded"] if not url.startswith(f"{page['url']}/")] == []
    assert page["report"]["exceptions"] == []
    assert (page["ui"]["failed"], page["ui"]["exceptions"]) == ([], [])
