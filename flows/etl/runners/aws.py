"""AWS for the runners: clients, tags, and what its refusals mean: the setting or the permission to mend."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    ProfileNotFound,
    TokenRetrievalError,
)

from flows.aws_session import ABSENT, DENIED, EXPIRED, TRIES, UNKNOWN_CALLER, code_of, config, session
from flows.etl.runners.base import SparkJob, SparkJobError, UnansweredError
from flows.etl.runners.config import RunnerSettings

PROJECT = "watchkeeper"
BUSY = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "InternalServerException",
    "InternalServerError",
    "InternalFailure",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "SlowDown",
}
QUOTA = {"ServiceQuotaExceededException", "LimitExceededException", "QuotaExceeded"}
REFRESH = (
    "refresh them; a job that ran goes on: a run that Prefect retries finds it, "
    "before a new one `task orphans -- --end` ends it"
)


class GoneError(SparkJobError):
    """The service does not know what it was asked about."""


class Aws:
    """The clients of one region."""

    def __init__(self, settings: RunnerSettings) -> None:
        self.settings = settings

    @cached_property
    def session(self) -> Any:  # noqa: ANN401  # boto3 has no types
        """boto3's."""
        with told("reading AWS's settings"):
            return session(self.settings.aws_region)

    def client(self, service: str, *, once: bool = False) -> Any:  # noqa: ANN401
        """A client; with `once` a call is sent a single time: another try could do it twice."""
        with told(f"connecting to {service}"):
            return self.session.client(service, config=config(tries=1 if once else TRIES))

    @cached_property
    def s3(self) -> Any:  # noqa: ANN401
        """Of S3."""
        return self.client("s3")

    def tags(self, job: SparkJob) -> dict[str, str]:
        """What is on everything that is created for a job."""
        return {**self.own_tags, "flow": job.flow, "run": job.run}

    @property
    def own_tags(self) -> dict[str, str]:
        """What is on everything that is created."""
        return {"project": PROJECT, "owner": self.settings.owner}

    def store(self) -> str:
        """`s3://bucket/prefix` for programs and logs.

        Raises:
            SparkJobError: none is set.
        """
        said = self.settings.emr_store or self.settings.store
        if said is None:
            raise SparkJobError("EMR needs a bucket for programs and logs; set WATCHKEEPER_EMR_STORE")
        return said.rstrip("/")


def bucket_and_key(location: str) -> tuple[str, str]:
    """The parts of `s3://bucket/key`."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    return bucket, key


@contextmanager
def told(doing: str, **meant: str) -> Iterator[None]:
    """Turn AWS's refusals into ours.

    Args:
        doing: what is refused, as in "starting the job".
        meant: by a word that AWS's text on a bad value has, the setting that says the value.

    Raises:
        UnansweredError: it may be answered later.
        GoneError: what was asked about does not exist.
        SparkJobError: anything else.
    """
    try:
        yield
    except ClientError as error:
        raise refused(error, doing, meant) from None
    except NoCredentialsError:
        raise SparkJobError(
            f"{doing}: no AWS credentials; set AWS_PROFILE, or give the worker a role"
        ) from None
    except NoRegionError:
        raise SparkJobError(f"{doing}: no region; set WATCHKEEPER_AWS_REGION") from None
    except ProfileNotFound as error:
        raise SparkJobError(f"{doing}: {error}; see AWS_PROFILE") from None
    except TokenRetrievalError:
        raise SparkJobError(f"{doing}: the AWS credentials have expired; {REFRESH}") from None
    except ParamValidationError as error:
        raise SparkJobError(f"{doing}: {error}") from None
    except EndpointConnectionError as error:
        raise UnansweredError(
            f"{doing}: {error}; check the network, and that WATCHKEEPER_AWS_REGION is a region that has it"
        ) from None
    except BotoCoreError as error:
        raise UnansweredError(f"{doing}: {error}") from None


def refused(error: ClientError, doing: str, meant: dict[str, str]) -> SparkJobError:
    """What a refusal means."""
    code, text = code_of(error), error.response["Error"].get("Message", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in EXPIRED:
        return SparkJobError(f"{doing}: the AWS credentials have expired; {REFRESH}")
    if code in UNKNOWN_CALLER:
        return SparkJobError(
            f"{doing}: AWS does not know these credentials; see AWS_PROFILE, or the worker's role"
        )
    if code in DENIED:
        return SparkJobError(f"{doing}: not allowed; {permission(text, error.operation_name)}")
    if code in QUOTA or "quota" in text.lower() or "limit exceeded" in text.lower():
        return SparkJobError(
            f"{doing}: a quota of the AWS account is reached ({text}); wait for other jobs, "
            "or have it raised in Service Quotas"
        )
    if code == "NoSuchBucket":
        return SparkJobError(f"{doing}: the bucket does not exist; see WATCHKEEPER_EMR_STORE")
    if code in ABSENT or (code == "InvalidRequestException" and "is not valid" in text):
        return GoneError(f"{doing}: {text}{setting_meant(text, meant)}")
    if code in BUSY or status >= 500:
        return UnansweredError(f"{doing}: AWS is busy ({code or status})")
    return SparkJobError(f"{doing}: {text or code}{setting_meant(text, meant)}")


def permission(text: str, operation: str) -> str:
    """The permission that is missing, where AWS names it, and whose."""
    named = re.search(r"perform:? ([\w-]+:\w+)(?: on resource:? (\S+))?", text)
    if named:
        return f"the caller needs the permission {named[1]}" + (f" on {named[2]}" if named[2] else "")
    return f"the caller needs the permission for {operation}" + (f" ({text})" if text else "")


def setting_meant(text: str, meant: dict[str, str]) -> str:
    """The setting that a text on a bad value is about."""
    found = [setting for word, setting in meant.items() if word in text.lower()]
    return f"; see WATCHKEEPER_{found[0].upper()}" if found else ""
