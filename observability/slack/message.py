"""The one form of a message, and how it is written for Slack, Discord and e-mail, within their bounds."""

import html
import re
from dataclasses import dataclass, field
from typing import Any

PARTS = 10
"""Of one message: what Discord takes; Slack takes 50 blocks."""
HEADLINE, TITLE, URL = 300, 300, 800
"""Characters."""
SLACK_TEXT = 3000
"""Characters of a block, with its markup."""
DISCORD_TEXT = 5500
"""Characters of all parts together: Discord takes 6,000."""
LINK = re.compile(r"https?://[^\s<>|()\[\]]+")


@dataclass(frozen=True)
class Part:
    """One thing of a message: an alert, or the end of a run.

    Attributes:
        color: of its edge, as `#rrggbb`.
        title: one line; empty where the headline has said it.
        text: lines in plain words.
        links: addresses by their words; what is no plain http address is left out.
    """

    color: str
    title: str
    text: str
    links: dict[str, str] = field(default_factory=dict)

    @property
    def good_links(self) -> dict[str, str]:
        """Those that can be shown."""
        return {
            name: url
            for name, url in self.links.items()
            if len(html.escape(url)) <= URL and LINK.fullmatch(url)
        }


@dataclass(frozen=True)
class Message:
    """A headline, which stands alone on a phone, and up to `PARTS` parts."""

    headline: str
    parts: list[Part]


def as_slack(message: Message) -> dict[str, Any]:
    """For Slack's incoming webhook: the headline, and a coloured section a part."""
    return {
        "text": escaped(one_line(message.headline), HEADLINE),
        "attachments": [
            {
                "color": part.color,
                "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": slack_text(part)}}],
            }
            for part in message.parts
        ],
    }


def slack_text(part: Part) -> str:
    """Title, text and links; what is too long is cut in the text."""
    title = f"*{escaped(one_line(part.title), TITLE)}*\n" if part.title else ""
    links = " · ".join(f"<{html.escape(url, quote=False)}|{name}>" for name, url in part.good_links.items())
    links = f"\n{links}" if links else ""
    return title + escaped(part.text, SLACK_TEXT - len(title) - len(links)) + links


def as_discord(message: Message) -> dict[str, Any]:
    """For Discord's Slack-compatible endpoint, which knows no blocks; nobody is mentioned."""
    room = DISCORD_TEXT // max(len(message.parts), 1)

    def text(part: Part) -> str:
        title = f"**{cut(one_line(part.title), room // 4)}**\n" if part.title else ""
        lines = cut(part.text, room // 2)
        links = " · ".join(f"[{name}]({url})" for name, url in part.good_links.items())
        shown = f"\n{links}" if links and len(title) + len(lines) + len(links) < room else ""
        return unmentioned(title + lines) + shown

    return {
        "text": unmentioned(cut(one_line(message.headline), HEADLINE)),
        "attachments": [{"color": part.color, "text": text(part)} for part in message.parts],
    }


def as_mail(message: Message) -> tuple[str, str]:
    """Subject and body."""
    parts = []
    for part in message.parts:
        links = [f"{name}: {url}" for name, url in part.good_links.items()]
        parts.append("\n".join([*([one_line(part.title)] if part.title else []), part.text, *links]))
    headline = one_line(message.headline)
    return cut(headline, HEADLINE), "\n\n".join([headline, *parts]) + "\n"


def escaped(text: str, most: int) -> str:
    """Text in Slack's markup, in which it can neither link nor mention, of at most `most` characters."""
    said = html.escape(text, quote=False)
    if len(said) <= most:
        return said
    return re.sub(r"&[a-z]*$", "", said[: most - 1]) + "…"


def unmentioned(text: str) -> str:
    """Text in which Discord finds no `@everyone`."""
    return text.replace("@", "@\u200b")


def cut(text: str, most: int) -> str:
    """Text of at most `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def one_line(text: str) -> str:
    """Text without breaks."""
    return " ".join(text.split())
