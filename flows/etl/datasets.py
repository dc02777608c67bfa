"""Data sets: the folders of `flows/etl/contracts`, and the order in which their tables are loaded."""

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from flows.errors import WatchkeeperError
from flows.etl.contract import Contract
from flows.etl.contract_file import load_contract, refusal


def datasets(folder: Path) -> list[str]:
    """Names of the data sets that have contracts."""
    return sorted({path.parent.name for path in folder.glob("*/*.yaml")})


def load_all(folder: Path) -> list[Contract]:
    """Every contract of every data set.

    Raises:
        WatchkeeperError: see `load_dataset`.
    """
    return [contract for dataset in datasets(folder) for contract in load_dataset(folder, dataset)]


def with_event_time(contracts: list[Contract]) -> list[Contract]:
    """Those tables that can be rebuilt by dates.

    Raises:
        WatchkeeperError: there are none.
    """
    found = [contract for contract in contracts if contract.event_time]
    if not found:
        names = ", ".join(contract.identifier for contract in contracts)
        raise WatchkeeperError(f"no event_time in the contracts of {names}: they cannot be rebuilt by dates")
    return found


def load_dataset(folder: Path, dataset: str) -> list[Contract]:
    """A data set's contracts, each after those whose tables it refers to.

    Raises:
        WatchkeeperError: no such data set, a refused contract, or references that form a circle.
    """
    known = datasets(folder)
    if dataset not in known:
        raise WatchkeeperError(
            f"no data set {dataset!r}: contracts exist for {', '.join(known) or 'none'} (in {folder})"
        )
    contracts = {path.stem: load_contract(path) for path in sorted((folder / dataset).glob("*.yaml"))}
    for contract in contracts.values():
        _refuse_dangling(contract, contracts, folder / dataset / f"{contract.table}.yaml")
    try:
        order = list(TopologicalSorter({name: c.references for name, c in contracts.items()}).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise WatchkeeperError(f"contracts of {folder / dataset} refer to each other: {circle}") from None
    return [contracts[name] for name in order]


def load_table(folder: Path, dataset: str, table: str) -> Contract:
    """One contract of a data set.

    Raises:
        WatchkeeperError: see `load_dataset`; or the data set has no such table.
    """
    contracts = {contract.table: contract for contract in load_dataset(folder, dataset)}
    if table not in contracts:
        raise WatchkeeperError(f"data set {dataset} has no table {table!r}; it has {', '.join(contracts)}")
    return contracts[table]


def _refuse_dangling(contract: Contract, contracts: dict[str, Contract], path: Path) -> None:
    """Every `references` rule names a table and a column that there are."""
    for number, rule in enumerate(contract.rules):
        table, _, column = (rule.references or "").partition(".")
        place = ("rules", number, "references")
        if table and table not in contracts:
            raise refusal(path, [(place, f"refers to {table!r}, which has no contract in {path.parent}")])
        if table and column not in contracts[table].columns:
            raise refusal(
                path, [(place, f"refers to {rule.references}, a column that {table} does not have")]
            )
