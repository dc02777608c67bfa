"""`task quarantine`: the rows that broke a rule, where they stand, and the files that cannot be read."""

import csv
import io
import json
import sys
from pathlib import Path

import pytest

from flows.config import Settings
from flows.errors import run_command
from flows.etl import quarantine_command
from tests.factories import retail_row, run_table, settings_of, shipped, write_csv

CONTRACT = shipped("online_retail.transactions")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A table with 12 bad rows in a file whose name looks like markup, and a file that cannot be read."""
    folder = tmp_path_factory.mktemp("quarantine")
    settings = settings_of(folder / "home")
    good = [retail_row(StockCode=n) for n in range(200)]
    bad = [retail_row(Quantity=n, UnitPrice=-1, Description="[/red] [bold]") for n in range(11)]
    write_csv(folder / "in" / "a[b]c.csv", [*good, *bad, retail_row(Quantity=-1)])
    write_csv(folder / "in" / "z.csv", [], ["[/odd]", "b"])
    run_table(settings, CONTRACT, folder / "in")
    return settings


def said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """Code, standard output and standard error of the command."""
    monkeypatch.setenv("WATCHKEEPER_HOME", str(settings.home))
    given = ["--dataset", "online_retail", "--table", "transactions", *arguments]
    monkeypatch.setattr(sys, "argv", ["quarantine", *given])
    with pytest.raises(SystemExit) as left:
        run_command(quarantine_command.main)
    captured = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, captured.out, captured.err


def test_each_row_is_shown_with_its_place_its_rule_and_its_text(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown, _ = said(settings, monkeypatch, capsys, "--limit", "2")
    assert code == 0
    assert shown.splitlines() == [
        "a[b]c.csv:202  unit_price_below_zero",
        "    536365,85123A,[/red] [bold],0,2010-12-01 08:26:00,-1,17850.0,United Kingdom",
        "a[b]c.csv:203  unit_price_below_zero",
        "    536365,85123A,[/red] [bold],1,2010-12-01 08:26:00,-1,17850.0,United Kingdom",
        "2 of 12 rows shown: unit_price_below_zero 11, negative_quantity_not_cancelled 1",
        "file z.csv could not be read: its header lacks InvoiceNo, StockCode, Description, Quantity, "
        "InvoiceDate, UnitPrice, CustomerID, Country; it has [/odd], b",
    ]


def test_machines_get_every_row_as_it_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, text, _ = said(settings, monkeypatch, capsys, "--limit", "0", "--format", "json")
    rows = json.loads(text)
    assert [row["line"] for row in rows] == list(range(202, 214))
    _, text, _ = said(settings, monkeypatch, capsys, "--limit", "0", "--format", "csv")
    assert [row["raw"] for row in csv.DictReader(io.StringIO(text))] == [row["raw"] for row in rows]


def test_one_run_can_be_asked_for_and_a_wrong_one_is_said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = settings.home / "quarantine" / "online_retail" / "transactions"
    [run] = [path.stem for path in folder.iterdir()]
    _, text, _ = said(settings, monkeypatch, capsys, "--run", run, "--limit", "0", "--format", "json")
    assert len(json.loads(text)) == 12
    code, _, error = said(settings, monkeypatch, capsys, "--run", "nope")
    assert (code, error) == (2, f"error: run 'nope' has no quarantined rows here; runs that have: {run}\n")


def test_a_home_without_a_lake_has_nothing_in_quarantine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown, _ = said(settings_of(tmp_path), monkeypatch, capsys)
    assert (code, shown) == (0, "0 of 0 rows shown\n")
    code, shown, _ = said(settings_of(tmp_path), monkeypatch, capsys, "--replay")
    assert (code, shown) == (0, "nothing of online_retail.transactions is in quarantine\n")
    assert list(tmp_path.iterdir()) == []


def test_a_table_without_a_contract_is_said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = said(settings, monkeypatch, capsys, "--table", "nothing")
    assert (code, error) == (2, "error: data set online_retail has no table 'nothing'; it has transactions\n")
