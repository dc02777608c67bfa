"""The Spark job: read, transform, write, summarise. Arguments in, files and `_summary.json` out.

Run by a runner as `spark_job.py JOB_JSON`, here or on EMR; ships with `transform.py` and needs nothing
else than PySpark. Prints `progress DONE TOTAL` lines (Spark tasks) while it works.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from functools import reduce
from typing import Any

import transform  # beside this file, here as on EMR: spark-submit puts the job's folder on the path
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

PICTURE_FACTS = (
    "index_sha256 string, path string, sha256 string, width int, height int, bytes long, error string"
)


def main(path: str) -> None:
    """Do the job that `path` describes."""
    spark = SparkSession.builder.getOrCreate()
    job = json.loads(spark.sparkContext.wholeTextFiles(path).first()[1])
    threading.Thread(target=report_progress, args=(spark,), daemon=True).start()
    observed: dict[str, Observation] = {}
    rows = transform.place(read_and_judge(spark, job, observed), job)
    write(rows, job)
    write_text(spark, job["summary"], json.dumps(summarise(observed, job)))


def read_and_judge(spark: SparkSession, job: dict[str, Any], observed: dict[str, Observation]) -> DataFrame:
    """New rows with their verdict, beside those that are kept of the files that will be replaced."""
    kept = read_kept(spark, job["kept"], observe_as("kept", observed))
    if not job["groups"]:
        assert kept is not None, "a job has files to read or rows to keep"
        return kept
    parts = [
        read_group(spark, job, group, observe_as(f"in_{number}", observed))
        for number, group in enumerate(job["groups"])
    ]
    rows = reduce(DataFrame.unionByName, parts)
    if job["pictures"]:
        rows = transform.add_pictures(rows, spark.read.schema(PICTURE_FACTS).json(job["pictures"]), job)
    rows = transform.judge(transform.derive(rows, job), job, read_keys(spark, job))
    rows = with_source_names(spark, rows, job)
    counts = [F.sum(F.when(F.col("_rule") == name, 1)).alias(name) for name in job["rule_names"]]
    rows = rows.observe(observe_as("judged", observed), F.sum("_copies").alias("_copies"), *counts)
    rows = rows.select(*output_columns(job))
    return rows.unionByName(kept) if kept is not None else rows


def observe_as(name: str, observed: dict[str, Observation]) -> Observation:
    """A new observation, remembered under its name."""
    observed[name] = Observation(name)
    return observed[name]


def read_group(
    spark: SparkSession, job: dict[str, Any], group: dict[str, Any], seen: Observation
) -> DataFrame:
    """Typed rows of the files that share a header; `_copies` counts the exact copies dropped."""
    if job["format"] == "parquet":
        # Records become JSON, so that one path parses, judges and quarantines every format.
        records = spark.read.parquet(*group["files"])
        lines = records.select(
            F.to_json(F.struct("*")).alias("_line"), F.col("_metadata.file_name").alias("_file")
        )
    else:
        lines = spark.read.text(group["files"]).select(
            F.col("value").alias("_line"), F.col("_metadata.file_name").alias("_file")
        )
        lines = lines.where((F.col("_line") != group["header_line"]) & (F.trim("_line") != ""))
    lines = lines.select("_line", F.substring("_file", 1, 64).alias("_sha256"))
    lines = lines.observe(seen, F.count(F.lit(1)).alias("rows"))
    if job["duplicates"] == "drop":
        lines = transform.drop_copies(lines)
    else:
        lines = lines.withColumn("_copies", F.lit(0).cast("bigint"))
    rows: DataFrame = transform.cast(transform.parse(lines, group, job), group, job)
    return rows


def read_kept(spark: SparkSession, kept: dict[str, Any], seen: Observation) -> DataFrame | None:
    """Rows of replaced data files that come from other source files than the replaced ones."""
    if not kept["groups"]:
        return None
    rows = read_lake(spark, kept)
    ids = [F.col(name).alias(name, metadata=field_id(number)) for name, _, number in kept["columns"]]
    rows = rows.select(*ids, *empty_verdict(kept))
    return rows.observe(seen, F.count(F.lit(1)).alias("rows"))


def read_lake(spark: SparkSession, wanted: dict[str, Any]) -> DataFrame:
    """Columns of the lake's data files, in their type of today, without the rows of some source files."""
    parts = []
    for group in wanted["groups"]:
        part = spark.read.parquet(*group["files"])
        if wanted["except_sources"]:
            part = part.where(~F.col("_source_file").isin(wanted["except_sources"]))
        columns = [
            (F.col(c[0]) if c[0] in part.columns else F.lit(None)).cast(c[1]).alias(c[0])
            for c in wanted["columns"]
        ]
        parts.append(part.select(*columns))
    if not parts:
        return spark.createDataFrame([], ", ".join("`" + c[0] + "` " + c[1] for c in wanted["columns"]))
    return reduce(DataFrame.unionByName, parts)


def empty_verdict(kept: dict[str, Any]) -> list[Any]:
    """The verdict's columns for rows that were judged before."""
    return [
        F.lit(None).cast("string").alias(name, metadata=field_id(i)) for name, i in kept["verdict_columns"]
    ]


def output_columns(job: dict[str, Any]) -> list[Any]:
    """The lake's columns with their Iceberg field ids, then the verdict's."""
    lake = [
        F.col(name).cast(kind).alias(name, metadata=field_id(number))
        for name, kind, number in job["kept"]["columns"]
    ]
    raw = F.when(F.col("_rule").isNotNull(), F.col("_line"))
    values = {
        "_rule": F.col("_rule"),
        "_raw": raw,
        "_sha256": F.when(F.col("_rule").isNotNull(), F.col("_sha256")),
    }
    return lake + [
        values[name].alias(name, metadata=field_id(i)) for name, i in job["kept"]["verdict_columns"]
    ]


def field_id(number: int) -> dict[str, int]:
    """Column metadata that makes Spark write Iceberg's field id into the Parquet schema."""
    return {"parquet.field.id": number}


def with_source_names(spark: SparkSession, rows: DataFrame, job: dict[str, Any]) -> DataFrame:
    """Add `_source_file`: the raw zone names a file by its sha256, people by its path at the source."""
    names = spark.createDataFrame(list(job["sources"].items()), "_named string, _source_file string")
    return rows.join(F.broadcast(names), rows["_sha256"] == names["_named"]).drop("_named")


def read_keys(spark: SparkSession, job: dict[str, Any]) -> dict[str, DataFrame]:
    """Values that `references` and `unique` rules compare with, a frame a rule."""
    return {rule: read_lake(spark, known) for rule, known in job["keys"].items()}


def write(rows: DataFrame, job: dict[str, Any]) -> None:
    """Write both sinks in one pass: `_sink=0` is the lake's, `_sink=1` the quarantine's."""
    cells = ["_sink"] + [f"_p{number}" for number in range(len(job["partitions"]))]
    rows.write.partitionBy(*cells).mode("errorifexists").parquet(job["output"])


def summarise(observed: dict[str, Observation], job: dict[str, Any]) -> dict[str, Any]:
    """What was counted on the way, independently of what was written."""
    counted = {name: seen.get for name, seen in observed.items() if name != "kept" or job["kept"]["groups"]}
    judged = counted.pop("judged", {})
    kept = counted.pop("kept", {"rows": 0})["rows"]
    return {
        "rows_in": sum(group["rows"] for group in counted.values()),
        "rows_duplicate": judged.pop("_copies", 0) or 0,
        "rows_kept": kept,
        "quarantined_by_rule": {rule: count for rule, count in judged.items() if count},
        "profile": {},
    }


def write_text(spark: SparkSession, path: str, text: str) -> None:
    """Write one small file wherever the path points, local or S3, through Hadoop."""
    jvm: Any = spark._jvm
    target = jvm.org.apache.hadoop.fs.Path(path)
    stream = target.getFileSystem(spark._jsc.hadoopConfiguration()).create(target, True)
    stream.write(bytearray(text, "utf-8"))
    stream.close()


def report_progress(spark: SparkSession, every_seconds: float = 0.5) -> None:
    """Print how many of the tasks known so far are done; runs until the job ends."""
    tracker, seen, last = spark.sparkContext.statusTracker(), {}, None
    while True:
        for stage in tracker.getActiveStageIds():
            info = tracker.getStageInfo(stage)
            if info:
                seen[stage] = (info.numCompletedTasks, info.numTasks)
        total = tuple(map(sum, zip(*seen.values()))) if seen else None
        if total and total != last:
            print("progress", *total, flush=True)
            last = total
        time.sleep(every_seconds)


if __name__ == "__main__":
    main(sys.argv[1])
