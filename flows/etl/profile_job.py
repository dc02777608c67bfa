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
SAMPLE = 100_000  # rows that fix a column's scale
TOGETHER = 8  # columns that one pass counts


def main(path: str) -> None:
    """Do the job that `path` describes; scales that nobody has fixed are found first."""
    spark = SparkSession.builder.getOrCreate()
    # A task for each file: the task's number tells a row's file, which costs a string a row otherwise.
    for name in ("maxPartitionBytes", "openCostInBytes"):
        spark.conf.set("spark.sql.files." + name, str(2**40))
    job = json.loads(read_text(spark, path))
    threading.Thread(target=report_progress, args=(spark, path), daemon=True).start()
    started, named = time.time(), {}
    unknown = [c["name"] for c in job["columns"] if c["numeric"] and c["name"] not in job["scales"]]
    if unknown:
        job["scales"].update(scales(spark, job, unknown))
    for number, group in enumerate(job["groups"]):
        named.update(profile(spark, job, group, "%s/%d" % (job["output"], number)))
    summary = {"scales": job["scales"], "files": named, "seconds": round(time.time() - started, 3)}
    write_text(spark, job["summary"], json.dumps(summary))


def scales(spark: SparkSession, job: dict[str, Any], numbers: list[str]) -> dict[str, list[float]]:
    """Centre and spread of numeric columns' finite values, of a seeded sample where there are many."""
    frames = [read(spark, job, group)[1].select(*numbers) for group in job["groups"]]
    rows = reduce(DataFrame.unionByName, frames)
    found = spreads(rows.sample(min(1.0, SAMPLE / max(rows.count(), 1)), seed=0), numbers)
    if rare := [name for name in numbers if found[name] is None]:
        found.update(spreads(rows, rare))
    return {name: scale(found[name], found[name + "_deviation"]) for name in numbers}


def spreads(rows: DataFrame, numbers: list[str]) -> dict[str, Any]:
    """Quartiles and standard deviation of the columns' finite values; none of a column without any."""
    finite = {name: F.when(F.abs(name) < float("inf"), F.col(name)) for name in numbers}
    asked = [
        value
        for name in numbers
        for value in (
            F.percentile_approx(finite[name], [0.25, 0.5, 0.75], 1000).alias(name),
            F.stddev_pop(finite[name]).alias(name + "_deviation"),
        )
    ]
    return dict(rows.agg(*asked).collect()[0].asDict())


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
    parts = [count_numbers(rows, part, job["layout"]) for part in parts_of(list(numbers.items()))]
    parts += [count_texts(rows, part, job["layout"]) for part in parts_of(texts)]
    cells = reduce(DataFrame.unionByName, parts)
    cells.repartition("_file").write.partitionBy("_file").mode("overwrite").parquet(output)
    return {"%s/_file=%d" % (output, row[0]): plain(row[1]) for row in files.collect()}


def plain(uri: str) -> str:
    """A file as Spark names it, as the lake does: nothing is quoted, and S3 has one name."""
    parts = urlparse(uri)
    path = unquote(parts.path)
    return path if parts.scheme == "file" else "s3://%s%s" % (parts.netloc, path)


KEYS = ("_file", "period", "segment")


def parts_of(columns: list[Any]) -> list[list[Any]]:
    """So few columns together that the JVM still compiles Spark's code for them: five times as fast."""
    return [columns[start : start + TOGETHER] for start in range(0, len(columns), TOGETHER)]


def count_numbers(rows: DataFrame, scales: list[tuple[str, list[float]]], layout: list[str]) -> DataFrame:
    """The cells of numeric columns; `layout` says what they were counted by, and where their bins lie."""
    bins = ["%s AS `_bin %d`" % (bin_of(name, *scale), n) for n, (name, scale) in enumerate(scales)]
    binned = rows.selectExpr(*KEYS, *["`%s`" % name for name, _ in scales], *bins)
    values = ["(`_bin %d`, `%s`) AS `%s`" % (n, name, name) for n, (name, _) in enumerate(scales)]
    finite = F.when(F.col("bin") < MISSING, F.col("_value"))
    counted = (
        unpivoted(binned, "(bin, _value)", values)
        .groupBy(*KEYS, "column", "bin")
        .agg(
            F.count("*").alias("count"), F.sum(finite).alias("total"), F.sum(finite * finite).alias("squares")
        )
    )
    layouts = [F.lit(text) for name, scale in scales for text in (name, json.dumps(layout + scale))]
    return counted.select(
        *KEYS,
        "column",
        "bin",
        F.lit(None).cast("string").alias("category"),
        "count",
        *[F.coalesce(name, F.lit(0.0)).alias(name) for name in ("total", "squares")],
        F.create_map(*layouts)[F.col("column")].alias("layout"),
    )


def count_texts(rows: DataFrame, names: list[str], layout: list[str]) -> DataFrame:
    """The cells of the other columns."""
    texts = unpivoted(rows.select(*KEYS, *names), "category", ["`%s`" % name for name in names])
    return (
        texts.groupBy(*KEYS, "column", "category")
        .count()
        .select(
            *KEYS,
            "column",
            F.lit(MISSING).alias("bin"),
            "category",
            "count",
            *[F.lit(0.0).alias(name) for name in ("total", "squares")],
            F.lit(json.dumps(layout)).alias("layout"),
        )
    )


def unpivoted(rows: DataFrame, names: str, values: list[str]) -> DataFrame:
    """A row for each of a row's columns: the column's name and the values, under `names`."""
    asked = "SELECT * FROM {rows} UNPIVOT INCLUDE NULLS (%s FOR column IN (%s))" % (names, ", ".join(values))
    return rows.sparkSession.sql(asked, rows=rows)


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
        "CAST(CASE WHEN abs({z}) < {l} THEN floor({z} * {s}) "
        "WHEN `{n}` IS NULL THEN {m} WHEN isnan(`{n}`) THEN {m} + 1 "
        "WHEN `{n}` = double('infinity') THEN {m} + 2 WHEN `{n}` = double('-infinity') THEN {m} + 3 "
        "ELSE signum({z}) * ({l} * {s} + floor(ln(abs({z}) / {l}) * {s})) END AS INT)"
    ).format(n=name, m=MISSING, z=z, l=LINEAR, s=STEPS)


if __name__ == "__main__":
    main(sys.argv[1])
