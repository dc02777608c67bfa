"""The exporter: what a source says is scraped, and one that fails or hangs takes nothing else down."""

import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from prometheus_client.parser import text_string_to_metric_families

from observability.exporter import Collector, Exporter, Sample, serve
from observability.metrics import DRIFT_COLUMNS
from tests.factories import free_port, wait_until


def good() -> Iterator[Sample]:
    yield DRIFT_COLUMNS, {"subject": "shop.sales"}, 0.25


def bad() -> Iterator[Sample]:
    yield DRIFT_COLUMNS, {"subject": "half"}, 1.0
    raise OSError("the source is gone")


def said(exporter: Exporter) -> dict[tuple[str, str], float]:
    return {
        (sample.name, next(iter(sample.labels.values()))): sample.value
        for family in exporter.collect()
        for sample in family.samples
    }


def test_a_collector_that_fails_takes_nothing_else_down() -> None:
    found = said(Exporter([Collector("bad", bad), Collector("good", good)]))
    assert found["watchkeeper_drift_columns_ratio", "shop.sales"] == 0.25
    assert ("watchkeeper_drift_columns_ratio", "half") not in found
    assert found["watchkeeper_collector_success", "good"] == 1
    assert found["watchkeeper_collector_success", "bad"] == 0


def test_a_source_that_fails_once_does_not_take_its_series_away() -> None:
    answers = [good, bad, bad]

    def read() -> Iterator[Sample]:
        return answers.pop(0)()

    collector = Collector("store", read, fresh=0, held=60)
    exporter = Exporter([collector])
    assert said(exporter)["watchkeeper_collector_success", "store"] == 1
    found = said(exporter)
    assert found["watchkeeper_collector_success", "store"] == 0
    assert found["watchkeeper_drift_columns_ratio", "shop.sales"] == 0.25
    collector.held = 0.0
    assert ("watchkeeper_drift_columns_ratio", "shop.sales") not in said(exporter)
    assert not answers


def test_a_collector_that_hangs_is_not_waited_for_and_not_asked_twice() -> None:
    asked, end = [], threading.Event()

    def hang() -> Iterator[Sample]:
        asked.append(1)
        end.wait(30)
        yield from good()

    exporter = Exporter([Collector("slow", hang, timeout=0.05)])
    for _ in range(3):
        assert said(exporter)["watchkeeper_collector_success", "slow"] == 0
    assert len(asked) == 1
    end.set()


def test_what_a_source_said_just_before_stands_in_until_it_should_have_answered() -> None:
    asked, end = [], threading.Event()

    def slow_from_the_second_time_on() -> Iterator[Sample]:
        asked.append(1)
        if len(asked) > 1:
            end.wait(30)
        yield from good()

    exporter = Exporter([Collector("slow", slow_from_the_second_time_on, timeout=0.5, fresh=0, wait=0.01)])
    first = said(exporter)
    assert first["watchkeeper_collector_success", "slow"] == 1
    found = said(exporter)
    assert found["watchkeeper_drift_columns_ratio", "shop.sales"] == 0.25
    assert found["watchkeeper_collector_success", "slow"] == 1
    wait_until(lambda: said(exporter)["watchkeeper_collector_success", "slow"] == 0, "it counts as failed")
    assert ("watchkeeper_drift_columns_ratio", "shop.sales") not in said(exporter)
    assert len(asked) == 2
    end.set()
    wait_until(lambda: said(exporter)["watchkeeper_collector_success", "slow"] == 1, "its answer")


def test_nothing_is_known_of_a_source_that_no_scrape_waits_for_until_it_has_answered() -> None:
    end = threading.Event()

    def slow() -> Iterator[Sample]:
        end.wait(30)
        yield from good()

    exporter = Exporter([Collector("slow", slow, timeout=60, wait=0)])
    assert ("watchkeeper_collector_success", "slow") not in said(exporter)
    end.set()
    wait_until(lambda: said(exporter).get(("watchkeeper_collector_success", "slow")) == 1, "its answer")


def test_the_first_scrape_finds_the_first_answers() -> None:
    release, asked = threading.Event(), threading.Event()

    def slow() -> Iterator[Sample]:
        asked.set()
        release.wait(30)
        yield from good()

    exporter = Exporter([Collector("slow", slow, wait=0.01), Collector("never", slow, wait=0)])
    starting = threading.Thread(target=exporter.start)
    starting.start()
    asked.wait(30)
    assert starting.is_alive(), "it has not answered"
    release.set()
    starting.join(30)
    assert said(exporter)["watchkeeper_drift_columns_ratio", "shop.sales"] == 0.25


def test_collectors_are_asked_side_by_side() -> None:
    both = threading.Barrier(2, timeout=30)

    def meet() -> Iterator[Sample]:
        both.wait()
        yield from ()

    found = said(Exporter([Collector("one", meet), Collector("other", meet)]))
    assert found["watchkeeper_collector_success", "one"] == 1
    assert found["watchkeeper_collector_success", "other"] == 1


def test_scrapes_at_once_all_get_an_answer() -> None:
    def slow() -> Iterator[Sample]:
        threading.Event().wait(0.1)
        yield from good()

    exporter = Exporter([Collector("slow", slow, fresh=0)])
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: said(exporter), range(24)))
    assert {each["watchkeeper_drift_columns_ratio", "shop.sales"] for each in found} == {0.25}


def test_an_answer_is_good_for_a_while() -> None:
    asked = []

    def count() -> Iterator[Sample]:
        asked.append(1)
        yield from good()

    exporter = Exporter([Collector("one", count, fresh=1000)])
    assert said(exporter) | said(exporter) == said(exporter)
    assert len(asked) == 1


def test_prometheus_can_read_what_is_served() -> None:
    port = free_port()
    stop = serve([Collector("good", good)], port)
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            families = {f.name for f in text_string_to_metric_families(answer.read().decode())}
    finally:
        stop()
    assert {"watchkeeper_drift_columns_ratio", "watchkeeper_collector_success"} <= families
