"""The Spark job of batch scoring: the listing's pictures, classified, beside the scores that stay.

Run by a runner as `spark_job.py JOB_JSON`, with the reading, writing and progress of the ETL's. Needs
`flows` and `services` of this project and ONNX Runtime on the executors; knows no Prefect.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from flows.etl import transform
from flows.score.classify import SCHEMA, classify

sys.modules.setdefault("transform", transform)  # the ETL's job looks for it beside the job that runs
from flows.etl import spark_job as etl  # noqa: E402

PICTURES_A_TASK = 256
"""At most. Half a second for a small network: long beside what a task costs, short beside a core's share."""


def score(spark: SparkSession, job: dict[str, Any]) -> DataFrame:
    """New scores with their verdict, and those of replaced data files that stay."""
    context = spark.sparkContext
    listing = etl.read_text(spark, job["images"]).splitlines()
    # An RDD of lines: what Arrow would save on a path and a label is nothing beside a picture, and PySpark's
    # way to Arrow wants pandas.
    lines = context.parallelize(listing, tasks_for(len(listing), context.defaultParallelism))
    # Without the check of each value's type, which the executors would do in Python.
    scored = spark.createDataFrame(
        lines.mapPartitions(partial(classify, job=job)), SCHEMA, verifySchema=False
    )
    values = {name: F.col(name) for name in ("_rule", "_raw", "_sha256")}
    rows = scored.select(*lake_columns(job), *etl.verdict_columns(job["kept"], values))
    if job["kept"]["groups"]:
        rows = rows.unionByName(read_staying(spark, job))
    return rows


def tasks_for(pictures: int, cores: int) -> int:
    """As many tasks for each core, so that none works alone at the end."""
    return cores * -(-pictures // (cores * PICTURES_A_TASK))


def lake_columns(job: dict[str, Any]) -> list[Any]:
    """The table's columns with their Iceberg field ids."""
    return [
        F.col(name).cast(kind).alias(name, metadata=etl.field_id(number))
        for name, kind, number in job["kept"]["columns"]
    ]


def read_staying(spark: SparkSession, job: dict[str, Any]) -> DataFrame:
    """Scores of replaced data files whose pictures are not scored now."""
    held = etl.read_kept(spark, job["kept"])
    scored = spark.read.schema("path string").json(job["images"])
    staying: DataFrame = held.join(F.broadcast(scored), held["_source_file"] == scored["path"], "left_anti")
    return staying


if __name__ == "__main__":
    etl.main(sys.argv[1], score)
