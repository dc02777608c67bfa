"""Answers on their way to the prediction log: kept as they are, made rows when a file is written."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from services.bento.live import Live


@dataclass(frozen=True)
class Kept:
    """A batch for the prediction log."""

    live: Live
    shadow: bool
    ids: list[str]
    when: datetime
    outputs: Any
    embedding: Any
    looks: list[dict[str, float]]


def rows_of(batches: list[Kept]) -> Any:  # noqa: ANN401  # pyarrow has no types
    """Rows of the log, made a version at a time: a table of each batch would cost more than its answers."""
    import pyarrow as pa

    from services.bento.prediction_log import log_rows

    by_version: dict[tuple[int, bool], list[Kept]] = {}
    for batch in batches:
        by_version.setdefault((id(batch.live), batch.shadow), []).append(batch)
    tables = []
    for same in by_version.values():
        manifest = same[0].live.manifest
        known = same[0].embedding is not None
        tables.append(
            log_rows(
                (manifest.model, manifest.version),
                manifest.classes,
                [one for batch in same for one in batch.ids],
                [batch.when for batch in same for _ in batch.ids],
                np.concatenate([batch.outputs for batch in same]),
                np.concatenate([batch.embedding for batch in same]) if known else None,
                [look for batch in same for look in batch.looks],
                shadow=same[0].shadow,
            )
        )
    return pa.concat_tables(tables)


def told(rows: list[tuple[str, datetime, str]]) -> Any:  # noqa: ANN401  # pyarrow has no types
    """Rows of the feedback."""
    from services.bento.prediction_log import feedback_rows

    return feedback_rows(rows)
