"""The Spark job: read, transform, write, summarise. Arguments in, files and `_summary.json` out.

Run by a runner as `spark_job.py JOB_JSON`, here or on EMR; ships with `transform.py` and needs nothing
else than PySpark. While it works it prints `progress DONE TOTAL` lines (Spark tasks), and on S3, where nobody
reads those, leaves them in a file.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import suppress
from functools import reduce
from typing import Any, Callable

import transform  # beside this file, here as on EMR: spark-submit puts the job's folder on the path
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

PICTURE_FACTS = (
    "index_sha256 string, path string, sha256 string, width int, height int, bytes long, error string"
)

LEFT_SECONDS = 5.0  # between two files that tell how far the job is

# The raw zone names a file by its content. As SQL, since there is no Spark yet that could make a Column.
SHA256 = "substring(_metadata.file_name, 1, 64) AS _sha256"


def main(path: str, read: Callable[[SparkSession, dict[str, Any]], DataFrame] | None = None) -> None:
    """Do the job that `path` describes; `read` gives its rows with their verdict, the ETL's unless said."""
    spark = SparkSession.builder.getOrCreate()
    job = json.loads(read_text(spark, path))
    threading.Thread(target=report_progress, args=(spark, path), daemon=True).start()
    started = time.time()
    write(transform.place((read or read_and_judge)(spark, job), job), job)
    summary = {"spark": spark.version, "seconds": round(time.time() - started, 3), "profile": {}}
    write_text(spark, job["summary"], json.dumps(summary))


def read_and_judge(spark: SparkSession, job: dict[str, Any]) -> DataFrame:
    """New rows with their verdict, beside those that are kept of the files that will be replaced."""
    if not job["groups"]:
        return read_kept(spark, job["kept"])
    rows = reduce(DataFrame.unionByName, [read_group(spark, job, group) for group in job["groups"]])
    if job["images"]:
        rows = transform.add_pictures(rows, read_pictures(spark, job["pictures"]), job)
    rows = transform.judge(transform.derive(rows, job), job, read_keys(spark, job))
    judged: DataFrame = rows.select(*output_columns(job))
    if job["kept"]["groups"]:
        judged = judged.unionByName(read_kept(spark, job["kept"]))
    return judged


def read_group(spark: SparkSession, job: dict[str, Any], group: dict[str, Any]) -> DataFrame:
    """Typed rows of the files that share a header; `_copies` counts the exact copies dropped."""
    if group["whole"]:
        files = spark.read.text(group["files"], wholetext=True).selectExpr(SHA256, "value AS _text")
        lines = transform.distinct_lines(with_source_names(spark, files, job), group["header_line"])
    elif job["duplicates"] == "drop":
        lines = with_source_names(spark, transform.drop_copies(read_lines(spark, job, group)), job)
    else:
        lines = with_source_names(spark, read_lines(spark, job, group), job)
        lines = lines.withColumn("_copies", F.lit(0).cast("bigint"))
    rows: DataFrame = transform.cast(transform.parse(lines, group, job), group, job)
    return rows


def read_lines(spark: SparkSession, job: dict[str, Any], group: dict[str, Any]) -> DataFrame:
    """The lines of a group's files, headers and blank ones aside."""
    if job["format"] == "parquet":
        records: DataFrame = transform.in_microseconds(
            spark.read.parquet(*group["files"]), group["nanoseconds"]
        )
        return records.select(F.expr(SHA256), transform.record_text(records).alias("_line"))
    lines = spark.read.text(group["files"]).selectExpr(SHA256, "value AS _line")
    texts: DataFrame = lines.where((F.col("_line") != group["header_line"]) & (F.trim("_line") != ""))
    return texts


def read_pictures(spark: SparkSession, path: str | None) -> DataFrame:
    """Facts of the indexes' pictures; none where no index names one."""
    if path is None:
        return spark.createDataFrame([], PICTURE_FACTS)
    return spark.read.schema(PICTURE_FACTS).json(path)


def read_kept(spark: SparkSession, kept: dict[str, Any]) -> DataFrame:
    """Rows of replaced data files that come from other source files than the replaced ones."""
    ids = [F.col(name).alias(name, metadata=field_id(number)) for name, _, number in kept["columns"]]
    return read_lake(spark, kept).select(*ids, *verdict_columns(kept, {}))


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


def output_columns(job: dict[str, Any]) -> list[Any]:
    """The lake's columns with their Iceberg field ids, then the verdict's, empty for good rows."""
    lake = [
        F.col(name).cast(kind).alias(name, metadata=field_id(number))
        for name, kind, number in job["kept"]["columns"]
    ]
    is_bad = F.col("_rule").isNotNull()
    values = {
        "_rule": F.col("_rule"),
        "_raw": F.when(is_bad, F.col("_line")),
        "_sha256": F.when(is_bad, F.col("_sha256")),
        "_copies": F.when(F.col("_copies") > 0, F.col("_copies")),
    }
    return lake + verdict_columns(job["kept"], values)


def verdict_columns(kept: dict[str, Any], values: dict[str, Any]) -> list[Any]:
    """The columns beside the lake's own; null where `values` has none, as for rows judged before."""
    return [
        values.get(name, F.lit(None)).cast(kind).alias(name, metadata=field_id(number))
        for name, kind, number in kept["verdict_columns"]
    ]


def field_id(number: int) -> dict[str, int]:
    """Column metadata that makes Spark write Iceberg's field id into the Parquet schema."""
    return {"parquet.field.id": number}


def with_source_names(spark: SparkSession, rows: DataFrame, job: dict[str, Any]) -> DataFrame:
    """Add `_source_file`: the raw zone names a file by its sha256, people by its path at the source."""
    # As a literal: a frame of Python's costs a Spark job of a second.
    pairs = [{"_named": sha256, "_source_file": path} for sha256, path in job["sources"].items()]
    kind = "array<struct<_named: string, _source_file: string>>"
    names = spark.sql("SELECT 1").select(F.inline(F.from_json(F.lit(json.dumps(pairs)), kind)))
    return rows.join(F.broadcast(names), rows["_sha256"] == names["_named"]).drop("_named")


def read_keys(spark: SparkSession, job: dict[str, Any]) -> dict[str, DataFrame]:
    """Values that `references` and `unique` rules compare with, a frame a rule."""
    return {rule: read_lake(spark, known) for rule, known in job["keys"].items()}


def write(rows: DataFrame, job: dict[str, Any]) -> None:
    """Write both sinks in one pass: `_sink=0` is the lake's, `_sink=1` the quarantine's."""
    cells = ["_sink"] + [f"_p{number}" for number in range(len(job["partitions"]))]
    # The folder is this job's alone; an attempt that died before may have left half of its files there.
    rows.write.partitionBy(*cells).mode("overwrite").parquet(job["output"])


def read_text(spark: SparkSession, path: str) -> str:
    """Read one small file wherever the path points, local or S3, through Hadoop."""
    stream = file_system(spark, path).open(hadoop_path(spark, path))
    try:
        return bytes(stream.readAllBytes()).decode("utf-8")
    finally:
        stream.close()


def write_text(spark: SparkSession, path: str, text: str) -> None:
    """Write one small file wherever the path points, local or S3, through Hadoop."""
    stream = file_system(spark, path).create(hadoop_path(spark, path), True)
    stream.write(bytearray(text, "utf-8"))
    stream.close()


def hadoop_path(spark: SparkSession, path: str) -> Any:
    """Hadoop's own idea of a path."""
    jvm: Any = spark._jvm
    return jvm.org.apache.hadoop.fs.Path(path)


def file_system(spark: SparkSession, path: str) -> Any:
    """Hadoop's file system behind a path."""
    return hadoop_path(spark, path).getFileSystem(spark._jsc.hadoopConfiguration())


def report_progress(spark: SparkSession, path: str, every_seconds: float = 0.5) -> None:
    """Tell how many of the tasks known so far are done; runs until the job ends."""
    tracker, seen, last, left = spark.sparkContext.statusTracker(), {}, None, 0.0
    while True:
        for stage in tracker.getActiveStageIds():
            info = tracker.getStageInfo(stage)
            if info:
                seen[stage] = (info.numCompletedTasks, info.numTasks)
        total = tuple(map(sum, zip(*seen.values()))) if seen else None
        if total and total != last:
            print("progress", *total, flush=True)
            last = total
            if path.startswith("s3") and time.time() - left > LEFT_SECONDS:
                leave_progress(spark, path, {"done": total[0], "known": total[1], "stages": len(seen)})
                left = time.time()
        time.sleep(every_seconds)


def leave_progress(spark: SparkSession, path: str, far: dict[str, int]) -> None:
    """Leave a file beside the job that says how far it is; the job goes on where that cannot be."""
    with suppress(Exception):
        write_text(spark, path.rpartition("/")[0] + "/_progress.json", json.dumps(far))


if __name__ == "__main__":
    main(sys.argv[1])
