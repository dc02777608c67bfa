"""What a model's traffic is compared with: the champion's reference, in the cells of the prediction log."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.drift.summaries import kinds_of
from flows.errors import WatchkeeperError
from flows.etl.contract import Contract
from observability.drift.profiles import Cells, Scale, cells_of
from services.bento.manifest import Manifest

SEPARATOR = "\x1f"


@dataclass(frozen=True)
class Champion:
    """The version whose traffic is watched."""

    manifest: Manifest
    folder: Path

    @property
    def segment(self) -> str:
        """Its returned answers, as the contract's `watch.by` has them."""
        return SEPARATOR.join((self.manifest.model, self.manifest.version, "false"))

    @property
    def reference(self) -> pa.Table:
        """Its validation articles, in the columns of the prediction log."""
        return pq.read_table(self.folder / "reference.parquet")


def reference_cells(champion: Champion, contract: Contract, scales: dict[str, Scale]) -> Cells:
    """The cells of the reference, each article a period of its own: one does not tell of the next."""
    table = champion.reference
    missing = kinds_of(contract).keys() - set(table.column_names)
    if missing:
        raise WatchkeeperError(
            f"the reference of {champion.manifest.version} has no column {min(missing)}; train again"
        )
    values: dict[str, Any] = {}
    for name, kind in kinds_of(contract).items():
        column = table[name]
        held = (
            column.cast(pa.float64()).to_numpy()
            if kind == "numeric"
            else np.array(column.to_pylist(), object)
        )
        values[name] = (kind, held)
    return cells_of(values, np.arange(len(table)), scales)
