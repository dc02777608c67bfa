"""Events leave as StatsD, one series a name; nobody listening never stops a run, nor slows it."""

import re
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from observability import background, emit
from observability.metrics import ETL_ROWS, ETL_STEP_SECONDS, METRICS, Metric

LABELS = {"dataset": "hm", "table": "articles", "outcome": "committed"}
STEP = {"dataset": "hm", "table": "articles", "step": "land"}
NOTHING = "nothing came"


class Listener:
    """A StatsD server on a free port of the loopback."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(10)
        self.port: int = self.socket.getsockname()[1]

    def next(self) -> str:
        return self.socket.recv(65536).decode()

    def waiting(self) -> str:
        """What has come when all is sent; over the loopback a datagram is there when `send` returns."""
        emit.sender().close()
        emit.sender.cache_clear()
        return self.next() if select.select([self.socket], [], [], 0)[0] else NOTHING


@pytest.fixture(autouse=True)
def fresh_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A sender of the test's own, whatever was sent before."""
    emit.sender.cache_clear()
    yield
    emit.sender().close()
    emit.sender.cache_clear()


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    listening = Listener()
    monkeypatch.setenv("WATCHKEEPER_STATSD_HOST", "127.0.0.1")
    monkeypatch.setenv("WATCHKEEPER_STATSD_PORT", str(listening.port))
    yield listening
    listening.socket.close()


def test_a_count_is_the_name_and_the_labels_in_their_order(listener: Listener) -> None:
    emit.count(ETL_ROWS, 1234, outcome="quarantined", table="articles", dataset="hm")
    assert listener.next() == "watchkeeper_etl_rows_total.hm.articles.quarantined:1234|c"


def test_a_count_of_nothing_is_not_sent(listener: Listener) -> None:
    emit.count(ETL_ROWS, 0, **LABELS)
    assert listener.waiting() == NOTHING


def test_seconds_are_sent_in_statsds_milliseconds(listener: Listener) -> None:
    emit.seconds(ETL_STEP_SECONDS, 1.5, **STEP)
    assert listener.next() == "watchkeeper_etl_step_seconds.hm.articles.land:1500.000000|ms"


def test_a_block_is_timed_when_it_ends(listener: Listener) -> None:
    with emit.timed(ETL_STEP_SECONDS, **STEP):
        assert listener.waiting() == NOTHING
    sent = re.fullmatch(r"watchkeeper_etl_step_seconds\.hm\.articles\.land:(\d+\.\d+)\|ms", listener.next())
    assert sent is not None
    assert 0 <= float(sent[1]) < 10_000


def test_a_block_that_raises_is_timed_too(listener: Listener) -> None:
    with pytest.raises(KeyError), emit.timed(ETL_STEP_SECONDS, **STEP):
        raise KeyError
    assert listener.next().startswith("watchkeeper_etl_step_seconds.hm.articles.land:")


def test_each_event_is_a_datagram(listener: Listener) -> None:
    for amount in (1, 2):
        emit.count(ETL_ROWS, amount, **LABELS)
    assert [listener.next().rpartition(":")[2] for _ in range(2)] == ["1|c", "2|c"]


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        # A dot would be taken for the border of two labels, the others for StatsD's own marks.
        ("online.retail", "online_retail"),
        ("a:b|c@d#e,f", "a_b_c_d_e_f"),
        ("two words\nand lines", "two_words_and_lines"),
        ("naïve", "na_ve"),
        ("../..", "_____"),
        ("", "_"),
        ("Kept-as_it-is-9", "Kept-as_it-is-9"),
    ],
)
def test_a_value_is_made_safe_for_its_place_in_the_name(listener: Listener, value: str, sent: str) -> None:
    emit.count(ETL_ROWS, 1, dataset=value, table="t", outcome="committed")
    assert listener.next() == f"watchkeeper_etl_rows_total.{sent}.t.committed:1|c"


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            LABELS | {"run": "1"},
            r"has labels \['dataset', 'outcome', 'table'\], not \['dataset', 'outcome', 'run', 't",
        ),
        ({"dataset": "hm", "table": "articles"}, r"has labels .*, not \['dataset', 'table'\]"),
        ({}, r"has labels .*, not \[\]"),
        (LABELS | {"outcome": "lost"}, "outcome='lost' is not one of committed, quarantined, duplicate"),
    ],
)
def test_what_a_metric_does_not_declare_raises_and_is_not_sent(
    listener: Listener, labels: dict[str, str], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        emit.count(ETL_ROWS, 1, **labels)
    with pytest.raises(ValueError, match="watchkeeper_etl_rows_total"):
        emit.bucket(ETL_ROWS, labels)
    assert listener.waiting() == NOTHING


def test_a_wrong_label_raises_before_the_work_that_it_would_time() -> None:
    with (
        pytest.raises(ValueError, match="step='dance' is not one of"),
        emit.timed(ETL_STEP_SECONDS, **STEP | {"step": "dance"}),
    ):
        pytest.fail("the block ran")


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_can_be_named_with_all_that_it_allows(metric: Metric) -> None:
    for label, values in metric.labels.items():
        for value in values or ("x",):
            labels = {name: (allowed or ("x",))[0] for name, allowed in metric.labels.items()} | {
                label: value
            }
            assert emit.bucket(metric, labels).count(".") == len(metric.labels)


def emit_everything() -> None:
    emit.count(ETL_ROWS, 1, **LABELS)
    emit.seconds(ETL_STEP_SECONDS, 1, **STEP)
    with emit.timed(ETL_STEP_SECONDS, **STEP):
        pass


def lost() -> None:
    """Emit to where nothing can arrive; the sender ends in time all the same."""
    for _ in range(3):  # the first is refused by the port, the next would hear of it
        emit_everything()
    emit.sender().close()


def test_nobody_listening_is_no_error(listener: Listener, caplog: pytest.LogCaptureFixture) -> None:
    listener.socket.close()
    lost()
    assert caplog.text == ""


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
@pytest.mark.parametrize("host", [".", "a..b", "x" * 70])
def test_a_host_that_can_have_no_address_is_no_error(
    monkeypatch: pytest.MonkeyPatch, host: str, protocol: str
) -> None:
    monkeypatch.setenv("WATCHKEEPER_STATSD_PROTOCOL", protocol)
    monkeypatch.setenv("WATCHKEEPER_STATSD_HOST", host)
    lost()


def test_a_name_server_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()

    def late(*_: object, **__: object) -> None:
        answers.wait()
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setenv("WATCHKEEPER_STATSD_HOST", "statsd.example")
    monkeypatch.setattr(socket, "getaddrinfo", late)
    for _ in range(2 * background.WAITING):  # what waits beyond the bound is lost
        emit.count(ETL_ROWS, 1, **LABELS)
    answers.set()


def test_over_tcp_the_same_lines_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("WATCHKEEPER_STATSD_PROTOCOL", "tcp")
        monkeypatch.setenv("WATCHKEEPER_STATSD_PORT", str(server.getsockname()[1]))
        server.settimeout(10)
        emit.count(ETL_ROWS, 7, **LABELS)
        emit.count(ETL_ROWS, 8, **LABELS)
        arriving, _ = server.accept()
        arriving.settimeout(10)
        with arriving, arriving.makefile() as lines:
            assert [next(lines).rpartition(":")[2] for _ in range(2)] == ["7|c\n", "8|c\n"]


def test_a_connection_that_is_refused_is_not_tried_at_once_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def refused(address: object) -> None:
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(emit, "connected", lambda: refused("statsd"))
    lost()
    assert tried == ["statsd"]
