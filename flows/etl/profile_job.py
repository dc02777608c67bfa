"""The Spark job that profiles data files: arguments in, a small Parquet file of cells for each data file out.

Run by a runner as `profile_job.py JOB_JSON`, here or on EMR; ships with `spark_job.py` and needs nothing else
than PySpark. A cell says how many rows of a period have a column's value in a bin, or as their category, with
the sum and the sum of squares of their values. Cells of any files add up.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from functools import reduce
from typing import Any
from urllib.parse import unquote, urlparse

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from spark_job import read_text, report_progress, write_text

# As in `observability/drift/profiles.py`; a test keeps the two the same.
STEPS, LINEAR, MISSING = 32, 8, 2**30


def main(path: str) -> None:
    """Do the job that `path` describes; scales that nobody has fixed are found first."""
    spark = SparkSession.builder.getOrCreate()
    # A task for each file: the task's number tells a row's file, which costs a string a row otherwise.
    for name in ("maxPartitionBytes", "openCostInBytes"):
        spark.conf.set("spark.sql.files." + name, str(2**40))
    job = json.loads(read_text(spark, path))
    threading.Thread(target=report_progress, args=(spark,), daemon=True).start()
    started, named = time.time(), {}
    unknown = [c["name"] for c in job["columns"] if c["numeric"] and c["name"] not in job["scales"]]
    if unknown:
        job["scales"].update(scales(spark, job, unknown))
    for number, group in enumerate(job["groups"]):
        named.update(profile(spark, job, group, "%s/%d" % (job["output"], number)))
    summary = {"scales": job["scales"], "files": named, "seconds": round(time.time() - started, 3)}
    write_text(spark, job["summary"], json.dumps(summary))


def scales(spark: SparkSession, job: dict[str, Any], numbers: list[str]) -> dict[str, list[float]]:
    """Centre and spread of numeric columns' finite values."""
    frames = [read(spark, job, group)[1].select(*numbers) for group in job["groups"]]
    rows = reduce(DataFrame.unionByName, frames)
    finite = {name: F.when(F.abs(name) < float("inf"), F.col(name)) for name in numbers}
    asked = [
        value
        for name in numbers
        for value in (
            F.percentile_approx(finite[name], [0.25, 0.5, 0.75], 1000).alias(name),
            F.stddev_pop(finite[name]).alias(name + "_deviation"),
        )
    ]
    found = rows.agg(*asked).collect()[0].asDict()
    return {name: scale(found[name], found[name + "_deviation"]) for name in numbers}


def scale(quartiles: list[float] | None, deviation: float | None) -> list[float]:
    """The scale of a column, as `scale_of` has it."""
    if quartiles is None:
        return [0.0, 1.0]
    low, centre, high = quartiles
    return [centre, (high - low) / 1.35 or deviation or max(1.0, abs(centre))]


def profile(spark: SparkSession, job: dict[str, Any], group: dict[str, Any], output: str) -> dict[str, str]:
    """Write the cells of files of one schema; returns the files by the folder of their cells."""
    files, rows = read(spark, job, group)
    numbers = {c["name"]: job["scales"][c["name"]] for c in job["columns"] if c["numeric"]}
    texts = [column["name"] for column in job["columns"] if not column["numeric"]]
    parts = ([count_numbers(rows, numbers, job["layout"])] if numbers else []) + (
        [count_texts(rows, texts, job["layout"])] if texts else []
    )
    cells = reduce(DataFrame.unionByName, parts)
    cells.repartition("_file").write.partitionBy("_file").parquet(output)
    return {"%s/_file=%d" % (output, row[0]): unquote(urlparse(row[1]).path) for row in files.collect()}


KEYS = ("_file", "period", "segment")


def count_numbers(rows: DataFrame, scales: dict[str, list[float]], layout: list[str]) -> DataFrame:
    """The cells of numeric columns; `layout` says what they were counted by, and where their bins lie."""
    asked = [(n, bin_of(name, *scales[name]), name) for n, name in enumerate(scales)]
    stack = "stack(%d, %s) AS (_column, bin, _value)" % (
        len(asked),
        ", ".join("%d, %s, `%s`" % each for each in asked),
    )
    finite = F.when(F.col("bin") < MISSING, F.col("_value"))
    counted = (
        rows.select(*KEYS, F.expr(stack))
        .groupBy(*KEYS, "_column", "bin")
        .agg(
            F.count("*").alias("count"), F.sum(finite).alias("total"), F.sum(finite * finite).alias("squares")
        )
    )
    return counted.select(
        *KEYS,
        nth(list(scales)).alias("column"),
        "bin",
        F.lit(None).cast("string").alias("category"),
        "count",
        *[F.coalesce(name, F.lit(0.0)).alias(name) for name in ("total", "squares")],
        nth([json.dumps(layout + scale) for scale in scales.values()]).alias("layout"),
    )


def count_texts(rows: DataFrame, names: list[str], layout: list[str]) -> DataFrame:
    """The cells of the other columns."""
    pairs = ", ".join("%d, `%s`" % pair for pair in enumerate(names))
    stack = "stack(%d, %s) AS (_column, category)" % (len(names), pairs)
    counted = rows.select(*KEYS, F.expr(stack)).groupBy(*KEYS, "_column", "category").count()
    return counted.select(
        *KEYS,
        nth(names).alias("column"),
        F.lit(MISSING).alias("bin"),
        "category",
        "count",
        *[F.lit(0.0).alias(name) for name in ("total", "squares")],
        F.lit(json.dumps(layout)).alias("layout"),
    )


def nth(texts: list[str]) -> Any:
    """The text of the column's number."""
    return F.element_at(F.array(*map(F.lit, texts)), F.col("_column") + 1)


def read(spark: SparkSession, job: dict[str, Any], group: dict[str, Any]) -> tuple[DataFrame, DataFrame]:
    """The number of each file, and its rows: file, period, segment, and each column as double or text."""
    held = spark.read.parquet(*group["files"])
    period = "coalesce(unix_seconds(date_trunc('%s', `%s`)), 0L)" % (job["period"], job["time"])
    segment = "concat_ws(char(31), %s)" % ", ".join(
        "`%s`" % name if name in held.columns else "NULL" for name in job["by"]
    )
    columns = [
        (F.col(column["name"]) if column["name"] in held.columns else F.lit(None))
        .cast("double" if column["numeric"] else "string")
        .alias(column["name"])
        for column in job["columns"]
    ]
    rows = held.select(
        F.spark_partition_id().alias("_file"),
        F.expr(period if job["time"] in held.columns else "0L").alias("period"),
        F.expr(segment if job["by"] else "''").alias("segment"),
        *columns,
    )
    return held.select(F.spark_partition_id().alias("_file"), "_metadata.file_path").distinct(), rows


def bin_of(name: str, centre: float, spread: float) -> str:
    """SQL for the bin of a value, as `bins_of` has it."""
    z = "((`%s` - %r) / %r)" % (name, centre, spread)
    return (
        "CAST(CASE WHEN `{n}` IS NULL THEN {m} WHEN isnan(`{n}`) THEN {m} + 1 "
        "WHEN abs({z}) < {l} THEN floor({z} * {s}) "
        "WHEN `{n}` = double('infinity') THEN {m} + 2 WHEN `{n}` = double('-infinity') THEN {m} + 3 "
        "ELSE signum({z}) * ({l} * {s} + floor(ln(abs({z}) / {l}) * {s})) END AS INT)"
    ).format(n=name, m=MISSING, z=z, l=LINEAR, s=STEPS)


if __name__ == "__main__":
    main(sys.argv[1])
