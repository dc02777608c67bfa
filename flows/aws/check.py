"""`task aws:check`: before anything runs on AWS, what the account lacks and what the caller may not do.

It changes nothing. Exit code 1 when something is missing, so that a deployment can stop there.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError
from rich.table import Table

from flows.aws import template
from flows.aws_session import DENIED, EXPIRED, UNKNOWN_CALLER, code_of
from flows.config import Settings, load_settings
from flows.console import out
from flows.errors import WatchkeeperError, run_command
from flows.etl.runners.aws import Aws, bucket_and_key

State = Literal["ok", "missing", "unknown"]
MARKS = {"ok": "[green]ok", "missing": "[red]missing", "unknown": "[yellow]not known"}
MADE_BY = "deployments/aws/stack.yaml makes it"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        thing: with its name.
        state: of it.
        remedy: what it is good for where it is there, what to do where it is not.
    """

    thing: str
    state: State
    remedy: str = ""


@dataclass(frozen=True)
class Account:
    """Where is looked, with the names that the stack gives.

    Attributes:
        session: boto3's.
        names: of the template's parameters, and AWS's own such as `AWS::Region`.
        caller: ARN of the role or user that is asked for.
    """

    session: Any
    names: dict[str, str]
    caller: str

    def client(self, service: str) -> Any:  # noqa: ANN401  # boto3 has no types
        """One of boto3's."""
        return self.session.client(service)


def account_of(project: str, bucket: str, session: Any) -> Account:  # noqa: ANN401
    """Who is asking, and where.

    Raises:
        WatchkeeperError: there is no region or no key, or AWS refuses it.
    """
    if session.region_name is None:
        raise WatchkeeperError("no region is set; set AWS_REGION, such as AWS_REGION=eu-central-1")
    try:
        said = session.client("sts").get_caller_identity()
    except ClientError as error:
        raise WatchkeeperError(
            f"AWS refuses your key ({code_of(error)}); log in again, or renew it"
        ) from None
    except BotoCoreError as error:
        raise WatchkeeperError(
            f"AWS cannot be asked ({error}); set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
    partition = said["Arn"].split(":")[1]
    names = template.defaults() | {
        "Project": project,
        "BucketName": bucket,
        "AWS::Region": session.region_name,
        "AWS::AccountId": said["Account"],
        "AWS::Partition": partition,
    }
    return Account(session, names, role_of(said["Arn"]))


def role_of(arn: str) -> str:
    """The role behind a session of it, which is whose policies count."""
    head, _, rest = arn.partition(":assumed-role/")
    return f"{head.replace(':sts:', ':iam:')}:role/{rest.split('/')[0]}" if rest else arn


def look(thing: str, permission: str, ask: Callable[[], str], absent: str) -> Finding:
    """Ask for one resource.

    Args:
        thing: what, with its name.
        permission: that asking needs.
        ask: gives what there is to say of it, or raises.
        absent: what to do where it is not there.
    """
    try:
        return Finding(thing, "ok", ask())
    except LookupError:
        return Finding(thing, "missing", absent)
    except ClientError as error:
        if code_of(error) in DENIED:
            return Finding(thing, "unknown", f"it may not be asked for: {permission} is needed")
        if code_of(error) in EXPIRED | UNKNOWN_CALLER:
            raise WatchkeeperError(f"AWS refuses your key ({code_of(error)}); renew it") from None
        return Finding(thing, "missing", f"{absent} ({code_of(error)})")
    except BotoCoreError as error:
        return Finding(thing, "unknown", f"it cannot be asked for: {error}")


def resources(account: Account, settings: Settings) -> Iterator[Finding]:
    """Every resource that the flows count on."""
    project, bucket = account.names["Project"], account.names["BucketName"]
    made = f"{MADE_BY}, or bring your own"
    yield look(
        f"bucket {bucket}",
        "s3:ListBucket",
        lambda: in_region(account, bucket),
        f"{made}: WATCHKEEPER_STORE=s3://NAME",
    )
    yield look(
        f"EMR Serverless application {settings.emr_serverless_application}",
        "emr-serverless:ListApplications",
        lambda: application(account, settings.emr_serverless_application),
        f"{MADE_BY}, or the first job; or bring your own: WATCHKEEPER_EMR_SERVERLESS_APPLICATION=ID",
    )
    yield look(
        f"role {project}-job",
        "iam:GetRole",
        lambda: job_role(account, settings.emr_serverless_role or f"{project}-job"),
        f"{made}: WATCHKEEPER_EMR_SERVERLESS_ROLE=ARN",
    )
    yield look(
        f"Athena workgroup {project}",
        "athena:GetWorkGroup",
        lambda: str(account.client("athena").get_work_group(WorkGroup=project)["WorkGroup"]["State"]).lower(),
        f"{MADE_BY}; `task sql -- --engine athena` needs it",
    )
    for name in ("slack-webhook", "prefect-auth-string"):
        yield look(
            f"secret {project}/{name}",
            "secretsmanager:DescribeSecret",
            lambda name=name: secret(account, f"{project}/{name}"),  # type: ignore[misc]
            f"{MADE_BY}; then `aws secretsmanager put-secret-value --secret-id {project}/{name}`",
        )


def in_region(account: Account, bucket: str) -> str:
    """Whether the bucket is where the jobs are.

    Raises:
        LookupError: it is elsewhere.
    """
    client = account.client("s3")
    client.head_bucket(Bucket=bucket)
    region = client.get_bucket_location(Bucket=bucket)["LocationConstraint"] or "us-east-1"
    if region != account.names["AWS::Region"]:
        raise LookupError(region)
    versions = client.get_bucket_versioning(Bucket=bucket).get("Status", "off").lower()
    return f"in {region}; versioning {versions}"


def application(account: Account, wanted: str) -> str:
    """The application by its id or its name.

    Raises:
        LookupError: there is none that lives.
    """
    pages = account.client("emr-serverless").get_paginator("list_applications").paginate()
    living = (a for page in pages for a in page["applications"] if a["state"] != "TERMINATED")
    for found in living:
        if wanted in (found["id"], found.get("name")):
            return f"{found['id']}, {found['releaseLabel']}, {found['state'].lower()}"
    raise LookupError(wanted)


def job_role(account: Account, name: str) -> str:
    """Whether EMR Serverless may take it.

    Raises:
        LookupError: it may not.
    """
    role = account.client("iam").get_role(RoleName=name.rpartition("/")[2])["Role"]
    if "emr-serverless.amazonaws.com" not in str(role["AssumeRolePolicyDocument"]):
        raise LookupError(name)
    return "EMR Serverless may take it"


def secret(account: Account, name: str) -> str:
    """Whether it has a value, which is not read.

    Raises:
        LookupError: it has none.
    """
    said = account.client("secretsmanager").describe_secret(SecretId=name)
    if not said.get("VersionIdsToStages"):
        raise LookupError(name)
    return "has a value"


def permissions(account: Account) -> Iterator[Finding]:
    """Every permission of the worker's policy that the caller lacks; one line where there is none."""
    iam, lacking = account.client("iam"), 0
    caller = with_path(iam, account.caller)
    for statement in template.worker_statements(account.names):
        if not statement.resources:  # a key: no name before it is made
            continue
        try:
            refused = list(simulated(iam, caller, statement))
        except (ClientError, BotoCoreError) as error:
            why = code_of(error) if isinstance(error, ClientError) else error
            yield Finding("permissions", "unknown", f"{why}: iam:SimulatePrincipalPolicy tells them")
            return
        for action, resource in refused:
            lacking += 1
            yield Finding(
                action, "missing", f"on {resource}; attach the stack's policy, statement {statement.sid}"
            )
    if not lacking:
        yield Finding("permissions", "ok", "all of the worker's policy, the key's aside")


def with_path(iam: Any, caller: str) -> str:  # noqa: ANN401
    """ARN of the caller; a role's with its path, which that of a session lacks, where IAM tells it."""
    _, role, name = caller.partition(":role/")
    try:
        return str(iam.get_role(RoleName=name)["Role"]["Arn"]) if role else caller
    except (ClientError, BotoCoreError):
        return caller


def simulated(iam: Any, caller: str, statement: template.Statement) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """What IAM says that the caller may not do: action and resource."""
    context = [
        {"ContextKeyName": key, "ContextKeyType": "string", "ContextKeyValues": [value]}
        for key, value in statement.context.items()
    ]
    pages = iam.get_paginator("simulate_principal_policy").paginate(
        PolicySourceArn=caller,
        ActionNames=statement.actions,
        ResourceArns=statement.resources,
        ContextEntries=context,
    )
    for result in (result for page in pages for result in page["EvaluationResults"]):
        if result["EvalDecision"] != "allowed":
            yield result["EvalActionName"], result["EvalResourceName"]


def show(account: Account, findings: list[Finding]) -> int:
    """Print the findings; 1 when something is missing."""
    table = Table(
        "", "", "", title=f"{account.caller} in {account.names['AWS::Region']}", title_justify="left"
    )
    for found in findings:
        table.add_row(MARKS[found.state], found.thing, found.remedy)
    out.print(table)
    return int(any(found.state == "missing" for found in findings))


def main() -> int:
    """Look, and say."""
    settings = load_settings()
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--project", default=template.defaults()["Project"], help="the stack's parameter")
    args.add_argument("--bucket", default=bucket_of(settings), help="WATCHKEEPER_STORE's unless said")
    said = args.parse_args()
    bucket, _ = bucket_and_key(said.bucket)
    if not bucket:
        raise WatchkeeperError("no bucket is set; set WATCHKEEPER_STORE=s3://NAME, or give --bucket NAME")
    account = account_of(said.project, bucket, Aws(settings).session)
    return show(account, [*resources(account, settings), *permissions(account)])


def bucket_of(settings: Settings) -> str:
    """The bucket that the settings name; '' where they name none."""
    return bucket_and_key(settings.emr_store or settings.store or "")[0]


if __name__ == "__main__":
    run_command(main)
