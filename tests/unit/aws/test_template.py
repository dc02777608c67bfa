"""The stack's template, against a real CloudFormation of sorts: each resource that it makes is read back."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count

from flows.aws import template

REGION, ACCOUNT, BUCKET = "eu-central-1", "123456789012", "the-lake"
NAMES = {
    "Project": "watchkeeper",
    "BucketName": BUCKET,
    "Databases": "shop_*",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
}
MADE = {
    "AWS::KMS::Key",
    "AWS::KMS::Alias",
    "AWS::S3::Bucket",
    "AWS::IAM::Role",
    "AWS::IAM::ManagedPolicy",
}
"""What moto's CloudFormation really makes."""
NOT_PROVEN = {
    "AWS::S3::BucketPolicy",
    "AWS::Glue::Database",
    "AWS::EMRServerless::Application",
    "AWS::SecretsManager::Secret",
    "AWS::Athena::WorkGroup",
    "AWS::Budgets::Budget",
}
"""What moto says to have made, and has not: only cfn-lint has seen these, as the bucket's versioning,
lifecycle and public access block."""


@pytest.fixture(scope="module")
def stack() -> Iterator[None]:
    """The stack, made of the template as it ships; moto cannot take a key's tags, so they stay out."""
    body = template.FILE.read_text()
    key, rest = body.split("  KeyAlias:", 1)
    body = key.replace("      Tags: [{Key: project, Value: !Ref Project}]\n", "") + "  KeyAlias:" + rest
    said = {"BucketName": BUCKET, "WorkerPrincipalArn": f"arn:aws:iam::{ACCOUNT}:root", "Databases": "shop_*"}
    logging.getLogger("moto").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        with pytest.warns(UserWarning, match="not supported by moto"):
            boto3.client("cloudformation").create_stack(
                StackName="watchkeeper",
                TemplateBody=body,
                Capabilities=["CAPABILITY_NAMED_IAM"],
                Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in said.items()],
            )
        iam = boto3.client("iam")
        made = iam.get_role_policy(RoleName="watchkeeper-job", PolicyName="job")["PolicyDocument"]
        # Once more as it was read: moto cannot judge by a policy that its CloudFormation has put in.
        iam.put_role_policy(
            RoleName="watchkeeper-job",
            PolicyName="job",
            PolicyDocument=json.dumps(yaml.safe_load(made)),  # it gives a dict's repr
        )
        yield


def test_cfn_lint_finds_nothing() -> None:
    program = str(Path(sys.executable).with_name("cfn-lint"))
    done = subprocess.run([program, str(template.FILE)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_kind_of_resource_is_read_back_or_listed_as_not_proven() -> None:
    kinds = {resource["Type"] for resource in template.load()["Resources"].values()}
    assert kinds == MADE | NOT_PROVEN


@pytest.mark.usefixtures("stack")
def test_the_bucket_is_encrypted_with_the_stacks_key() -> None:
    s3, kms = boto3.client("s3"), boto3.client("kms")
    (rule,) = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    used = rule["ApplyServerSideEncryptionByDefault"]
    assert used["SSEAlgorithm"] == "aws:kms"
    (alias,) = [each for each in kms.list_aliases()["Aliases"] if each["AliasName"] == "alias/watchkeeper"]
    (key,) = [each for each in kms.list_keys()["Keys"] if each["KeyId"] == alias["TargetKeyId"]]
    assert used["KMSMasterKeyID"] == key["KeyArn"]
    assert s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"] == [{"Key": "project", "Value": "watchkeeper"}]


@pytest.mark.usefixtures("stack")
def test_the_workers_policy_is_what_the_check_asks_for() -> None:
    iam = boto3.client("iam")
    arn = f"arn:aws:iam::{ACCOUNT}:policy/watchkeeper-worker"
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    document = json.loads(document) if isinstance(document, str) else document
    made = {said["Sid"]: said for said in document["Statement"]}
    asked = {statement.sid: statement for statement in template.worker_statements(NAMES)}
    assert asked.keys() == made.keys()
    for sid, statement in asked.items():
        assert statement.actions == template.as_list(made[sid]["Action"])
        if sid != "Key":  # its ARN is known to the stack alone
            assert statement.resources == template.as_list(made[sid]["Resource"])
        assert statement.context == made[sid].get("Condition", {}).get("StringEquals", {})


def test_no_statement_allows_everything() -> None:
    for statement in template.worker_statements(NAMES):
        assert "*" not in "".join(statement.actions), statement.sid
        if statement.resources == ["*"]:  # nothing has a name yet
            assert statement.context or statement.sid in ("FindApplication", "FindClusters"), statement.sid


ALLOWED = [("put", "lake/shop/items/data/1.parquet"), ("put", "staging/job.json"), ("get", "artifacts/a.zip")]
REFUSED = [
    ("put", "artifacts/a.zip"),
    ("put", "registry/garments/ledger/1.json"),
    ("delete", "landing/shop/1.csv"),
]


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize(
    ("verb", "key", "allowed"), [(*c, True) for c in ALLOWED] + [(*c, False) for c in REFUSED]
)
def test_a_job_may_write_the_lake_and_nothing_else(verb: str, key: str, allowed: bool) -> None:
    boto3.client("s3").put_object(Bucket=BUCKET, Key="artifacts/a.zip", Body=b"")
    keys = boto3.client("sts").assume_role(
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/watchkeeper-job", RoleSessionName="job"
    )["Credentials"]
    job: Any = boto3.client(
        "s3",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    body = {"Body": b""} if verb == "put" else {}

    @set_initial_no_auth_action_count(0)
    def ask() -> None:
        getattr(job, f"{verb}_object")(Bucket=BUCKET, Key=key, **body)

    if allowed:
        ask()
    else:
        with pytest.raises(ClientError, match="AccessDenied"):
            ask()
