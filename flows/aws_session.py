"""AWS as all of the flows meet it: boto3's session, how long it waits, and the codes of its refusals.

boto3 is imported where there is something to ask.
"""

import os
from typing import Any

CONNECT_SECONDS, ANSWER_SECONDS = 10, 60
TRIES = 5

ABSENT = {"ResourceNotFoundException", "NoSuchKey", "404"}
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
UNKNOWN_CALLER = {
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "MissingAuthenticationToken",
}


def session(region: str | None = None) -> Any:  # noqa: ANN401  # boto3 has no types
    """As AWS's own variables and profiles say; boto3 itself does not know AWS_REGION."""
    import boto3

    return boto3.Session(region_name=region or os.environ.get("AWS_REGION"))


def config(*, tries: int = TRIES, **more: Any) -> Any:  # noqa: ANN401
    """How a client asks.

    Args:
        tries: 1 for what must not be sent twice.
        more: of botocore's own options.
    """
    from botocore.config import Config

    retries = {"mode": "standard", "total_max_attempts": tries}
    return Config(connect_timeout=CONNECT_SECONDS, read_timeout=ANSWER_SECONDS, retries=retries, **more)


def code_of(error: Any) -> str:  # noqa: ANN401  # botocore's ClientError
    """AWS's word for what went wrong; a HEAD has the status alone."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))
