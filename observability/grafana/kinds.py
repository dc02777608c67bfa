"""The kinds of things that there are in a Grafana: how each is found, written and removed by its API.

What is ours bears our prefix; of everything else only the policy tree is touched, since there is one only.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from observability.errors import WatchkeeperError
from observability.grafana.client import Grafana, quoted
from observability.grafana.dashboards.panels import TAG
from observability.grafana.rules import FOLDER, FOLDER_UID, PREFIX, SECONDS
from observability.grafana.source import Body, Source

PROVISIONING = "/v1/provisioning"
FILE = "file"
"""The provenance of what Grafana read from its files."""
UNSET_RECEIVERS = {"grafana-default-email", "empty"}
"""Of the tree that nobody has written."""


@dataclass(frozen=True)
class Found:
    """What there is: as Grafana says it, and whether it came from a file."""

    body: Body
    from_file: bool = False


class Kind(ABC):
    """One kind of thing."""

    name: str

    @abstractmethod
    def wanted(self, source: Source) -> dict[str, Body]:
        """What there is to be, by its name."""

    @abstractmethod
    def find(self, grafana: Grafana, wanted: dict[str, Body]) -> dict[str, Found]:
        """What there is of it, and what else there is of ours."""

    @abstractmethod
    def write(self, grafana: Grafana, name: str, body: Body, new: bool) -> None:
        """Make it, or make it so."""

    def remove(self, grafana: Grafana, name: str) -> None:
        """Take it away."""
        raise NotImplementedError(name)


class Folder(Kind):
    """The folder of the dashboards and rules."""

    name = "folder"

    def wanted(self, source: Source) -> dict[str, Body]:
        """The one."""
        return {FOLDER_UID: {"uid": FOLDER_UID, "title": FOLDER}}

    def find(self, grafana: Grafana, wanted: dict[str, Body]) -> dict[str, Found]:
        """Its title."""
        return {name: Found(_only(body, want)) for name, body, want in _each(grafana, "/folders/", wanted)}

    def write(self, grafana: Grafana, name: str, body: Body, new: bool) -> None:
        """Make it, or give it its title."""
        if new:
            grafana.ask("POST", "/folders", body)
        else:
            grafana.ask("PUT", f"/folders/{name}", {"title": body["title"], "overwrite": True})


class DataSource(Kind):
    """Prometheus, as the dashboards and rules ask it."""

    name = "data source"

    def wanted(self, source: Source) -> dict[str, Body]:
        """The one."""
        return {source.data_source["uid"]: source.data_source}

    def find(self, grafana: Grafana, wanted: dict[str, Body]) -> dict[str, Found]:
        """What we say of it; what else Grafana knows of it is its own."""
        return {
            name: Found(_only(body, want), body.get("readOnly", False))
            for name, body, want in _each(grafana, "/datasources/uid/", wanted)
        }

    def write(self, grafana: Grafana, name: str, body: Body, new: bool) -> None:
        """Make it, or make it so."""
        grafana.ask(*(("POST", "/datasources") if new else ("PUT", f"/datasources/uid/{name}")), body)


class Dashboard(Kind):
    """A dashboard, in our folder."""

    name = "dashboard"

    def wanted(self, source: Source) -> dict[str, Body]:
        """By their uids."""
        return {each["uid"]: {"dashboard": each, "folderUid": FOLDER_UID} for each in source.dashboards}

    def find(self, grafana: Grafana, wanted: dict[str, Body]) -> dict[str, Found]:
        """Those that are wanted, and ours by tag and prefix."""
        tagged = grafana.ask("GET", f"/search?type=dash-db&tag={TAG}&limit=5000") or []
        ours: dict[str, Body] = {each["uid"]: {} for each in tagged if each["uid"].startswith(PREFIX)}
        return {
            name: Found(
                {"dashboard": said["dashboard"], "folderUid": said["meta"].get("folderUid", "")},
                said["meta"].get("provisioned", False),
            )
            for name, said, _ in _each(grafana, "/dashboards/uid/", ours | wanted)
        }

    def write(self, grafana: Grafana, name: str, body: Body, new: bool) -> None:
        """Save it over what there is."""
        message = "Watchkeeper's sync"
        grafana.ask("POST", "/dashboards/db", {**body, "overwrite": True, "message": message})

    def remove(self, grafana: Grafana, name: str) -> None:
        """Take it away."""
        grafana.ask("DELETE", f"/dashboards/uid/{name}")


class Listed(Kind):
    """What Grafana's alerting lists whole, and knows by `key`."""

    def __init__(self, name: str, path: str, part: str, key: str) -> None:
        self.name, self._path, self._part, self._key = name, f"{PROVISIONING}/{path}", part, key

    def wanted(self, source: Source) -> dict[str, Body]:
        """By their keys."""
        return {body[self._key]: body for body in getattr(source, self._part)}

    def find(self, grafana: Grafana, wanted: dict[str, Body]) -> dict[str, Found]:
        """Those that are wanted, and ours by prefix."""
        listed = grafana.ask("GET", self._path) or []
        return {
            body[self._key]: Found(body, body.get("provenance") == FILE)
            for body in listed
            if body[self._key] in wanted or body[self._key].startswith(PREFIX)
        }

    def write(self, grafana: Grafana, name: str, body: Body, new: bool) -> None:
        """Make it, or make it so."""
        grafana.ask(*(("POST", self._path) if new else ("PUT", f"{self._path}/{quoted(name)}")), body)

    def remove(self, grafana: Grafana, name: str) -> None:
        """Take it away."""
        grafana.ask("DELETE", f"{self._path}/{quoted(name)}")


class Template(Listed):
    """A message template: a PUT makes it as well."""

    def find(self, grafana: Grafana, wanted: dict[str, Body]) -> dict[str, Found]:
        """Their texts: the newest Grafanas also say their `kind`, which is their own."""
        found = super().find(grafana, wanted)
        return {
            name: Found({key: each.body.get(key) for key in ("name", "template")}, each.from_file)
            for name, each in found.items()
        }

    def write(self, grafana: Grafana, name: str, body: Body, new: bool) -> None:
        """Make it, or make it so."""
        grafana.ask("PUT", f"{self._path}/{quoted(name)}", {"template": body["template"]})


class Policies(Kind):
    """The policy tree, of which an organisation has one."""

    name = "notification policies"
    path = f"{PROVISIONING}/policies"

    def wanted(self, source: Source) -> dict[str, Body]:
        """The whole tree."""
        return {"": source.policies}

    def find(self, grafana: Grafana, wanted: dict[str, Body]) -> dict[str, Found]:
        """The whole tree.

        Raises:
            WatchkeeperError: it sends to somebody else, who would get nothing any more.
        """
        tree = grafana.ask("GET", self.path) or {}
        ours = {name for name in _receivers(tree) if name.startswith(PREFIX)}
        others = sorted(_receivers(tree) - ours - UNSET_RECEIVERS)
        if others:
            raise WatchkeeperError(
                f"{grafana.url}: its notification policies send to {', '.join(others)}, which is not ours, "
                "and there is one tree only; give Watchkeeper an organisation of its own, with a token of it"
            )
        return {"": Found(tree, tree.get("provenance") == FILE)}

    def write(self, grafana: Grafana, name: str, body: Body, new: bool) -> None:
        """Write the whole tree."""
        grafana.ask("PUT", self.path, body)


class RuleGroup(Kind):
    """How often a group of rules is evaluated; the rules themselves are written before."""

    name = "rule group"

    def wanted(self, source: Source) -> dict[str, Body]:
        """By their names."""
        return {group: {"interval": SECONDS} for group in source.groups}

    def find(self, grafana: Grafana, wanted: dict[str, Body]) -> dict[str, Found]:
        """Their intervals. A file's rules have been refused before."""
        return {name: Found(_only(body, want)) for name, body, want in _each(grafana, self._path(), wanted)}

    def write(self, grafana: Grafana, name: str, body: Body, new: bool) -> None:
        """Set the interval, and leave the rules as they are."""
        path = f"{self._path()}{quoted(name)}"
        grafana.ask("PUT", path, grafana.ask("GET", path) | body)

    @staticmethod
    def _path() -> str:
        return f"{PROVISIONING}/folder/{FOLDER_UID}/rule-groups/"


KINDS: tuple[Kind, ...] = (
    Folder(),
    DataSource(),
    Listed("mute timing", "mute-timings", "mute_timings", "name"),
    Template("template", "templates", "templates", "name"),
    Listed("contact point", "contact-points", "contact_points", "uid"),
    Policies(),
    Dashboard(),
    Listed("alert rule", "alert-rules", "rules", "uid"),
    RuleGroup(),
)
"""In the order in which they are written: each rests on those before it."""


def _each(grafana: Grafana, path: str, wanted: dict[str, Body]) -> Iterator[tuple[str, Any, Body]]:
    """Those that there are, one question each."""
    for name, body in wanted.items():
        said = grafana.ask("GET", f"{path}{quoted(name)}")
        if said is not None:
            yield name, said, body


def _only(body: Body, wanted: Body) -> Body:
    return {key: body.get(key) for key in wanted}


def _receivers(route: Body) -> set[str]:
    below = (_receivers(each) for each in route.get("routes") or [])
    return {route["receiver"]}.union(*below) if route.get("receiver") else set().union(*below)
