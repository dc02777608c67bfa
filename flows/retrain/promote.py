"""From a version's folder to a verdict and, if it is better, a champion with its Bento."""

from dataclasses import asdict, dataclass
from pathlib import Path

from flows.retrain.evaluate import Holdout, compare
from services.bento.gate import Verdict, decide
from services.bento.gate_policy import Policy
from services.bento.ledger import Entry
from services.bento.ledger import Facts as Said
from services.bento.manifest import read_manifest
from services.bento.registry import OvertakenError, Registry

REMATCHES = 3
EVENTS = {"promote": "promoted", "reject": "rejected", "inconclusive": "inconclusive", "error": "error"}


@dataclass(frozen=True)
class Judged:
    """The gate's verdict on a version, what it met, and the ledger's entry of it."""

    verdict: Verdict
    entry: Entry
    champion: str | None
    """The champion that it was compared with."""


def judge(
    registry: Registry, folder: Path, holdout: Holdout, policy: Policy, flow_run: str, seed: int
) -> Judged:
    """Publish a version, compare it with the champion, and promote it only when it is truly better.

    Asked again after it was killed, it goes on: a version that is the champion already stays it.

    Raises:
        WatchkeeperError: a file is not what its manifest says, or other runs promoted again and again.
    """
    version = registry.add(folder)
    for _ in range(REMATCHES):
        champion = registry.champion()
        if champion and champion.version == version:
            return Judged(Verdict(**champion.verdict), champion, champion.before)
        against = champion.version if champion else None
        facts = compare(holdout, registry.fetch(version), registry.fetch(against) if against else None)
        verdict = decide(facts, policy, seed)
        try:
            return Judged(verdict, enter(registry, version, against, verdict, flow_run), against)
        except OvertakenError:  # the champion that it beat is gone: meet the new one
            continue
    raise OvertakenError(f"{registry.model}: {REMATCHES} champions in a row came in between; run again later")


def enter(registry: Registry, version: str, against: str | None, verdict: Verdict, flow_run: str) -> Entry:
    """Write the verdict into the ledger; a promotion moves the champion with the same entry."""
    facts: Said = {
        "flow_run": flow_run,
        "reason": " ".join(verdict.reasons),
        "verdict": asdict(verdict),
        "snapshot_id": read_manifest(registry.fetch(version)).snapshot.snapshot_id,
    }
    if verdict.outcome == "promote":
        return registry.promote(version, against, **facts)
    return registry.append(EVENTS[verdict.outcome], version, **facts)  # type: ignore[arg-type]
