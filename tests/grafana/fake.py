"""The state: it keeps what it is given as Grafana does, and has every request and answer checked."""

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.grafana.description import PROVISIONING, complaints

TOKEN = "glsa_of_a_test"
REDACTED = "[REDACTED]"
SECRETS = {"slack": ("url", "token"), "webhook": ("password", "authorization_credentials")}
UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
Body = dict[str, Any]
Answer = tuple[int, Any]


class RefusedError(Exception):
    """With a status and a message."""


class FakeGrafana:
    """Its state, and what it was asked.

    Attributes:
        asked: method and path of each request.
        wrong: what the description has against any of them.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.wrong: list[str] = []
        self.url = ""
        self.token = TOKEN
        self.refuses: dict[str, Answer] = {}
        self.folders: dict[str, Body] = {}
        self.data_sources: dict[str, Body] = {}
        self.dashboards: dict[str, Body] = {}
        self.metas: dict[str, Body] = {}
        self.rules: dict[str, Body] = {}
        self.intervals: dict[str, int] = {}
        self.points: dict[str, Body] = {}
        self.secrets: dict[str, Body] = {}
        self.templates: dict[str, Body] = {}
        self.mute_timings: dict[str, Body] = {}
        self.policies: Body = {
            "receiver": "grafana-default-email",
            "group_by": ["grafana_folder", "alertname"],
        }

    @property
    def written(self) -> list[tuple[str, str]]:
        """The requests that were to change something."""
        return [each for each in self.asked if each[0] != "GET"]

    def provision(self) -> None:
        """As if all of it had come from files."""
        for kept in (self.rules, self.points, self.templates, self.mute_timings):
            for body in kept.values():
                body["provenance"] = "file"
        self.policies["provenance"] = "file"
        for meta in self.metas.values():
            meta["provisioned"] = True
        for source in self.data_sources.values():
            source["readOnly"] = True

    def answer(self, method: str, target: str, token: str, body: Any) -> Answer:
        """To one request."""
        path = urlsplit(target).path
        self.asked.append((method, path))
        if token != f"Bearer {self.token}":
            return 401, {"message": "Invalid API key"}
        if path in self.refuses:
            return self.refuses[path]
        try:
            status, said = self._handle(method, path, parse_qs(urlsplit(target).query), body)
        except RefusedError as refused:
            status, said = refused.args[0], {"message": refused.args[1]}
        said = json.loads(json.dumps(said))
        self.wrong += complaints(method, path, body, status, said)
        return status, said

    def _handle(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Answer:
        routes: list[tuple[str, Callable[..., Answer]]] = [
            (r"/api/folders(?:/(.+))?", self._folder),
            (r"/api/datasources(?:/uid/(.+))?", self._data_source),
            (r"/api/dashboards/(?:db|uid/(.+))", self._dashboard),
            (PROVISIONING + r"contact-points(?:/(.+))?", self._point),
            (PROVISIONING + r"templates(?:/(.+))?", self._template),
            (PROVISIONING + r"mute-timings(?:/(.+))?", self._mute_timing),
            (PROVISIONING + r"alert-rules(?:/(.+))?", self._rule),
            (PROVISIONING + r"folder/(.+)/rule-groups/(.+)", self._group),
            (PROVISIONING + "policies", self._policies),
        ]
        if path == "/api/search":
            tag = query["tag"][0]
            return 200, [{"uid": uid} for uid, each in self.dashboards.items() if tag in each.get("tags", [])]
        for pattern, handle in routes:
            match = re.fullmatch(pattern, path)
            if match:
                return handle(method, body, *(unquote(each) if each else None for each in match.groups()))
        raise RefusedError(404, "Not found")

    def _folder(self, method: str, body: Body, uid: str | None) -> Answer:
        if method == "POST":
            if any(each["title"] == body["title"] for each in self.folders.values()):
                raise RefusedError(409, "a folder with the same name already exists")
            self.folders[body["uid"]] = {"id": len(self.folders) + 1, "version": 1, **body}
            return 200, self.folders[body["uid"]]
        kept = _there(self.folders, uid)
        if method == "PUT":
            kept["title"] = body["title"]
        return 200, kept

    def _data_source(self, method: str, body: Body, uid: str | None) -> Answer:
        if method == "GET":
            return 200, _there(self.data_sources, uid)
        if method == "POST" and any(each["name"] == body["name"] for each in self.data_sources.values()):
            raise RefusedError(409, "data source with the same name already exists")
        if method == "PUT" and _there(self.data_sources, uid).get("readOnly"):
            raise RefusedError(403, "Cannot update read-only data source")
        kept = {"id": 1, "orgId": 1, "typeLogoUrl": "logo.svg", "isDefault": True, "readOnly": False, **body}
        self.data_sources[body["uid"]] = kept
        return 200, {"id": 1, "name": body["name"], "message": "Data source saved", "datasource": kept}

    def _dashboard(self, method: str, body: Body, uid: str | None) -> Answer:
        if method == "POST":
            board = body["dashboard"]
            uid = board["uid"]
            if self.metas.get(uid, {}).get("provisioned"):
                raise RefusedError(400, "Cannot save provisioned dashboard")
            if body["folderUid"] not in self.folders:
                raise RefusedError(404, "folder not found")
            version = self.dashboards.get(uid, {}).get("version", 0) + 1
            self.dashboards[uid] = board | {"id": len(self.dashboards) + 1, "version": version}
            self.metas[uid] = {"folderUid": body["folderUid"], "provisioned": False}
            return 200, {"id": 1, "uid": uid, "status": "success", "title": "", "url": "", "version": version}
        kept = _there(self.dashboards, uid)
        if method == "DELETE":
            del self.dashboards[kept["uid"]], self.metas[kept["uid"]]
            return 200, {"id": kept["id"], "title": kept["title"], "message": "deleted"}
        return 200, {"dashboard": kept, "meta": self.metas[kept["uid"]]}

    def _point(self, method: str, body: Body, uid: str | None) -> Answer:
        if method == "GET":
            return 200, list(self.points.values())
        if method == "DELETE":
            if _there(self.points, uid)["name"] in _named(self.policies, "receiver"):
                raise RefusedError(500, "contact point is currently used by a notification policy")
            del self.points[uid or ""]
            return 202, {"message": "contactpoint deleted"}
        uid = uid or body["uid"]
        self._change(self.points.get(uid))
        settings = dict(body["settings"])
        kept = self.secrets.setdefault(uid, {})
        for name in SECRETS[body["type"]]:
            if settings.get(name) not in (None, REDACTED):
                kept[name] = settings[name]
            if name in kept:
                settings[name] = REDACTED
        if body["type"] == "slack" and not kept:
            raise RefusedError(400, "token must be specified when using the Slack chat API")
        self.points[uid] = {**body, "settings": settings, "provenance": "api"}
        return 202, self.points[uid] if method == "POST" else {"message": "contactpoint updated"}

    def _template(self, method: str, body: Body, name: str | None) -> Answer:
        if method == "GET":
            return 200, list(self.templates.values())
        name = name or ""
        self._change(self.templates.get(name))
        if method == "DELETE":
            _there(self.templates, name)
            del self.templates[name]
            return 204, None
        text = body["template"].strip()
        self.templates[name] = {
            "name": name,
            "template": text,
            "provenance": "api",
            "version": str(hash(text)),
            "kind": "grafana",  # newNotificationTemplate of grafana/grafana pkg/services/ngalert/provisioning
        }
        return 202, self.templates[name]

    def _mute_timing(self, method: str, body: Body, name: str | None) -> Answer:
        if method == "GET":
            return 200, list(self.mute_timings.values())
        self._change(self.mute_timings.get(name or ""))
        if method == "DELETE":
            if name in _named(self.policies, "mute_time_intervals"):
                raise RefusedError(500, "mute timing is used by a notification policy")
            del self.mute_timings[name or ""]
            return 204, None
        self.mute_timings[body["name"]] = {**body, "provenance": "api"}
        return 201 if method == "POST" else 202, self.mute_timings[body["name"]]

    def _policies(self, method: str, body: Body) -> Answer:
        if method == "GET":
            return 200, self.policies
        self._change(self.policies)
        known = {each["name"] for each in self.points.values()} | {"grafana-default-email"}
        unknown = (_named(body, "receiver") - known) | (
            _named(body, "mute_time_intervals") - set(self.mute_timings)
        )
        if unknown:
            raise RefusedError(400, f"{unknown} is not there")
        self.policies = {**_canonical(body), "provenance": "api"}
        return 202, {"message": "policies updated"}

    def _rule(self, method: str, body: Body, uid: str | None) -> Answer:
        if method == "GET":
            return 200, list(self.rules.values())
        if method == "DELETE":
            self._change(_there(self.rules, uid))
            group = self.rules.pop(uid or "")["ruleGroup"]
            if not any(each["ruleGroup"] == group for each in self.rules.values()):
                del self.intervals[group]
            return 204, None
        if method == "POST" and body["uid"] in self.rules:
            raise RefusedError(400, "a conflicting alert rule is found")
        if method == "PUT":
            self._change(_there(self.rules, uid))
        if body["folderUID"] not in self.folders:
            raise RefusedError(400, "folder does not exist")
        kept = {
            **body,
            "for": _duration(body["for"]),
            "id": len(self.rules) + 1,
            "orgID": 7,
            "updated": "2026-11-22T03:00:00Z",
            "provenance": "api",
            "keep_firing_for": "0s",
            "notification_settings": None,
            "record": None,
        }
        self.rules[body["uid"]] = kept
        self.intervals.setdefault(body["ruleGroup"], 60)
        return 201 if method == "POST" else 200, kept

    def _group(self, method: str, body: Body, folder: str, group: str) -> Answer:
        rules = [r for r in self.rules.values() if (r["folderUID"], r["ruleGroup"]) == (folder, group)]
        if not rules:
            raise RefusedError(404, "rule group not found")
        if method == "PUT":
            for rule in rules:
                self._change(rule)
            if {each["uid"] for each in body["rules"]} != {each["uid"] for each in rules}:
                raise RefusedError(400, "this sync was to leave the rules alone")
            if body["interval"] % 10:
                raise RefusedError(400, "interval should be a multiple of the scheduler interval of 10s")
            self.intervals[group] = body["interval"]
        return 200, {"title": group, "folderUid": folder, "interval": self.intervals[group], "rules": rules}

    @staticmethod
    def _change(kept: Body | None) -> None:
        if kept and kept.get("provenance") == "file":
            raise RefusedError(500, "cannot change provenance from 'file' to 'api'")


def _there(kept: dict[str, Body], uid: str | None) -> Body:
    if uid not in kept:
        raise RefusedError(404, "not found")
    return kept[uid]


def _named(route: Body, field: str) -> set[str]:
    said = route.get(field) or []
    names = {said} if isinstance(said, str) else set(said)
    return names.union(*(_named(each, field) for each in route.get("routes") or []))


def _canonical(route: Body) -> Body:
    """A route as Grafana writes it back."""
    kept = dict(route)
    for name in ("group_wait", "group_interval", "repeat_interval"):
        if name in kept:
            kept[name] = _duration(kept[name])
    if "routes" in kept:
        kept["routes"] = [_canonical(each) for each in kept["routes"]]
    return kept


def _duration(said: str) -> str:
    """As Prometheus's own library writes it: weeks only where nothing is left."""
    seconds = sum(int(count) * UNITS[unit] for count, unit in re.findall(r"(\d+)([wdhms])", said))
    if seconds and seconds % UNITS["w"] == 0:
        return f"{seconds // UNITS['w']}w"
    parts = []
    for unit in "dhms":
        count, seconds = divmod(seconds, UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
