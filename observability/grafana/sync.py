"""`task grafana:sync`: the same as the files, into a Grafana that runs, over its API.

What is so already is left alone: a second run writes nothing. `--dry-run` says what the run would change.
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from observability.config import ObservabilitySettings, checked
from observability.errors import WatchkeeperError, run_command
from observability.grafana.client import Grafana, shown
from observability.grafana.difference import differences
from observability.grafana.kinds import KINDS, Kind
from observability.grafana.source import Body, Source, source


@dataclass(frozen=True)
class Change:
    """One thing that is not as it is to be.

    Attributes:
        body: what it is to be; None where it is to go.
        new: whether there is none yet.
        from_file: whether what there is came from Grafana's own files.
        lines: what differs.
    """

    kind: Kind
    name: str
    body: Body | None
    new: bool = False
    from_file: bool = False
    lines: list[str] = field(default_factory=list)

    def make(self, grafana: Grafana) -> None:
        """Make it so."""
        if self.body is None:
            self.kind.remove(grafana, self.name)
        else:
            self.kind.write(grafana, self.name, self.body, self.new)

    def __str__(self) -> str:
        done = "delete" if self.body is None else "create" if self.new else "change"
        return "\n".join(
            [f"{done} {self.kind.name} {self.name}".rstrip(), *(f"  {each}" for each in self.lines)]
        )


def main() -> None:
    """Compare, say what differs, and write it."""
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    args.add_argument(
        "--secrets",
        action="store_true",
        help="write contact points with secrets anew: Grafana never shows them",
    )
    said = args.parse_args()
    settings = checked(ObservabilitySettings)
    if settings.grafana_token is None:
        raise WatchkeeperError(
            "setting WATCHKEEPER_GRAFANA_TOKEN is not there; make a service account with the role Admin in "
            "Grafana, and give its token"
        )
    webhook = settings.slack_webhook
    grafana = Grafana(settings.grafana_url, settings.grafana_token, *([webhook] if webhook else []))
    sync(grafana, source(settings, webhook), dry=said.dry_run, secrets=said.secrets)


def sync(grafana: Grafana, wanted: Source, dry: bool = False, secrets: bool = False) -> None:
    """Make the one as the other, and print each change.

    Args:
        dry: write nothing.
        secrets: also write what may differ in a secret only.

    Raises:
        WatchkeeperError: as `Grafana.ask`; something that differs came from files; nothing is written then.
    """
    changes = ordered(planned(grafana, wanted, secrets))
    refuse_files(grafana, changes)
    for change in changes:
        print(change, flush=True)
        if not dry:
            change.make(grafana)
    count = f"{len(changes)} change{'' if len(changes) == 1 else 's'}" if changes else "no change"
    print(f"{grafana.url}: {count}{'; nothing was written' if dry and changes else ''}")


def planned(grafana: Grafana, wanted: Source, secrets: bool = False) -> Iterator[Change]:
    """Every change, in the order of `KINDS`."""
    for kind in KINDS:
        bodies = kind.wanted(wanted)
        found = kind.find(grafana, bodies)
        for name, body in bodies.items():
            if name not in found:
                yield Change(kind, name, body, new=True)
                continue
            lines = list(differences(found[name].body, body))
            if secrets and shown(body) != body:
                lines.append("its secrets, anew")
            if lines:
                yield Change(kind, name, body, from_file=found[name].from_file, lines=lines)
        for name in sorted(found.keys() - bodies.keys()):
            yield Change(kind, name, None, from_file=found[name].from_file)


def ordered(changes: Iterable[Change]) -> list[Change]:
    """What is written, in its order; then what goes, in the other, since nothing in use can go."""
    kept = list(changes)
    gone = [change for change in kept if change.body is None]
    return [change for change in kept if change.body is not None] + gone[::-1]


def refuse_files(grafana: Grafana, changes: Iterable[Change]) -> None:
    """Say so where Grafana would: what came from its files it changes at its start only."""
    fixed = [f"{change.kind.name} {change.name}".rstrip() for change in changes if change.from_file]
    if fixed:
        more = f" and {len(fixed) - 1} more" if len(fixed) > 1 else ""
        raise WatchkeeperError(
            f"{grafana.url}: {fixed[0]}{more} came from its provisioning files, which its API cannot change; "
            "put the new files there and restart it, or take them away and sync again"
        )


if __name__ == "__main__":
    run_command(main)
