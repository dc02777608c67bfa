from datetime import UTC, datetime

import numpy as np
import pytest

from flows.drift.windows import Window, month, refuse_parts, span, trailing, weekday
from flows.errors import WatchkeeperError


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2011", "2011-01-01", "2012-01-01"),
        ("2011-12", "2011-12-01", "2012-01-01"),
        ("2012-02-29", "2012-02-29", "2012-03-01"),
        ("2011-08-15T23", "2011-08-15T23:00", "2011-08-16"),
        ("2011-08..2011-10", "2011-08-01", "2011-11-01"),
        ("2011-08-31..2011-09", "2011-08-31", "2011-10-01"),
    ],
)
def test_times(text: str, start: str, end: str) -> None:
    assert span(text) == Window(text, at(start), at(end))


@pytest.mark.parametrize(
    "text", ["", "august", "2011-13", "2011-02-30", "2011-08-01T24", "8", "2011-08..x", "9999-12"]
)
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(WatchkeeperError, match=r"is no window .* write 2011-08"):
        span(text)


def test_a_window_that_ends_before_it_begins() -> None:
    with pytest.raises(WatchkeeperError, match="ends before it begins"):
        span("2011-09..2011-08")


def test_the_newest() -> None:
    end = at("2011-09-01")
    assert trailing("7d", end, 1).start == at("2011-08-25")
    assert trailing("12h", end, 1).start == at("2011-08-31T12:00")
    assert trailing("", end, 86_400).said == "2011-08-31 00:00 to 2011-09-01 00:00"
    assert trailing("2011-08", end, 1) == span("2011-08")
    for text in ("0d", "999999d"):
        with pytest.raises(WatchkeeperError, match="without a length"):
            trailing(text, end, 1)


def test_a_window_that_cuts_a_period() -> None:
    refuse_parts(span("2011-08-15T06"), "hour")
    refuse_parts(span("2011-08-15"), "month")
    with pytest.raises(WatchkeeperError, match="'2011-08-15T06' cuts a day"):
        refuse_parts(span("2011-08-15T06"), "day")


def test_seasons() -> None:
    days = np.array([at(f"2011-08-{day:02}") for day in range(1, 29)])
    expected = [datetime.fromtimestamp(day, UTC).weekday() for day in days]
    assert weekday(days).tolist() == expected
    months = np.array([at(f"{year}-{number:02}-01") for year in (2010, 2011) for number in range(1, 13)])
    assert month(months).tolist() == list(range(12)) * 2
