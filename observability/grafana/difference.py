"""What Grafana has beside what it is to have, line by line."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import SecretStr

from observability.grafana.client import REDACTED

OWN = {"id", "orgID", "provenance", "updated", "version"}
"""What Grafana says of a thing on its own account."""
LONGEST = 60
"""Characters of a value that a line shows."""


def differences(have: Any, want: Any, at: str = "") -> Iterator[str]:  # noqa: ANN401
    """The lines; none where both say the same.

    What is empty is the same as what is not there: Grafana leaves out what we write, and writes what we leave
    out. A secret that Grafana shows as `[REDACTED]` is taken for ours: nobody can tell.
    """
    if isinstance(want, SecretStr):
        if have != REDACTED:
            yield f"{at}: a secret that is not there yet"
    elif isinstance(have, dict) and isinstance(want, dict):
        for key in sorted((have.keys() | want.keys()) - OWN):
            yield from differences(have.get(key), want.get(key), f"{at}.{key}" if at else key)
    elif isinstance(have, list) and isinstance(want, list) and len(have) == len(want):
        for place, (ours, theirs) in enumerate(zip(want, have, strict=True)):
            yield from differences(theirs, ours, f"{at}[{place}]")
    elif have != want and not (_empty(have) and _empty(want)):
        yield f"{at}: {_short(have)} -> {_short(want)}"


def _empty(value: Any) -> bool:  # noqa: ANN401
    return not value or value == "0s"


def _short(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, list):
        return f"{len(value)} items"
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
