"""What the service says where it does not answer: RFC 9457 problems, each with a code and a sentence."""

from http import HTTPStatus
from typing import Any

STATUS = {
    "bad_image": 422,
    "too_many_pixels": 422,
    "bad_row": 422,
    "bad_request": 422,
    "too_many_images": 422,
    "bad_multipart": 400,
    "bad_json": 400,
    "unauthorized": 401,
    "not_found": 404,
    "method_not_allowed": 405,
    "body_timeout": 408,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "busy": 429,
    "model_error": 500,
    "no_model": 503,
    "timeout": 503,
    "overloaded": 503,
}
RETRY_AFTER = {"busy": "1", "overloaded": "1", "timeout": "2", "no_model": "5"}
UNREAD = {
    "unauthorized",
    "not_found",
    "method_not_allowed",
    "body_timeout",
    "body_too_large",
    "busy",
    "overloaded",
}
"""The body may not have been read: the connection ends with the answer."""


class ProblemError(Exception):
    """A request that gets a problem: `code` is a key of `STATUS`, `detail` a sentence for its sender."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.code]

    def body(self) -> dict[str, Any]:
        """The problem's JSON."""
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }

    def headers(self) -> dict[str, str]:
        """What goes beside it."""
        headers = {}
        if self.code in RETRY_AFTER:
            headers["retry-after"] = RETRY_AFTER[self.code]
        if self.code == "unauthorized":
            headers["www-authenticate"] = "Bearer"
        if self.code in UNREAD:
            headers["connection"] = "close"
        return headers
