"""The registry in a bucket of a real S3-speaking server: MinIO, as a process of its own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest

from services.bento.manifest import ManifestError
from services.bento.registry import OvertakenError, Registry, last_promoted, models
from services.bento.s3_store import S3Store
from services.bento.store import MissingError, RegistryError, open_store
from tests import racing
from tests.everything import EVERYTHING
from tests.stack.buckets import ACCOUNT, REGION, empty, lead_to, minio
from tests.stack.programs import needs
from tests.versions import image_model, write_version

BUCKET = "models"
pytestmark = needs("minio")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a MinIO of this module's own."""
    with minio(tmp_path_factory.mktemp("minio")) as made:
        yield made


@pytest.fixture
def client(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client, and a bucket that is emptied afterwards."""
    lead_to(monkeypatch, s3=server, glue=server)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    place = {"LocationConstraint": REGION}
    bucket = boto3.resource("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    yield boto3.client("s3")
    empty(bucket)


@pytest.fixture
def store(client: Any) -> S3Store:
    return S3Store(client, BUCKET, "a/registry")


@pytest.fixture
def registry(store: S3Store, tmp_path: Path) -> Registry:
    """A registry with the champion `old` and the folder of a version `new` beside it."""
    made = Registry(store, "articles", cache=tmp_path / "cache")
    made.promote(made.add(write_version(tmp_path / "old", version="old")), None)
    write_version(tmp_path / "new", onnx_model=image_model(seed=1), version="new")
    return made


class Cut:
    """A client whose process ends at its n-th put: before the server has it, or with the answer lost."""

    def __init__(self, client: Any, puts: int, answered: bool) -> None:
        self._client, self._left, self._answered = client, puts, answered

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, **arguments: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._answered:
            raise KeyboardInterrupt
        answer = self._client.put_object(**arguments)
        if self._left == 0:
            raise KeyboardInterrupt
        return answer


class Twice(Cut):
    """A client whose first answer to each put is lost, so that it asks again."""

    def put_object(self, **arguments: Any) -> Any:
        self._client.put_object(**arguments)
        return self._client.put_object(**arguments)


def test_a_key_is_made_once_whoever_asks(store: S3Store) -> None:
    with ThreadPoolExecutor(20) as pool:
        for number in range(10):
            won = list(pool.map(lambda racer, key=f"k/{number}": store.create(key, b"%d" % racer), range(20)))
            assert won.count(True) == 1
            assert int(store.read(f"k/{number}")) == won.index(True)


def test_a_winner_whose_answer_was_lost_still_wins(client: Any) -> None:
    assert S3Store(Twice(client, 0, True), BUCKET).create("k", b"1")
    assert not S3Store(Twice(client, 0, True), BUCKET).create("k", b"1")


def test_keys_are_listed_over_pages_in_order(store: S3Store) -> None:
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda number: store.create(f"m/ledger/{number:08}.json", b"{}"), range(1, 1102)))
    assert [int(key[-13:-5]) for key in store.list("m/ledger")] == list(range(1, 1102))
    assert store.list("m/ledger", "m/ledger/00001100.json") == ["m/ledger/00001101.json"]
    assert store.list("m/led") == []


def test_a_model_lives_in_a_bucket(registry: Registry, store: S3Store, tmp_path: Path) -> None:
    assert registry.add(tmp_path / "new") == registry.add(tmp_path / "new") == "new"
    registry.promote("new", "old")
    assert registry.versions() == ["new", "old"]
    assert registry.rollback().champion == "old"
    elsewhere = open_store(f"s3://{BUCKET}/a/registry")
    assert [entry.champion for entry in Registry(elsewhere, "articles").history()] == ["old", "new", "old"]
    assert (models(elsewhere), last_promoted(elsewhere)) == (["articles"], "articles")
    fetched = Registry(elsewhere, "articles", cache=tmp_path / "other").fetch("new")
    assert {path.name: path.read_bytes() for path in fetched.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()
    }
    assert not list((tmp_path / "other" / "articles" / ".tmp").iterdir())


def test_a_damaged_copy_is_fetched_again(registry: Registry) -> None:
    folder = registry.fetch("old")
    good = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(b"damaged")
    assert (registry.fetch("old") / "model.onnx").read_bytes() == good


@pytest.mark.parametrize("name", ["model.onnx", "extra.bin"])
def test_a_bucket_that_was_tampered_with_is_refused(
    registry: Registry, client: Any, tmp_path: Path, name: str
) -> None:
    client.put_object(Bucket=BUCKET, Key=f"a/registry/articles/versions/old/{name}", Body=b"\0")
    with pytest.raises(ManifestError, match=name):
        Registry(registry._store, "articles", cache=tmp_path / "empty").fetch("old")


PUTS = 7  # six files of a version, the manifest last; the seventh is the entry


@pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("puts", range(1, PUTS + 1))
def test_an_end_at_any_put_leaves_old_or_new(
    registry: Registry, client: Any, tmp_path: Path, puts: int, answered: bool
) -> None:
    dying = S3Store(Cut(client, puts, answered), BUCKET, "a/registry")
    with pytest.raises(KeyboardInterrupt):
        promote(Registry(dying, "articles", cache=tmp_path / "dead"), tmp_path / "new")
    done = puts == PUTS and answered
    champion = registry.champion()
    assert champion
    assert champion.version == ("new" if done else "old")
    assert ("new" in registry.versions()) == (puts + answered >= PUTS)
    if done:
        with pytest.raises(OvertakenError, match="new is the champion"):
            promote(registry, tmp_path / "new")
    else:
        promote(registry, tmp_path / "new")
    assert [entry.champion for entry in registry.history()] == ["old", "new"]
    registry.fetch("new")


def promote(registry: Registry, folder: Path) -> None:
    registry.promote(registry.add(folder), "old")


def test_what_is_not_there_is_missing(registry: Registry, store: S3Store) -> None:
    with pytest.raises(MissingError, match=r"s3://models/a/registry/nope is not there"):
        store.read("nope")
    with pytest.raises(RegistryError, match="has no version nope; the newest are: old"):
        registry.fetch("nope")


def test_a_bucket_that_is_not_there_or_refuses_is_named(client: Any) -> None:
    with pytest.raises(RegistryError, match=r"s3://nothing/k.*check the bucket and the credentials"):
        S3Store(client, "nothing").read("k")
    stranger = boto3.client("s3", **{name.lower(): "wrong" for name in ACCOUNT})
    with pytest.raises(RegistryError, match="check the bucket and the credentials"):
        S3Store(stranger, BUCKET).list("")


def test_a_server_that_is_away_is_named(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(RegistryError, match="check network and credentials"):
        open_store(f"s3://{BUCKET}").create("k", b"")


SAMPLE = [(2, 5, 3)]
FULL = [(4, 25, 100)]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("processes", "threads", "rounds"), FULL if EVERYTHING else SAMPLE)
def test_each_race_for_the_pointer_has_one_winner(
    client: Any, server: str, tmp_path: Path, processes: int, threads: int, rounds: int
) -> None:
    place = racing.Place(BUCKET, tmp_path / "cache", server)
    racing.run(racing.Race(place, processes, threads, rounds), tmp_path / "made")
