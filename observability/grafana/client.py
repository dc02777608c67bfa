"""Grafana's HTTP API through grafana-api's session, with every refusal in words and no secret in any."""

from typing import Any
from urllib.parse import quote, urlsplit

from grafana_api.grafana_api import GrafanaAPI, GrafanaException, GrafanaUnauthorizedError
from pydantic import SecretStr
from requests.exceptions import JSONDecodeError, RequestException

from observability.errors import WatchkeeperError

TIMEOUT = 30.0
"""Seconds for an answer: saving a rule waits for Grafana's database."""
NOT_FOUND, FORBIDDEN = 404, 403
LOOPBACK = ("127.0.0.1", "::1", "localhost")
REDACTED = "[REDACTED]"
"""What Grafana shows of a secret, and what a message of ours shows."""


class Grafana:
    """One running Grafana.

    Args:
        url: its address, with the path that it is served under, if any.
        token: of a service account; with it come the organisation and the rights.
        secrets: further ones that no message may show.
    """

    def __init__(self, url: str, token: SecretStr, *secrets: SecretStr) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise WatchkeeperError("setting WATCHKEEPER_GRAFANA_URL: no http:// or https:// address")
        path = parts.path.strip("/")
        self._api = GrafanaAPI(
            token.get_secret_value(),
            host=parts.netloc.rpartition("@")[2],
            url_path_prefix=f"{path}/" if path else "",
            protocol=parts.scheme,
            timeout=TIMEOUT,
        )
        if parts.hostname in LOOPBACK:
            self._api.s.trust_env = False  # no proxy knows what listens here
        self.url = self._api.url.removesuffix("/api")
        self._secrets = [secret.get_secret_value() for secret in (token, *secrets)]

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        """What Grafana answers; None where there is no such thing, or nothing to say.

        Raises:
            WatchkeeperError: it is not reached, refuses the token or the request, or is no Grafana.
        """
        try:
            return getattr(self._api, method)(path, json=shown(body))
        except JSONDecodeError as error:
            if error.doc.strip():
                raise WatchkeeperError(f"{self.url} does not answer as a Grafana does") from None
            return None  # a delete; grafana-api takes every answer for JSON
        except GrafanaUnauthorizedError:
            raise WatchkeeperError(
                f"{self.url} refuses the token; set WATCHKEEPER_GRAFANA_TOKEN to a service account's"
            ) from None
        except GrafanaException as error:
            if error.status_code == NOT_FOUND and method == "GET":
                return None
            if error.status_code == FORBIDDEN:
                raise WatchkeeperError(
                    f"{self.url}: the token may not {method} {path}; give its service account the role Admin"
                ) from None
            raise WatchkeeperError(f"{self.url}: {method} {path}: {self._scrubbed(str(error))}") from None
        except RequestException as error:
            raise WatchkeeperError(
                f"{self.url} is not reached ({type(error).__name__}); is Grafana there, and "
                "WATCHKEEPER_GRAFANA_URL its address?"
            ) from None
        except TypeError:  # grafana-api on an error page with the word "message"
            raise WatchkeeperError(f"{self.url} does not answer as a Grafana does") from None

    def _scrubbed(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return text


def quoted(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")


def shown(body: Any) -> Any:  # noqa: ANN401
    """A body with its secrets to be read: only for the wire."""
    if isinstance(body, dict):
        return {key: shown(value) for key, value in body.items()}
    if isinstance(body, list):
        return [shown(value) for value in body]
    return body.get_secret_value() if isinstance(body, SecretStr) else body
