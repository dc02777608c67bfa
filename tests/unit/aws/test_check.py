"""What `task aws:check` finds in an account, and in what words."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.stub import Stubber
from moto import mock_aws

from flows.aws import check, template
from flows.aws.check import Account, Finding
from flows.config import Settings
from flows.errors import WatchkeeperError
from tests.unit.aws.test_template import BUCKET, NAMES, REGION

CALLER = "arn:aws:iam::123456789012:role/worker"
WITH_PATH = "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/worker"


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An account with nothing in it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield Account(boto3.Session(region_name=REGION), NAMES, CALLER)


def found(account: Account, settings: Settings) -> dict[str, Finding]:
    """The findings by the first word of their thing."""
    return {" ".join(f.thing.split()[:1]): f for f in check.resources(account, settings)}


def bucket(region: str = REGION) -> None:
    """A bucket there."""
    boto3.client("s3", region_name=region).create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": region}
    )


def test_an_empty_account_lacks_all_and_each_line_says_what_to_do(
    account: Account, settings: Settings
) -> None:
    for finding in check.resources(account, settings):
        assert finding.state == "missing", finding
        assert "stack.yaml" in finding.remedy


def test_a_bucket_that_is_there_is_described(account: Account, settings: Settings) -> None:
    bucket()
    said = found(account, settings)["bucket"]
    assert said == Finding(f"bucket {BUCKET}", "ok", f"in {REGION}; versioning off")


def test_a_bucket_of_another_region_is_missing_here(account: Account, settings: Settings) -> None:
    bucket("eu-west-1")
    assert found(account, settings)["bucket"].state == "missing"


def test_an_application_is_found_by_the_projects_name(account: Account, settings: Settings) -> None:
    client = account.client("emr-serverless")
    made = client.create_application(
        name="watchkeeper", releaseLabel="emr-7.12.0", type="SPARK", clientToken="a"
    )
    said = found(account, settings)["EMR"]
    assert said.state == "ok"
    assert made["applicationId"] in said.remedy
    assert "emr-7.12.0" in said.remedy


def test_a_role_that_emr_serverless_may_not_take_is_missing(account: Account, settings: Settings) -> None:
    account.client("iam").create_role(
        RoleName="watchkeeper-job",
        AssumeRolePolicyDocument='{"Statement": [{"Principal": {"Service": "ec2.amazonaws.com"}}]}',
    )
    assert found(account, settings)["role"].state == "missing"


def test_a_secret_without_a_value_is_missing(account: Account) -> None:
    client = account.client("secretsmanager")
    client.create_secret(Name="watchkeeper/slack-webhook", SecretString="https://example.com/x")
    assert check.secret(account, "watchkeeper/slack-webhook") == "has a value"
    client.create_secret(Name="watchkeeper/prefect-auth-string")
    with pytest.raises(LookupError):
        check.secret(account, "watchkeeper/prefect-auth-string")


def refusal(code: str) -> ClientError:
    """AWS's answer."""
    return ClientError({"Error": {"Code": code, "Message": ""}}, "HeadBucket")


def test_what_may_not_be_asked_is_not_known_and_the_permission_is_named() -> None:
    def ask() -> str:
        raise refusal("AccessDenied")

    assert check.look("bucket b", "s3:ListBucket", ask, "") == Finding(
        "bucket b", "unknown", "it may not be asked for: s3:ListBucket is needed"
    )


def test_a_service_that_the_region_lacks_is_not_known() -> None:
    def ask() -> str:
        raise EndpointConnectionError(endpoint_url="https://emr-serverless.mars-1.amazonaws.com")

    found = check.look("EMR Serverless application w", "emr-serverless:ListApplications", ask, "")
    assert (found.state, "mars-1" in found.remedy) == ("unknown", True)


def test_a_role_that_may_not_be_asked_for_is_judged_by_its_name() -> None:
    iam = boto3.client("iam", region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(iam) as stub:
        stub.add_client_error("get_role", "AccessDenied")
        assert check.with_path(iam, CALLER) == CALLER
    assert check.with_path(None, "arn:aws:iam::1:user/me") == "arn:aws:iam::1:user/me"


def test_an_expired_key_ends_the_check_with_one_sentence() -> None:
    def ask() -> str:
        raise refusal("ExpiredToken")

    with pytest.raises(WatchkeeperError, match="renew"):
        check.look("bucket b", "s3:ListBucket", ask, "")


def test_without_a_region_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(WatchkeeperError, match="AWS_REGION"):
        check.account_of("watchkeeper", BUCKET, boto3.Session())


def test_without_a_key_the_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(WatchkeeperError, match="AWS_PROFILE"):
        check.account_of("watchkeeper", BUCKET, boto3.Session(region_name=REGION))


def test_a_session_of_a_role_is_judged_by_the_role() -> None:
    assert check.role_of("arn:aws:sts::1:assumed-role/worker/me") == "arn:aws:iam::1:role/worker"
    assert check.role_of("arn:aws:iam::1:user/me") == "arn:aws:iam::1:user/me"


class Simulated:
    """An account whose IAM answers with these decisions, a statement after another."""

    def __init__(self, refused: str = "", error: str = "") -> None:
        self.iam = boto3.client("iam", region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x")
        self.names, self.caller, self._stub = NAMES, CALLER, Stubber(self.iam)
        self._tell_role()
        for statement in template.worker_statements(NAMES):
            if statement.resources:
                self._answer(statement, refused)
        if error:
            self._stub = Stubber(self.iam)
            self._tell_role()
            self._stub.add_client_error("simulate_principal_policy", error)

    def _tell_role(self) -> None:
        """With the path that the ARN of a session of it lacks."""
        role = {
            "Path": "/aws-reserved/sso.amazonaws.com/",
            "RoleName": "worker",
            "RoleId": "AROAEXAMPLEEXAMPLE",
            "Arn": WITH_PATH,
            "CreateDate": datetime(2026, 1, 1, tzinfo=UTC),
        }
        self._stub.add_response("get_role", {"Role": role}, {"RoleName": "worker"})

    def _answer(self, statement: template.Statement, refused: str) -> None:
        pairs = [(action, arn) for action in statement.actions for arn in statement.resources]
        results: list[dict[str, Any]] = [
            {
                "EvalActionName": action,
                "EvalResourceName": arn,
                "EvalDecision": "implicitDeny" if action == refused else "allowed",
            }
            for action, arn in pairs
        ]
        asked = {
            "PolicySourceArn": WITH_PATH,
            "ActionNames": statement.actions,
            "ResourceArns": statement.resources,
        }
        context = [
            {"ContextKeyName": key, "ContextKeyType": "string", "ContextKeyValues": [value]}
            for key, value in statement.context.items()
        ]
        self._stub.add_response(
            "simulate_principal_policy", {"EvaluationResults": results}, asked | {"ContextEntries": context}
        )

    def findings(self) -> list[Finding]:
        """What is said."""
        with self._stub:
            return list(check.permissions(self))  # type: ignore[arg-type]

    def client(self, _: str) -> Any:
        """IAM's."""
        return self.iam


def test_a_caller_who_may_do_all_gets_one_line() -> None:
    assert [f.state for f in Simulated().findings()] == ["ok"]


def test_each_permission_that_lacks_is_named_with_what_it_is_on() -> None:
    (finding,) = Simulated(refused="emr-serverless:StartJobRun").findings()
    assert (finding.thing, finding.state) == ("emr-serverless:StartJobRun", "missing")
    assert "/applications/*" in finding.remedy
    assert "statement Jobs" in finding.remedy


def test_who_may_not_simulate_is_told_what_tells() -> None:
    (finding,) = Simulated(error="AccessDenied").findings()
    assert finding.state == "unknown"
    assert "iam:SimulatePrincipalPolicy" in finding.remedy


@pytest.mark.parametrize(("states", "code"), [(["ok", "unknown"], 0), (["ok", "missing"], 1)])
def test_the_exit_code_is_1_when_something_is_missing(states: list[Any], code: int) -> None:
    account = Account(None, NAMES, CALLER)
    assert check.show(account, [Finding("a thing", state) for state in states]) == code
