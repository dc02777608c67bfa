"""What a call is answered with when it is refused."""

STATUS = {
    "ConflictException": 409,
    "InternalServerException": 500,
    "ResourceNotFoundException": 404,
    "ServiceQuotaExceededException": 402,
    "ThrottlingException": 429,
    "AccessDeniedException": 403,
    "ExpiredTokenException": 403,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "UnrecognizedClientException": 403,
}
"""HTTP status by code; 400 for the rest, and for all that the JSON 1.1 protocol says of the caller."""


class ApiError(Exception):
    """A refusal in the service's own words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class LostAnswerError(Exception):
    """The connection ends without an answer, whatever was done."""
