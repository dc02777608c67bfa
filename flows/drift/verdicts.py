"""The verdicts so far, a folder each with its report: what metrics, the demo and the next verdict read."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.config import Settings

VERDICT = "verdict.json"
News = dict[str, Any]


def new_folder(settings: Settings, subject: str) -> Path:
    """A folder for a verdict of now; names sort by time."""
    folder = settings.drift / "verdicts" / subject / f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
    folder.mkdir(parents=True)
    return folder


def write(folder: Path, verdict: News) -> None:
    """The verdict file, at once; a folder without one is of a run that was killed."""
    half = folder / "verdict.tmp"
    half.write_text(json.dumps(verdict, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    half.replace(folder / VERDICT)


def history(settings: Settings, subject: str) -> Iterator[News]:
    """The subject's verdicts, the newest first; those that cannot be read are passed over."""
    top = settings.drift / "verdicts" / subject
    for folder in sorted(top.iterdir() if top.is_dir() else [], reverse=True):
        try:
            yield json.loads((folder / VERDICT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue


def newest(settings: Settings) -> dict[str, News]:
    """The newest verdict of each subject that was about its newest rows."""
    top = settings.drift / "verdicts"
    subjects = sorted(path.name for path in top.iterdir()) if top.is_dir() else []
    found = {s: next((v for v in history(settings, s) if v["of_now"]), None) for s in subjects}
    return {subject: verdict for subject, verdict in found.items() if verdict}


def news(settings: Settings, subject: str) -> Iterator[News]:
    """The subject's verdicts that say whether its newest rows drifted, the newest first."""
    said = ("none", "suspected", "confirmed")
    return (v for v in history(settings, subject) if v["of_now"] and v["outcome"] in said)


def news_of(before: News | None, outcome: str) -> str | None:
    """The event that a verdict is, after the one before it: confirmed, or cleared."""
    was = before["outcome"] if before else "none"
    if outcome == "confirmed":
        return "confirmed"
    if outcome == "none" and was in ("suspected", "confirmed"):
        return "cleared"
    return None
