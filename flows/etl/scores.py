"""The table of a model's scores. No file of the contracts' folder: models come and go without one."""

import hashlib
import re

from flows.config import Settings
from flows.etl.contract import Contract, Partition, Source
from flows.etl.contract_parts import NAME, Column
from flows.etl.datasets import load_all
from flows.etl.lake import Lake

DATASET = "scores"


def contract_of(model: str) -> Contract:
    """The contract of a model's scores."""
    return contract_of_table(table_of(model))


def contract_of_table(table: str) -> Contract:
    """The contract of a table that `table_of` named; the ETL's limit of bad rows holds for pictures too."""
    return Contract(
        dataset=DATASET,
        table=table,
        description="The champion's label of each picture.",
        # What the ETL does with files of rows, which it has none of here: pictures have no lines either.
        source=Source(pattern="*", format="parquet"),
        columns={
            "article_id": Column(type="string"),
            "label": Column(type="string"),
            "probability": Column(type="double"),
            "model_version": Column(type="string"),
        },
        partition=Partition(column="label", transform="identity"),
        sort=["article_id"],
        duplicates="keep",
    )


def table_of(model: str) -> str:
    """The table's name: the model's where that can be one, else made so, with a digest to tell them apart."""
    if NAME.fullmatch(model):
        return model
    plain = re.sub(r"[^a-z0-9_]", "_", model)
    digest = hashlib.sha256(model.encode()).hexdigest()[:8]
    return f"{'' if plain[0].isalpha() else 'm_'}{plain}_{digest}"


def contracts_of(lake: Lake) -> list[Contract]:
    """Contracts of all tables of scores."""
    names = (identifier.split(".") for identifier in lake.tables())
    return [contract_of_table(table) for dataset, table in names if dataset == DATASET]


def kept(settings: Settings, lake: Lake) -> list[Contract]:
    """Contracts of all tables that maintenance keeps: those that have a file, and the scores'."""
    return [*load_all(settings.contracts), *contracts_of(lake)]
