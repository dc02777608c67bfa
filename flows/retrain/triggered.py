"""Retraining because of an event: drift that was confirmed, or new data; unless it has just been done.

Prefect's automations start it (`prefect.yaml`). They forget how long ago they last did when they are deployed
again, so the interval and the number of new rows are checked here, against the ledger.
"""

from datetime import UTC, datetime, timedelta

from prefect import flow, get_run_logger

from flows.config import Settings, load_settings
from flows.etl.lake import Lake
from flows.retrain.dataset import contract_with_pictures
from flows.retrain.flow import retrain
from flows.retrain.promote import EVENTS
from flows.retrain.report import Outcome
from flows.watched import watched
from services.bento.ledger import Entry
from services.bento.registry import Registry
from services.bento.store import open_store


@watched
@flow(name="retrain-triggered", flow_run_name="retrain-{dataset}-{cause}", persist_result=False)
def retrain_triggered(
    dataset: str,
    cause: str,  # noqa: ARG001  # in the run's name
    model: str | None = None,
    hours: float = 24,
    new_rows: int = 0,
    trials: int = 0,
) -> Outcome | None:
    """Retrain, or leave it: then the log says why, and the run is a success.

    Args:
        dataset: a folder of contracts, one of which has pictures.
        cause: what the event was, for the run's name.
        model: the model's name; the data set's unless said.
        hours: since the last gate, at least.
        new_rows: in the lake since the snapshot that the last gate's challenger came from, at least.
        trials: of a search.
    """
    settings = load_settings()
    judged = last_judged(settings, model or dataset)
    reason = why_not(settings, dataset, judged, hours, new_rows) if judged else None
    if reason:
        get_run_logger().info("not retrained: %s", reason)
        return None
    return retrain(dataset, model, trials=trials)


def last_judged(settings: Settings, model: str) -> Entry | None:
    """The ledger's newest entry of a gate."""
    history = Registry(open_store(settings.registry), model).history()
    return next((entry for entry in reversed(history) if entry.event in EVENTS.values()), None)


def why_not(settings: Settings, dataset: str, judged: Entry, hours: float, new_rows: int) -> str | None:
    """The reason to leave it, or None."""
    if datetime.now(UTC) - judged.when < timedelta(hours=hours):
        return f"the gate judged {judged.version} at {judged.when:%Y-%m-%d %H:%M} UTC, within {hours:g} h"
    table = Lake(settings).table(contract_with_pictures(settings, dataset).identifier)
    now = table.current_snapshot() if table else None
    then = table.snapshot_by_id(judged.snapshot_id or 0) if table else None
    if new_rows and now and then:  # a snapshot that has expired is old enough
        added = rows_of(now) - rows_of(then)
        if added < new_rows:
            return f"{added:,} new rows since the snapshot of {judged.version}, {new_rows:,} are asked for"
    return None


def rows_of(snapshot: object) -> int:
    """Rows that a snapshot of the lake holds."""
    summary = getattr(snapshot, "summary", None)
    return int(summary["total-records"]) if summary else 0
