"""Problems are RFC 9457, and say what their sender needs to know to do better."""

import pytest

from observability.metrics import REJECTIONS
from services.bento.problems import STATUS, ProblemError


def test_each_problem_has_a_status_and_a_place_in_the_metric() -> None:
    assert set(STATUS) == set(REJECTIONS)
    assert all(400 <= status < 600 for status in STATUS.values())


def test_what_a_sender_did_wrong_is_4xx_and_what_the_service_cannot_do_5xx() -> None:
    ours = {code for code, status in STATUS.items() if status >= 500}
    assert ours == {"model_error", "no_model", "timeout", "overloaded"}


@pytest.mark.parametrize("code", sorted(STATUS))
def test_a_problem_has_the_members_of_its_standard(code: str) -> None:
    problem = ProblemError(code, "a sentence")
    assert problem.body().keys() == {"type", "title", "status", "code", "detail"}
    assert (problem.body()["code"], problem.body()["detail"]) == (code, "a sentence")
    assert problem.body()["status"] == problem.status == STATUS[code]
    assert problem.body()["title"]


@pytest.mark.parametrize("code", sorted(STATUS))
def test_who_may_come_again_is_told_when(code: str) -> None:
    later = ProblemError(code, "").headers().get("retry-after")
    assert (later is not None) == (STATUS[code] in (429, 503))
    assert later is None or int(later) >= 1


@pytest.mark.parametrize(
    "code", ["unauthorized", "not_found", "method_not_allowed", "body_timeout", "body_too_large", "busy"]
)
def test_the_connection_ends_where_a_body_may_still_be_on_its_way(code: str) -> None:
    assert ProblemError(code, "").headers()["connection"] == "close"


@pytest.mark.parametrize("code", ["bad_image", "bad_json", "model_error", "timeout"])
def test_the_connection_goes_on_where_the_body_was_read(code: str) -> None:
    assert "connection" not in ProblemError(code, "").headers()


def test_who_is_not_let_in_is_told_what_to_show() -> None:
    assert ProblemError("unauthorized", "").headers()["www-authenticate"] == "Bearer"
