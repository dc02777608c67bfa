"""A source in a bucket: an S3 server on a loopback port, reached through AWS's own variables."""

import gzip
import json
import logging
from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl.contract import Contract
from flows.etl.source_files import refuse_empty_source
from tests.factories import RETAIL_HEADER, ask, lake_contents, retail_row, run_table, shipped
from tests.integration.test_pictures import HEADER, jpeg

CONTRACT = shipped("online_retail.transactions")
TABLE = CONTRACT.identifier
DENY = {"Effect": "Deny", "Principal": "*", "Action": "s3:*"}


class Bucket:
    """The test's bucket on the test's server."""

    name = "the-shop"

    def __init__(self, url: str) -> None:
        self.client = boto3.client("s3", endpoint_url=url)
        self.client.create_bucket(
            Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )

    def put(self, key: str, content: bytes | str) -> None:
        """Write an object."""
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def forbid(self, *resources: str) -> None:
        """Deny everything on these keys, or on the bucket itself where one is empty."""
        arns = [f"arn:aws:s3:::{self.name}" + (f"/{resource}" if resource else "") for resource in resources]
        policy = {"Version": "2012-10-17", "Statement": [{**DENY, "Resource": arns}]}
        self.client.put_bucket_policy(Bucket=self.name, Policy=json.dumps(policy))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The server's address."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket, and an environment that leads to it and nowhere else."""
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the keys of the test before this
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    bucket = Bucket(server)
    yield bucket
    boto3.client("s3", endpoint_url=server).delete_bucket_policy(Bucket=bucket.name)
    everything = boto3.resource("s3", endpoint_url=server).Bucket(bucket.name)
    everything.objects.all().delete()
    everything.delete()


def retail(*quantities: int) -> str:
    """The text of a retail file."""
    lines = [RETAIL_HEADER, *([str(cell) for cell in retail_row(Quantity=n)] for n in quantities)]
    return "".join(",".join(line) + "\n" for line in lines)


def test_a_prefix_lands_is_known_and_can_be_corrected(settings: Settings, bucket: Bucket) -> None:
    bucket.put("in/a.csv", retail(1, 2))
    bucket.put("in/2010/b.csv.gz", gzip.compress(retail(3).encode(), mtime=0))
    bucket.put("in/.hidden.csv", retail(99))
    bucket.put("elsewhere/c.csv", retail(98))
    source = f"s3://{bucket.name}/in"
    assert run_table(settings, CONTRACT, source).rows_committed == 3
    assert run_table(settings, CONTRACT, source + "/").outcome == "unchanged"
    bucket.put("in/a.csv", retail(5))
    assert run_table(settings, CONTRACT, source).rows_committed == 1
    assert ask(settings, f"SELECT _source_file, quantity FROM {TABLE} ORDER BY 2") == [
        ("2010/b.csv.gz", 3),
        ("a.csv", 5),
    ]


def test_a_glob_an_object_and_the_whole_bucket_are_sources_too(settings: Settings, bucket: Bucket) -> None:
    for number, key in enumerate(["in/1-a.csv", "in/1-b.csv", "in/2 é+%20.csv", "top.csv"], 1):
        bucket.put(key, retail(number))
    for source, quantities in (("in/1-*.csv", [1, 2]), ("in/2 é+%20.csv", [1, 2, 3]), ("", [1, 2, 3, 4])):
        run_table(settings, CONTRACT, f"s3://{bucket.name}/{source}")
        held = ask(settings, f"SELECT DISTINCT quantity FROM {TABLE} ORDER BY 1")
        assert [row[0] for row in held] == quantities, source


def test_pictures_are_found_beside_their_index(settings: Settings, bucket: Bucket) -> None:
    contract = shipped("garments.articles")
    bucket.put("shop/articles.csv", ",".join(HEADER) + "\n1,shirt,images/a.jpg\n")
    bucket.put("shop/images/a.jpg", jpeg(1, 20, 10))
    assert run_table(settings, contract, f"s3://{bucket.name}/shop").rows_committed == 1
    bucket.put("shop/images/a.jpg", jpeg(2, 30, 10))
    assert run_table(settings, contract, f"s3://{bucket.name}/shop").outcome == "committed"
    assert ask(settings, "SELECT image_width FROM garments.articles") == [(30,)]


def refused(settings: Settings, contract: Contract, source: str) -> str:
    """The one message, and the lake as it was."""
    before = lake_contents(settings)

    def run() -> None:
        refuse_empty_source([contract], source)
        run_table(settings, contract, source)

    with pytest.raises(WatchkeeperError) as error:
        run()
    assert lake_contents(settings) == before
    return str(error.value)


def test_a_bucket_that_is_not_there_is_named(settings: Settings, bucket: Bucket) -> None:
    said = refused(settings, CONTRACT, "s3://no-such-bucket/in")
    assert said.startswith("source s3://no-such-bucket/in")
    assert len(said.splitlines()) == 1


def test_a_prefix_that_is_not_there_is_named(settings: Settings, bucket: Bucket) -> None:
    said = refused(settings, CONTRACT, f"s3://{bucket.name}/nothing/here")
    assert said == (
        f"source s3://{bucket.name}/nothing/here does not exist; "
        "--source takes a folder, a glob or an s3:// prefix"
    )


def test_a_prefix_without_a_file_of_the_data_set_says_so(settings: Settings, bucket: Bucket) -> None:
    bucket.put("in/readme.txt", "x")
    said = refused(settings, CONTRACT, f"s3://{bucket.name}/in")
    assert said == f"no file of s3://{bucket.name}/in matches the data set's patterns: *.csv* (transactions)"


def test_a_bucket_that_may_not_be_listed_is_named(settings: Settings, bucket: Bucket) -> None:
    bucket.put("in/a.csv", retail(1))
    bucket.forbid("", "*")
    said = refused(settings, CONTRACT, f"s3://{bucket.name}/in")
    assert said.startswith(f"source s3://{bucket.name}/in cannot be listed: ")
    assert "ACCESS_DENIED" in said


def test_an_object_that_may_not_be_read_is_named(settings: Settings, bucket: Bucket) -> None:
    bucket.put("in/a.csv", retail(1))
    bucket.put("in/secret.csv", retail(2))
    bucket.forbid("in/secret.csv")
    said = refused(settings, CONTRACT, f"s3://{bucket.name}/in")
    assert said.startswith(f"file {bucket.name}/in/secret.csv cannot be read: ")
    assert "ACCESS_DENIED" in said


def test_a_picture_that_may_not_be_read_is_named(settings: Settings, bucket: Bucket) -> None:
    contract = shipped("garments.articles")
    bucket.put("shop/articles.csv", ",".join(HEADER) + "\n1,shirt,images/a.jpg\n")
    bucket.put("shop/images/a.jpg", jpeg(1, 20, 10))
    bucket.forbid("shop/images/*")
    said = refused(settings, contract, f"s3://{bucket.name}/shop")
    assert said.startswith(f"file {bucket.name}/shop/images/a.jpg cannot be read: ")


def test_a_server_that_is_not_there_is_one_message(
    settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    said = refused(settings, CONTRACT, f"s3://{bucket.name}/in")
    assert said.startswith(f"source s3://{bucket.name}/in cannot be listed: ")
