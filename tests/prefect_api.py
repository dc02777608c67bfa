"""Prefect's API, asked as its own client asks: again where the server's database is busy."""

from typing import Any

import httpx

from tests.factories import wait_until


def ask(url: str, body: Any = None, method: str = "POST") -> Any:
    """What it answers; None where that is nothing."""
    answers: list[httpx.Response] = []

    def answered() -> bool:
        answers.append(httpx.request(method, url, json=body, timeout=60, trust_env=False))
        return answers[-1].status_code != httpx.codes.SERVICE_UNAVAILABLE

    wait_until(answered, f"{method} {url}")
    assert answers[-1].is_success, answers[-1].text
    return answers[-1].json() if answers[-1].content else None
