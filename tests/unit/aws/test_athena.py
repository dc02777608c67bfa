"""A query in Athena: typed answers, what it cost, and whose words a failure has."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from moto import mock_aws
from moto.athena.models import QueryResults, athena_backends

from flows.aws import athena
from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl.sql import connect

REGION, GROUP = "eu-central-1", "watchkeeper"
COLUMNS: list[dict[str, Any]] = [
    {"Name": "country", "Type": "varchar"},
    {"Name": "lines", "Type": "bigint"},
    {"Name": "amount", "Type": "decimal", "Precision": 12, "Scale": 2},
    {"Name": "at", "Type": "timestamp"},
]
HEADER = ["country", "lines", "amount", "at"]
FIRST = ["France", "8557", "197403.90", "2011-12-09 12:50:00.000"]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Athena, as moto plays it: it takes queries and gives the answers that it was told."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("athena", region_name=REGION)
        client.create_work_group(Name=GROUP)
        yield client


def answers(columns: list[dict[str, Any]], *rows: Sequence[str | None]) -> None:
    """The next query's result."""
    data = [{"Data": [{"VarCharValue": v} if v is not None else {} for v in row]} for row in rows]
    queue = athena_backends["123456789012"][REGION].query_results_queue
    queue.append(QueryResults(rows=data, column_info=columns))


def test_an_answer_has_its_types_and_not_the_header_that_athena_repeats(
    client: Any, settings: Settings
) -> None:
    answers(COLUMNS, HEADER, FIRST, ["Nowhere", None, None, None])
    answer = athena.ask(settings, "SELECT 1", client)
    rows = answer.relation(connect()).fetchall()
    assert [str(value) for value in rows[0]] == ["France", "8557", "197403.90", "2011-12-09 12:50:00"]
    assert rows[1] == ("Nowhere", None, None, None)
    assert len(rows) == 2


def test_an_answer_without_rows_keeps_its_columns(client: Any, settings: Settings) -> None:
    answers(COLUMNS, HEADER)
    assert athena.ask(settings, "SELECT 1", client).relation(connect()).columns == HEADER


def test_a_query_is_billed_for_ten_megabytes_at_least() -> None:
    assert athena.Answer([], [], 0).dollars(5.0) == pytest.approx(0.00005)
    assert athena.Answer([], [], 2 * 10**12).dollars(5.0) == pytest.approx(10.0)


def stubbed(*states: dict[str, Any]) -> tuple[Any, Stubber]:
    """A client whose one query goes through these states."""
    client = boto3.client("athena", region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x")
    stub = Stubber(client)
    stub.add_response(
        "start_query_execution", {"QueryExecutionId": "q"}, {"QueryString": ANY, "WorkGroup": GROUP}
    )
    for state in states:
        stub.add_response(
            "get_query_execution", {"QueryExecution": {"Status": state}}, {"QueryExecutionId": "q"}
        )
    return client, stub


def test_a_failed_query_is_told_in_athenas_words(settings: Settings) -> None:
    said = {"State": "FAILED", "StateChangeReason": "line 1:8: Column 'x' cannot be resolved"}
    client, stub = stubbed({"State": "RUNNING"}, said)
    with stub, pytest.raises(WatchkeeperError, match="Column 'x' cannot be resolved"):
        athena.ask(settings, "SELECT x", client)


def test_a_query_is_stopped_where_nobody_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    # Of this module alone: another thread must not be ended by it.
    monkeypatch.setattr(athena, "time", SimpleNamespace(sleep=interrupted))
    client, stub = stubbed({"State": "RUNNING"})
    stub.add_response("stop_query_execution", {}, {"QueryExecutionId": "q"})
    with stub, pytest.raises(KeyboardInterrupt):
        athena.ask(settings, "SELECT 1", client)
    stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("AccessDeniedException", "aws:check"),
        ("ExpiredTokenException", "renew"),
        ("InvalidRequestException", "WATCHKEEPER_ATHENA_WORKGROUP"),
    ],
)
def test_a_refusal_names_the_remedy(code: str, remedy: str, settings: Settings) -> None:
    client = boto3.client("athena", region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x")
    stub = Stubber(client)
    stub.add_client_error("start_query_execution", code, "WorkGroup is not found.")
    with stub, pytest.raises(WatchkeeperError, match=remedy):
        athena.ask(settings, "SELECT 1", client)
