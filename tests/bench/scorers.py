"""The processes of `tests.bench.score`: `python -m tests.bench.scorers NAME ...` is one contender.

Prints how many pictures it has labelled.
"""

import argparse
import multiprocessing
import os
import sys
from functools import cache, partial
from itertools import islice
from pathlib import Path

import requests

from flows.config import CHECKOUT, Settings
from services.bento.manifest import ImageInput, read_manifest
from services.bento.predictor import Predictor, as_input, decode
from services.bento.registry import Registry
from services.bento.store import open_store
from tests.bench.score import MODEL

BATCH = 32
FILTERS = 24
"""Of the network, which then has 768 thousand parameters; untrained, but its answers cost the same."""


def make_version(folder: Path) -> None:
    """The network of our training, exported without having been trained."""
    import numpy as np
    import onnx

    from flows.retrain import network
    from flows.retrain.config import TrainingConfig
    from flows.retrain.export import write_onnx
    from tests.versions import IMAGE, write_version

    config = TrainingConfig(height=96, width=72, filters=FILTERS)
    classes = [f"class-{number}" for number in range(10)]
    model = network.build(config, len(classes))
    drawn = np.random.default_rng(0).normal(size=(64, model.output["features"].shape[-1]))
    final = network.final(model, config, 1.0, drawn.astype(np.float32))
    write_onnx(final, folder.with_suffix(".onnx"))
    size = final.output["embedding"].shape[-1]
    spec = {"kind": "image", "height": config.height, "width": config.width, "scale": 1.0, "offset": 0.0}
    fields = IMAGE | {"model": MODEL, "input": spec, "classes": classes, "embedding_size": size}
    write_version(folder, fields, onnx.load(folder.with_suffix(".onnx")))
    print(f"{model.count_params():,} parameters", file=sys.stderr)


def run_ours(given: argparse.Namespace) -> int:
    """Batch scoring without Prefect, to its commit."""
    from flows.etl import steps as etl
    from flows.etl.runners.life import Engine
    from flows.etl.runners.local import LocalRunner
    from flows.etl.scores import contract_of
    from flows.etl.source_files import open_source
    from flows.score import steps
    from flows.score.champion import find_champion
    from flows.score.plan import Scoring

    settings = Settings(home=given.home, spark_cores=given.processes)
    champion = find_champion(settings, MODEL)
    scoring = Scoring(settings, contract_of(MODEL), champion, open_source(str(given.data)))
    plan = scoring.plan()
    plan, staged, labels = steps.run_spark(scoring, plan, Engine(LocalRunner(settings)))
    etl.reach_verdict(settings, plan, staged)
    result = steps.told(scoring, plan, etl.commit(settings, plan, staged, "bench"), labels)
    etl.discard(plan)
    return result.rows_committed


def run_http(given: argparse.Namespace) -> int:
    """The seed system's way: a UDF that posts each picture and reads the answer, to Parquet by label."""
    from flows.etl.runners.local import LocalRunner

    runner = LocalRunner(Settings(home=given.home, spark_cores=given.processes))
    os.environ.update(runner.environment(given.home))
    os.environ["PYTHONPATH"] = str(CHECKOUT)
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as F

    url = given.url

    def call(path: str) -> tuple[str, float, str]:
        from tests.bench.scorers import ask

        return ask(url, path)

    spark = SparkSession.builder.getOrCreate()
    paths = [(path.stem, str(path)) for path in sorted(given.data.rglob("*.jpg"))]
    rows = spark.createDataFrame(paths, "article_id string, path string").repartition(8 * given.processes)
    answer = F.udf(call, "label string, probability double, model_version string")
    # Spark would call a plain UDF once for each field that is taken from it.
    scored = rows.withColumn("answer", answer.asNondeterministic()("path"))
    target = str(given.home / "scores")
    scored.select("article_id", "answer.*").write.partitionBy("label").parquet(target)
    return spark.read.parquet(target).count()


@cache
def client() -> requests.Session:
    """A worker's one connection."""
    session = requests.Session()
    session.trust_env = False
    return session


def ask(url: str, path: str) -> tuple[str, float, str]:
    """One call; any answer but 200 ends the run."""
    with Path(path).open("rb") as stream:
        answer = client().post(url, files={"image": (Path(path).name, stream, "image/jpeg")}, timeout=60)
    answer.raise_for_status()
    said = answer.json()
    return said["label"], said["probability"], said["model_version"]


def run_raw(given: argparse.Namespace) -> int:
    """Decode and predict in plain processes; nothing is written."""
    folder = Registry(open_store(given.home / "registry"), MODEL).fetch("v1")
    paths = iter(sorted(given.data.rglob("*.jpg")))
    batches = iter(lambda: list(islice(paths, BATCH)), [])
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        return sum(len(labels) for labels in pool.imap_unordered(partial(raw_batch, folder), batches))


@cache
def session(folder: Path) -> Predictor:
    """A process's one session."""
    return Predictor(folder, read_manifest(folder), threads=1)


def raw_batch(folder: Path, paths: list[Path]) -> list[tuple[str, str, float]]:
    """Label some pictures."""
    predictor = session(folder)
    manifest = predictor.manifest
    spec = manifest.input
    assert isinstance(spec, ImageInput)
    pixels = [decode(path.read_bytes(), spec.height, spec.width).pixels for path in paths]
    rows = predictor.predict(as_input(pixels, spec)).outputs
    best = rows.argmax(axis=1)
    return [
        (path.stem, manifest.classes[n], float(row[n]))
        for path, row, n in zip(paths, rows, best, strict=True)
    ]


def main() -> None:
    """Be one contender."""
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("name", choices=("version", "ours", "http", "raw"))
    args.add_argument("--home", type=Path, required=True)
    args.add_argument("--data", type=Path)
    args.add_argument("--url")
    args.add_argument("--processes", type=int)
    given = args.parse_args()
    if given.name == "version":
        make_version(given.home)
    else:
        print({"ours": run_ours, "http": run_http, "raw": run_raw}[given.name](given))


if __name__ == "__main__":
    main()
