"""BentoML's own page over the service, in a real browser, on a machine without a network."""

from pathlib import Path

from tests.stack.offline import needs_browser, seen


@needs_browser
def test_every_example_of_the_page_works_and_nothing_is_loaded_from_outside(tmp_path: Path) -> None:
    page = seen("offline_serving_page", tmp_path, 300)
    assert page["title"].startswith("Watchkeeper")
    assert {route.replace("\u200b", "") for route in page["routes"]} == {
        "POST /predict",
        "POST /predict_batch",
        "POST /feedback",
        "GET /model",
        "GET /livez",
        "GET /readyz",
        "GET /metrics",
    }
    assert page["statuses"] == {
        "/predict": 200,
        "/predict_batch": 200,
        "/feedback": 202,
        "/model": 200,
        "/livez": 200,
        "/readyz": 200,
    }
    outside = [url for url in page["loaded"] if not url.startswith((f"{page['url']}/", "data:", "blob:"))]
    assert outside == []
    assert f"{page['url']}/static_content/swagger-ui-bundle.js" in page["loaded"]
    assert (page["failed"], page["errors"], page["exceptions"]) == ([], [], [])
