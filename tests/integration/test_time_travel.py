"""`--as-of`: the table as it was, by a snapshot's id or by a moment."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl.lake import Lake
from flows.etl.sql import Query
from tests.factories import ask, content_hash, contract_in, run_table, settings_of, table_of, write_csv

TABLE = "shop.items"
COUNT = f"SELECT count(*) FROM {TABLE}"
CONTRACT = {
    "description": "Items.",
    "source": {"pattern": "items*.csv", "format": "csv"},
    "columns": {"id": {"type": "int"}},
    "duplicates": "drop",
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A table of three snapshots with 1, 3 and 2 rows; the last has a column more."""
    folder = tmp_path_factory.mktemp("lake")
    settings = settings_of(folder / "home")
    contract = contract_in(folder, "shop", "items", CONTRACT)
    write_csv(folder / "in" / "items1.csv", [[1]], ["id"])
    run_table(settings, contract, folder / "in")
    write_csv(folder / "in" / "items2.csv", [[2], [3]], ["id"])
    run_table(settings, contract, folder / "in")
    columns = {"id": {"type": "long"}, "name": {"type": "string", "optional": True}}
    contract = contract_in(folder, "shop", "items", CONTRACT | {"columns": columns})
    write_csv(folder / "in" / "items2.csv", [[4, "d"]], ["id", "name"])
    run_table(settings, contract, folder / "in")
    return settings


def moments(settings: Settings) -> list[tuple[str, datetime]]:
    """Id and moment of each snapshot."""
    return [
        (str(snapshot.snapshot_id), datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC))
        for snapshot in table_of(settings, TABLE).snapshots()
    ]


def test_each_snapshot_is_read_by_its_id(lake: Settings) -> None:
    counts = [ask(lake, COUNT, identifier) for identifier, _ in moments(lake)]
    assert counts == [[(1,)], [(3,)], [(2,)]]
    assert ask(lake, COUNT) == [(2,)]


def test_a_moment_reads_the_snapshot_that_was_current_then(lake: Settings) -> None:
    for number, (identifier, moment) in enumerate(moments(lake)):
        content = content_hash(lake, TABLE, identifier)
        plain = moment.replace(tzinfo=None)
        assert content_hash(lake, TABLE, plain.isoformat()) == content, "UTC unless it says"
        berlin = moment.astimezone(timezone(timedelta(hours=1)))
        assert content_hash(lake, TABLE, berlin.isoformat()) == content
        before = moment - timedelta(milliseconds=1)
        if number:
            assert content_hash(lake, TABLE, before.isoformat()) != content
    assert ask(lake, COUNT, "2999-01-01") == [(2,)]


def test_columns_are_those_of_the_time(lake: Settings) -> None:
    first = moments(lake)[0][0]
    columns = [column[:2] for column in Query(Lake(lake), f"FROM {TABLE}", first).run().description or []]
    assert [(name, str(kind)) for name, kind in columns] == [("id", "INTEGER"), ("_source_file", "VARCHAR")]
    assert ask(lake, f"SELECT id, name FROM {TABLE} ORDER BY 1") == [(1, None), (4, "d")]
    with pytest.raises(WatchkeeperError, match='"name" not found'):
        ask(lake, f"SELECT name FROM {TABLE}", first)


def test_pruning_is_by_the_snapshots_own_files(lake: Settings) -> None:
    second = moments(lake)[1][0]
    query = Query(Lake(lake), f"SELECT id FROM {TABLE} WHERE id = 3", second)
    assert (len(query.scans[0].paths), query.scans[0].files_in_table) == (1, 2)
    assert query.run().fetchall() == [(3,)]


@pytest.mark.parametrize(
    ("as_of", "complaint"),
    [
        ("123456789", r"shop\.items has no snapshot 123456789; its newest are \d+, \d+, \d+$"),
        ("yesterday", r"takes a snapshot id or a time such as 2026-01-31T12:00, not 'yesterday'"),
        ("2026-02-30", r"takes a snapshot id or a time"),
        ("", r"takes a snapshot id or a time"),
        ("12345", r"takes a snapshot id or a time"),
        (
            "1999-12-31T23:59",
            r"shop\.items did not exist at 1999-12-31T23:59:00\+00:00; its first snapshot is of",
        ),
    ],
)
def test_what_cannot_be_read_is_said(lake: Settings, as_of: str, complaint: str) -> None:
    with pytest.raises(WatchkeeperError, match=complaint):
        ask(lake, COUNT, as_of)


def test_tables_that_are_younger_than_the_moment_are_named(lake: Settings, tmp_path: Path) -> None:
    other = contract_in(
        tmp_path, "shop", "stores", CONTRACT | {"source": {"pattern": "stores.csv", "format": "csv"}}
    )
    write_csv(tmp_path / "in" / "stores.csv", [[1]], ["id"])
    run_table(lake, other, tmp_path / "in")
    then = moments(lake)[-1][1].isoformat()
    with pytest.raises(WatchkeeperError, match=r"shop\.stores did not exist"):
        ask(lake, "SELECT 1 FROM shop.items, shop.stores", then)
