"""What the relay is told: alerts and flow events, each with its words and the key that it is told once by."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from observability.slack.message import PARTS, Message, Part, cut, one_line

LATE_SECONDS = 60.0
"""After which a message says that it comes late."""
REASON = 500
"""Characters of a failure's reason."""
COLORS = {"page": "#d40e0d", "ticket": "#e8912d", "info": "#439fe0"}
GOOD = "#2eb67d"
ELSEWHERE = {"alertname", "severity", "owner", "grafana_folder", "rulename", "ref_id"}
"""Labels that are said elsewhere, or say nothing."""
BLIND = {"DatasourceError": "cannot be evaluated", "DatasourceNoData": "has no data"}
"""Grafana's alerts on a rule itself, whose name is then `rulename`, and what is the matter with it
(grafana/grafana pkg/services/ngalert/state/compat.go)."""
BLIND_RUNBOOK = "RulesFailing.md"
Words = Annotated[str, AfterValidator(lambda said: said.encode("utf-8", "replace").decode())]
"""Text that can be sent: a file's name in an error may hold bytes that are no UTF-8."""


class Alert(BaseModel):
    """One alert of a webhook of Alertmanager or Grafana; what else they say of it is not needed."""

    model_config = ConfigDict(populate_by_name=True)

    kind: Literal["alert"] = "alert"
    status: Literal["firing", "resolved"]
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    fingerprint: str
    starts_at: AwareDatetime = Field(alias="startsAt")
    ends_at: AwareDatetime | None = Field(default=None, alias="endsAt")
    dashboard_url: str = Field(default="", alias="dashboardURL")

    @property
    def key(self) -> str:
        """Of its firing, or of its end."""
        return self._key_of(self.status)

    @property
    def told_by(self) -> tuple[str, ...]:
        """Keys of which one says that there is nothing to tell: its own, or of the end that overtook it."""
        return tuple({self.key, self._key_of("resolved")})

    def _key_of(self, status: str) -> str:
        return f"{self.fingerprint} {status} {self.starts_at.isoformat()}"

    @property
    def severity(self) -> str:
        """As its rule says."""
        return self.labels.get("severity", "alert")

    @property
    def said(self) -> dict[str, str]:
        """Its annotations; of a rule that Grafana knows nothing by, not what the rule would have said."""
        fault = BLIND.get(self.labels.get("alertname", ""))
        if fault is None:
            return self.annotations
        error = cut(one_line(self.annotations.get("Error", "")), REASON)
        folder = self.annotations.get("runbook_url", "").rpartition("/")[0]
        return self.annotations | {
            "summary": f"the rule {self.labels.get('rulename', '')} {fault}",
            "description": f"It neither fires nor ends until then. {error}".strip(),
            "runbook_url": f"{folder}/{BLIND_RUNBOOK}",
        }

    @property
    def title(self) -> str:
        """How bad, which, and what."""
        name = self.labels.get("alertname", "alert")
        return f"{self.severity.upper()} {self.status} · {name}: {self.said.get('summary', '')}"

    def part(self, titled: bool) -> Part:
        """Everything that is known of it."""
        resolved = self.status == "resolved"
        where = {
            name: value
            for name, value in sorted(self.labels.items())
            if name not in ELSEWHERE and not name.startswith("__")
        }
        lines = [
            self.said.get("description", ""),
            "Where: " + ", ".join(f"{name}={value}" for name, value in where.items()) if where else "",
            f"Since {moment(self.starts_at)}",
            f"Owner: {self.labels['owner']}" if "owner" in self.labels else "",
        ]
        if resolved and self.ends_at:
            took = lasting((self.ends_at - self.starts_at).total_seconds())
            lines[2] = f"From {moment(self.starts_at)} to {moment(self.ends_at)}: {took}"
        links = {
            "runbook": self.said.get("runbook_url", ""),
            "dashboard": self.said.get("dashboard_url", self.dashboard_url),
        }
        color = GOOD if resolved else COLORS.get(self.severity, COLORS["ticket"])
        return Part(color, self.title if titled else "", "\n".join(filter(None, lines)), links)


class Event(BaseModel):
    """What a flow's or a task's run came to.

    Attributes:
        name: the flow's or the task's.
        run: the run's.
        id: the run's, under which each event is told once.
        seconds: that it took.
        reason: of a failure.
        figures: what a success counted, in words.
        url: of the run's log.
    """

    kind: Literal["flow", "task"]
    name: Words
    run: Words
    id: str
    event: Literal["start", "success", "failure"]
    when: AwareDatetime
    seconds: float = 0.0
    reason: Words = ""
    figures: dict[Words, Words] = {}
    url: str = ""

    @property
    def key(self) -> str:
        """Of this event of this run."""
        return f"{self.kind} {self.id} {self.event}"

    @property
    def told_by(self) -> tuple[str, ...]:
        """As an alert's; nothing overtakes an event."""
        return (self.key,)

    @property
    def title(self) -> str:
        """Which, and what of it."""
        took = f"after {lasting(self.seconds)}"
        said = {"start": "has begun", "success": f"succeeded {took}", "failure": f"failed {took}"}
        return f"{self.kind.capitalize()} {self.name} {said[self.event]} · {self.run}"

    def part(self, titled: bool) -> Part:
        """Everything that is known of it."""
        lines = [
            cut(self.reason.strip(), REASON),
            *(f"{name}: {value}" for name, value in self.figures.items()),
            moment(self.when),
        ]
        colors = {"start": COLORS["info"], "success": GOOD, "failure": COLORS["page"]}
        text = "\n".join(filter(None, lines))
        return Part(colors[self.event], self.title if titled else "", text, {"log": self.url})


Item = Alert | Event
ITEMS = TypeAdapter(list[Annotated[Item, Field(discriminator="kind")]])


def message_of(items: Sequence[Item], late: float = 0.0) -> Message:
    """The message of what came together; `late`: `lateness`.

    More items than a message has parts are told by their titles alone, as far as there is room.
    """
    titled = len(items) > 1
    told = items if len(items) <= PARTS else items[: PARTS - 1]
    parts = [item.part(titled) for item in told]
    if len(items) > len(told):
        rest = items[len(told) :]
        titles = "\n".join(cut(one_line(item.title), 120) for item in rest[:20])
        parts.append(Part(COLORS["info"], f"And {len(rest)} more", titles))
    headline = headline_of(items)
    if late > LATE_SECONDS:
        headline = f"[{lasting(late)} late] {headline}"
    return Message(headline, parts)


def lateness(items: Sequence[Item], came: float, now: float) -> float:
    """Seconds since it came here; since it was, of an event, which may have lain where it came from."""
    return now - min([came, *(item.when.timestamp() for item in items if isinstance(item, Event))])


def headline_of(items: Sequence[Item]) -> str:
    """The one title, or how many of what."""
    if len(items) == 1:
        return items[0].title
    states = Counter(item.status if isinstance(item, Alert) else item.event for item in items)
    names = {
        item.labels.get("alertname", "alert") if isinstance(item, Alert) else item.name for item in items
    }
    return f"{', '.join(f'{n} {state}' for state, n in states.items())} · {', '.join(sorted(names))}"


def moment(when: datetime) -> str:
    """A time in UTC."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def lasting(seconds: float) -> str:
    """A duration by its two largest units."""
    parts, left = [], max(round(seconds), 0)
    for name, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number > 0:
            parts.append(f"{number}{name}")
    return " ".join(parts[:2]) or "0s"
