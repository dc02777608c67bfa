"""Spark's settings: what a job needs wherever it runs, and what it gets on EMR."""

from flows.etl.runners.base import SparkJob
from flows.etl.runners.config import RunnerSettings

PORTABLE_CONF = {
    "spark.sql.session.timeZone": "UTC",
    # Otherwise Spark stops at a date that Spark 2 would have read; here it breaks its row's rule.
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
    # Iceberg knows microseconds; Spark's default is the old 96-bit timestamp.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
    # pandas writes its times so; Spark would stop at the file.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    # The default of 4 MiB a file makes a task of each small file: 297 of them cost 18 s here.
    "spark.sql.files.openCostInBytes": "65536",
    # The raw zone spreads files over 256 folders; Spark would start a job of a task each to list them.
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "100000",
    # Otherwise Spark parses only the cells that are read, and no longer sees that a line is ragged.
    "spark.sql.optimizer.enableCsvExpressionOptimization": "false",
    "spark.sql.optimizer.enableJsonExpressionOptimization": "false",
    # No marker files beside the lake's, and one job's leftovers never hinder another.
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
}


def sizes(settings: RunnerSettings) -> dict[str, str]:
    """What EMR gives driver and executors."""
    return {
        "spark.driver.cores": str(settings.emr_driver_cores),
        "spark.driver.memory": f"{settings.emr_driver_memory_gb}g",
        "spark.executor.cores": str(settings.emr_executor_cores),
        "spark.executor.memory": f"{settings.emr_executor_memory_gb}g",
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.maxExecutors": str(settings.emr_executors),
        "spark.sql.shuffle.partitions": str(4 * settings.emr_executors * settings.emr_executor_cores),
    }


def arguments(conf: dict[str, str]) -> list[str]:
    """As spark-submit's command line has it."""
    return [part for key, value in conf.items() for part in ("--conf", f"{key}={value}")]


def named(job: SparkJob, attempt: int) -> str:
    """A job's name on EMR, for people and for who looks for its token."""
    return f"{job.name[:180]} {job.attempt(attempt)}"


def attempt_of(name: str) -> int:
    """The attempt that such a name ends with."""
    return int(name.rpartition("-")[2])
