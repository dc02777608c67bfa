"""The contender: the barest Spark program that reads, casts and writes the lake's layout. No checks at all.

Same Spark, settings, types, partitions, buckets, sort order and compression as ours.
Run as `bare_etl.py SOURCE OUTPUT`, with the environment that `LocalRunner` gives its job.
"""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

NAMES = [
    "invoice_no",
    "stock_code",
    "description",
    "quantity",
    "invoice_date",
    "unit_price",
    "customer_id",
    "country",
]


def main(source: str, output: str) -> None:
    """Read, cast, write."""
    spark = SparkSession.builder.getOrCreate()
    raw = spark.read.schema(", ".join(f"{name} string" for name in NAMES)).csv(source, header=True)
    rows = raw.select(
        "invoice_no",
        "stock_code",
        "description",
        F.col("quantity").cast("int"),
        F.col("invoice_date").cast("timestamp_ntz"),
        F.col("unit_price").cast("decimal(12,3)"),
        F.col("customer_id").cast("bigint"),
        "country",
        F.col("invoice_no").like("C%").alias("is_cancelled"),
        F.upper("description").like("%CHRISTMAS%").alias("is_christmas"),
    )
    placed = rows.withColumns(
        {
            "month": (F.year("invoice_date") - 1970) * 12 + F.month("invoice_date") - 1,
            "bucket": F.expr(
                "CASE WHEN customer_id IS NOT NULL "
                "THEN pmod(hash(-1693959553, customer_id) & 2147483647, 4) END"
            ),
        }
    )
    gathered = placed.repartition("month", "bucket")
    sorted_rows = gathered.sortWithinPartitions("month", "bucket", "customer_id", "invoice_date")
    sorted_rows.write.partitionBy("month", "bucket").parquet(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
