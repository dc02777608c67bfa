"""Data sets are found, and their tables come in an order in which they can be loaded."""

from pathlib import Path

import pytest

from flows.errors import WatchkeeperError
from flows.etl.datasets import datasets, load_dataset
from tests.factories import contract_in


def dataset_in(folder: Path, **references: str) -> None:
    """Contracts of one column `id` each, whose rules refer as told: `a="b.id"`."""
    for table, reference in references.items():
        rules = f"rules:\n  - {{name: known, column: id, references: {reference}}}\n" if reference else ""
        text = (
            "description: x\nsource: {pattern: '*', format: csv}\nduplicates: keep\n"
            "columns:\n  id: {type: string}\n" + rules
        )
        contract_in(folder, "market", table, text)


def test_tables_are_loaded_after_those_that_they_refer_to(tmp_path: Path) -> None:
    dataset_in(tmp_path, a="b.id", b="c.id", c="", d="")
    tables = [contract.table for contract in load_dataset(tmp_path, "market")]
    assert sorted(tables) == ["a", "b", "c", "d"]
    assert tables.index("c") < tables.index("b") < tables.index("a")


@pytest.mark.parametrize(
    ("references", "circle"),
    [({"a": "b.id", "b": "c.id", "c": "a.id"}, {"a", "b", "c"}), ({"a": "a.id"}, {"a"})],
)
def test_tables_that_refer_to_each_other_are_refused(
    tmp_path: Path, references: dict[str, str], circle: set[str]
) -> None:
    dataset_in(tmp_path, **references)
    with pytest.raises(WatchkeeperError, match="refer to each other") as refused:
        load_dataset(tmp_path, "market")
    assert set(str(refused.value).rpartition(": ")[2].split(" -> ")) == circle
    assert str(tmp_path / "market") in str(refused.value)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("b.id", "line 7, rules.0.references: refers to 'b', which has no contract in"),
        ("c.number", "line 7, rules.0.references: refers to c.number, a column that c does not have"),
    ],
)
def test_a_reference_to_nothing_is_refused(tmp_path: Path, reference: str, said: str) -> None:
    dataset_in(tmp_path, a=reference, c="")
    with pytest.raises(WatchkeeperError) as refused:
        load_dataset(tmp_path, "market")
    assert said in str(refused.value)
    assert str(tmp_path / "market" / "a.yaml") in str(refused.value)


def test_an_unknown_data_set_is_told_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(WatchkeeperError, match="no data set 'shop': contracts exist for none"):
        load_dataset(tmp_path, "shop")
    dataset_in(tmp_path, a="")
    with pytest.raises(WatchkeeperError, match="no data set 'shop': contracts exist for market"):
        load_dataset(tmp_path, "shop")
    assert datasets(tmp_path) == ["market"]
