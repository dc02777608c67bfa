"""Of many runs the newest of each: asked for in few questions, and none is missed."""

from typing import Any

import pytest

from flows.health.collectors import PAGE, first_of_each

Run = dict[str, Any]


def answers(runs: list[Run], asked: list[list[str]]) -> Any:
    """A server that gives a page of those runs, newest first, whose id is asked for."""

    def ask(left: list[str]) -> list[Run]:
        asked.append(left)
        return [run for run in runs if run["deployment_id"] in left][:PAGE]

    return ask


@pytest.mark.parametrize("busy", [0, 1, PAGE - 1, PAGE, PAGE + 1, 50 * PAGE])
def test_one_that_ran_much_hides_no_other(busy: int) -> None:
    runs = [{"deployment_id": "busy", "number": n} for n in range(busy)]
    runs += [{"deployment_id": name, "number": n} for n in range(2) for name in ("a", "b")]
    asked: list[list[str]] = []
    found = list(first_of_each("deployment_id", ["a", "b", "busy", "never"], answers(runs, asked)))
    expected = {"a": 0, "b": 0} | ({"busy": 0} if busy else {})
    assert {run["deployment_id"]: run["number"] for run in found} == expected
    assert len(found) == len(expected)
    assert len(asked) <= 2


def test_nothing_is_asked_where_nobody_is_there() -> None:
    asked: list[list[str]] = []
    assert list(first_of_each("deployment_id", [], answers([], asked))) == []
    assert asked == []
