"""`task model:*`: which model answered when and why, what changed, and the way back."""

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from flows.config import load_settings
from flows.console import out
from flows.errors import WatchkeeperError, run_command
from flows.retrain.runs import Run, recorded
from services.bento.ledger import Entry
from services.bento.manifest import Manifest
from services.bento.registry import Registry, last_promoted, models
from services.bento.store import Store, open_store

EPOCHS_SHOWN = 24
WIDE = 240


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    args = argparse.ArgumentParser(prog="task model:COMMAND --", description=__doc__)
    args.add_argument("command", choices=sorted(COMMANDS))
    args.add_argument("versions", nargs="*", metavar="VERSION")
    args.add_argument("--model", help="needed where there are several; the one promoted last unless said")
    args.add_argument(
        "--at", metavar="TIME", help="history: who was champion then, as 2026-11-17 or 2026-11-17T09:30"
    )
    args.add_argument("--format", choices=("table", "json"), default="table")
    return args


def open_registry(store: Store, model: str | None) -> Registry:
    """The registry of a model; of the one promoted last unless said.

    Raises:
        WatchkeeperError: there is no such model, or none at all.
    """
    known = models(store)
    if not known:
        raise WatchkeeperError("there is no model yet; make one with `task retrain -- --dataset NAME`")
    if model is None:
        model = last_promoted(store) or known[0]
        if len(known) > 1:
            out.print(f"[dim]{model}, of {', '.join(known)}; --model names another[/]")
    if model not in known:
        raise WatchkeeperError(f"there is no model {model}; there is {', '.join(known)}")
    return Registry(store, model)


def history(registry: Registry, given: argparse.Namespace) -> None:
    """The ledger, oldest first; with --at who was champion at a time."""
    if given.at:
        entries = [entry for entry in [registry.champion(at=moment(given.at))] if entry]
        if not entries:
            out.print(f"{registry.model} had no champion at {given.at}")
            return
    else:
        entries = registry.history()
    if given.format == "json":
        print(json.dumps([entry.model_dump(mode="json") for entry in entries], indent=1))
        return
    view = table("no", "when (UTC)", "event", "version", "champion after it", "why")
    for entry in entries:
        view.add_row(
            str(entry.number),
            f"{entry.when:%Y-%m-%d %H:%M:%S}",
            entry.event,
            entry.version or "",
            entry.champion or "none",
            why(entry),
        )
    tell(view)


def why(entry: Entry) -> str:
    """The reason, the snapshot and the flow run, or the Bento's tag."""
    facts = [entry.reason, *(f"{name} {value}" for name, value in entry.detail.items())]
    facts += [f"snapshot {entry.snapshot_id}"] if entry.snapshot_id else []
    facts += [f"flow run {entry.flow_run}"] if entry.flow_run not in ("", "none") else []
    return "; ".join(fact for fact in facts if fact)


def moment(text: str) -> datetime:
    """A time in UTC; a day means its end.

    Raises:
        WatchkeeperError: not a time.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise WatchkeeperError(f"--at {text!r} is no time; write 2026-11-17 or 2026-11-17T09:30") from None
    if len(text) == len("2026-11-17"):
        when += timedelta(days=1) - timedelta(microseconds=1)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def show(registry: Registry, given: argparse.Namespace) -> None:
    """A version's card and manifest; the champion's unless said."""
    version = given.versions[0] if given.versions else champion_of(registry)
    if given.format == "json":
        print(registry.manifest(version).model_dump_json(indent=1))
        return
    folder = registry.fetch(version)
    out.print(Markdown((folder / "card.md").read_text(encoding="utf-8")))
    out.print(f"\nfiles: {folder}")


def champion_of(registry: Registry) -> str:
    """The version that answers now."""
    champion = registry.champion()
    if champion is None or champion.version is None:
        raise WatchkeeperError(
            f"{registry.model} has no champion; name a version: {', '.join(registry.versions())}"
        )
    return champion.version


def diff(registry: Registry, given: argparse.Namespace) -> None:
    """What two versions differ in; with one, it and the champion."""
    if not 1 <= len(given.versions) <= 2:
        raise WatchkeeperError("task model:diff -- A B takes one or two versions")
    names = given.versions if len(given.versions) == 2 else [champion_of(registry), *given.versions]
    sides = [flat(registry.manifest(name)) for name in names]
    rows = {key: [side.get(key, "") for side in sides] for key in dict.fromkeys([*sides[0], *sides[1]])}
    differing = {key: values for key, values in rows.items() if values[0] != values[1]}
    if given.format == "json":
        print(json.dumps(differing, indent=1))
        return
    view = table("", *names)
    for key, values in differing.items():
        view.add_row(key, *values)
    tell(view)


def flat(manifest: Manifest) -> dict[str, str]:
    """The manifest as paths and texts; files by their sha256."""
    found: dict[str, str] = {}

    def walk(path: str, value: object) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(f"{path}.{name}" if path else str(name), inner)
        else:
            found[path] = f"{value:.5g}" if isinstance(value, float) else str(value)

    walk("", manifest.model_dump(mode="json", exclude={"version"}))
    return found


def rollback(registry: Registry, given: argparse.Namespace) -> None:
    """Back to the champion before, or to a version."""
    to = given.versions[0] if given.versions else None
    entry = registry.rollback(to, reason="asked for by `task model:rollback`")
    out.print(f"{registry.model}: champion is [bold]{entry.champion}[/], before it was {entry.before}")


def runs(registry: Registry, given: argparse.Namespace) -> None:
    """Every training and trial; with names, those side by side with their curves."""
    every = recorded(open_store(load_settings().registry), registry.model)
    found = [run for run in every if not given.versions or run.id in given.versions]
    missing = set(given.versions) - {run.id for run in found}
    if missing:
        raise WatchkeeperError(
            f"{registry.model} has no run {', '.join(sorted(missing))}; see `task model:runs`"
        )
    if given.format == "json":
        print(json.dumps([vars(run) for run in found], indent=1))
        return
    view = table(
        "run",
        "when",
        "kind",
        "outcome",
        "seed",
        "epochs",
        "valid. loss",
        "valid. acc",
        "holdout F1",
        "seconds",
    )
    for run in found:
        view.add_row(*summary(run))
    tell(view)
    if given.versions:
        compare_runs(found)


def summary(run: Run) -> list[str]:
    """One run's line."""

    def score(name: str) -> str:
        return f"{run.scores[name]:.3f}" if name in run.scores else ""

    return [
        run.id, run.when[:19], run.kind, run.outcome, str(run.seed), str(len(run.epochs)),
        score("validation_cross_entropy"), score("validation_accuracy"), score("f1_challenger"),
        f"{run.seconds:.0f}",
    ]  # fmt: skip


def compare_runs(found: list[Run]) -> None:
    """Configurations that differ, and validation loss by epoch."""
    names = dict.fromkeys(name for run in found for name in run.config)
    view = table("", *(run.id for run in found))
    for name in names:
        values = [str(run.config.get(name, "")) for run in found]
        if len(set(values)) > 1 or len(found) == 1:
            view.add_row(name, *values)
    longest = max(len(run.epochs) for run in found)
    for number in range(0, longest, max(longest // EPOCHS_SHOWN, 1)):
        losses = [
            f"{r.epochs[number]['validation_loss']:.3f}" if number < len(r.epochs) else "" for r in found
        ]
        view.add_row(f"validation loss, epoch {number + 1}", *losses)
    tell(view)


def tell(view: Table) -> None:
    """Print a table, as wide as it wants where it goes into a file or a pipe."""
    console = out if out.is_terminal else Console(width=WIDE, highlight=False)
    console.print(view)


def table(*columns: str) -> Table:
    """A plain table."""
    view = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        view.add_column(name, overflow="fold")
    return view


COMMANDS: dict[str, Callable[[Registry, argparse.Namespace], None]] = {
    "history": history,
    "show": show,
    "diff": diff,
    "rollback": rollback,
    "runs": runs,
}


def main() -> int:
    """Run one of the commands."""
    given = parser().parse_intermixed_args()
    store = open_store(load_settings().registry)
    COMMANDS[given.command](open_registry(store, given.model), given)
    return 0


if __name__ == "__main__":
    run_command(main)
