"""The ETL's logic: from lines of text to typed, judged and placed rows. DataFrames in, DataFrames out.

Imports PySpark and the standard library only and runs on Python 3.9, since it ships to EMR as it is.
`job` is the validated job description that the submitter wrote (see `flows.etl.job`).

Every line ends in exactly one of: a row of the lake (`_rule` is null), a quarantined row (`_rule` names
what it broke, `_raw` is its text), or a dropped exact duplicate.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

ISO_DATE = r"\d{4}-\d{2}-\d{2}"
ISO_TIME = ISO_DATE + r"([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?"
TEXT_FORMS = {
    "int": r"[+-]?\d+(\.0*)?",
    "long": r"[+-]?\d+(\.0*)?",
    "double": r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?",
    "boolean": r"(?i)true|false|t|f|yes|no|y|n|1|0",
    "date": ISO_DATE,
    "timestamp": ISO_TIME,
    "timestamptz": ISO_TIME + r"(Z|[+-]\d{2}:?\d{2})?",
}
"""What the text of a type looks like. Spark's casts are more forgiving: `17.9` would become the long 17."""

SPARK_TYPES = {"long": "bigint", "timestamp": "timestamp_ntz", "timestamptz": "timestamp"}

# Spark's 32-bit murmur3 starts from 42, Iceberg's from 0: hashing this number first turns 42 into 0.
SEED_TO_ZERO = -1693959553


def spark_type(kind: str) -> str:
    """Spark's name of a contract type."""
    return SPARK_TYPES.get(kind, kind)


def drop_copies(lines: DataFrame) -> DataFrame:
    """One row for each distinct line of a source file; `_copies` says how many more there were."""
    return lines.groupBy("_sha256", "_line").agg((F.count(F.lit(1)) - 1).alias("_copies"))


def parse(lines: DataFrame, group: dict[str, Any], job: dict[str, Any]) -> DataFrame:
    """Split each line into text cells: adds `_cells` (a struct of strings) and `_ragged`."""
    schema = ", ".join(f"`{name}` string" for name in [*group["header"], "_corrupt"])
    options = {"columnNameOfCorruptRecord": "_corrupt", "mode": "PERMISSIVE"}
    if job["format"] in ("csv", "images"):
        options.update(sep=job["delimiter"], quote='"', escape='"')
        cells = F.from_csv("_line", schema, options)
    else:
        cells = F.from_json("_line", schema, options)
    parsed = lines.withColumn("_cells", cells)
    ragged = F.col("_cells._corrupt").isNotNull() | F.col("_cells").isNull()
    return parsed.withColumn("_ragged", ragged)


def cast(parsed: DataFrame, group: dict[str, Any], job: dict[str, Any]) -> DataFrame:
    """Typed columns from text cells; `_bad` names the first column whose text is not of its type."""
    typed, bad = [], []
    for column in job["columns"]:
        if column["source"] is None:
            continue
        text = F.lit(None).cast("string")
        if column["source"] in group["header"]:
            text = F.nullif(F.trim(F.col("_cells").getField(column["source"])), F.lit(""))
        value, valid = typed_value(text, column)
        typed.append(value.alias(column["name"]))
        bad.append(F.when(text.isNotNull() & ~valid, F.lit("bad_" + column["name"])))
    ragged = F.when(F.col("_ragged"), F.lit("ragged_line"))
    carried = [name for name in ("_sha256", "_line", "_copies") if name in parsed.columns]
    return parsed.select(*carried, *typed, F.coalesce(ragged, *bad).alias("_rule"))


def typed_value(text: Column, column: dict[str, Any]) -> tuple[Column, Column]:
    """The text as its type (null where it does not fit), and whether it is of that type."""
    kind = column["type"]
    if kind == "string":
        return text, F.lit(True)
    if column["format"]:
        value = dated(text, kind, column["format"])
        return value, value.isNotNull()
    form = TEXT_FORMS.get(kind) or decimal_form(kind)
    value = text.cast(spark_type(kind))
    return value, text.rlike("^(" + form + ")$") & value.isNotNull()


def dated(text: Column, kind: str, pattern: str) -> Column:
    """A date or time from text of another form than ISO 8601."""
    if kind == "date":
        return F.to_date(text, pattern)
    if kind == "timestamp":
        return F.to_timestamp_ntz(text, F.lit(pattern))
    return F.to_timestamp(text, pattern)


def decimal_form(kind: str) -> str:
    """Text that a decimal of this scale holds exactly: more digits would be rounded away silently."""
    scale = kind.rstrip(")").split(",")[1]
    return r"[+-]?(\d+\.?|\d*\.\d{1,%s}0*|\d*\.0+)" % scale if scale != "0" else r"[+-]?\d+(\.0*)?"


def derive(rows: DataFrame, job: dict[str, Any]) -> DataFrame:
    """Add the columns that are Spark SQL over the others."""
    for column in job["columns"]:
        if column["expression"]:
            value = F.expr(column["expression"]).cast(spark_type(column["type"]))
            rows = rows.withColumn(column["name"], value)
    return rows


def add_pictures(rows: DataFrame, pictures: DataFrame, job: dict[str, Any]) -> DataFrame:
    """Add the facts of each row's picture; a missing or undecodable one breaks a rule of its own."""
    names = {"index_sha256": "_index", "sha256": "_picture_sha256"}
    facts = pictures.select(*[F.col(name).alias(names.get(name, "_" + name)) for name in pictures.columns])
    same = (F.col("_sha256") == F.col("_index")) & (F.col(job["images"]["path"]) == F.col("_path"))
    joined = rows.join(facts, same, "left")
    broken = F.coalesce(
        F.col("_rule"),
        F.when(F.col("_path").isNull() | (F.col("_error") == "missing"), F.lit("picture_missing")),
        F.when(F.col("_error").isNotNull(), F.lit("picture_unreadable")),
    )
    for column in job["columns"]:
        if column["picture"]:
            fact = "_picture_sha256" if column["picture"] == "sha256" else "_" + column["picture"]
            joined = joined.withColumn(column["name"], F.col(fact).cast(spark_type(column["type"])))
    return joined.withColumn("_rule", broken)


def judge(rows: DataFrame, job: dict[str, Any], keys: dict[str, DataFrame]) -> DataFrame:
    """Set `_rule` to the first rule that each row breaks; null where it breaks none.

    `keys` holds, for each `references` rule, the referred column's values, and for `unique` rules the
    values that the table holds already.
    """
    by_row = [rule for rule in job["rules"] if rule["kind"] not in ("references", "unique")]
    broken = [F.when(breaks(rule), F.lit(rule["name"])) for rule in by_row]
    rows = rows.withColumn("_rule", F.coalesce("_rule", *broken))
    for rule in job["rules"]:
        if rule["kind"] == "references":
            rows = judge_reference(rows, rule, keys[rule["name"]])
        elif rule["kind"] == "unique":
            rows = judge_unique(rows, rule, keys.get(rule["name"]))
    return rows


def breaks(rule: dict[str, Any]) -> Column:
    """Whether a row breaks a rule that looks at that row alone; a null breaks `not_null` only."""
    kind, wanted = rule["kind"], rule["value"]
    if kind == "check":
        return ~F.expr(wanted)
    value = F.col(rule["column"])
    if kind == "not_null":
        return value.isNull()
    if kind == "allowed":
        return ~value.isin(wanted)
    if kind == "pattern":
        return ~value.rlike("^(" + wanted + ")$")
    if kind == "length":
        other: Column = F.octet_length(value) != wanted
        return other
    bounds: list[Column] = []
    if wanted["min"] is not None:
        bounds.append(value < F.lit(wanted["min"]))
    if wanted["max"] is not None:
        bounds.append(value > F.lit(wanted["max"]))
    broken: Column = reduce(lambda a, b: a | b, bounds, F.lit(False))
    return broken


def judge_reference(rows: DataFrame, rule: dict[str, Any], known: DataFrame) -> DataFrame:
    """A value that the referred table lacks breaks the rule."""
    known = known.select(F.col(known.columns[0]).alias("_known")).distinct()
    joined = rows.join(known, rows[rule["column"]] == known["_known"], "left")
    orphan = F.col(rule["column"]).isNotNull() & F.col("_known").isNull()
    rule_broken = F.coalesce("_rule", F.when(orphan, F.lit(rule["name"])))
    return joined.withColumn("_rule", rule_broken).drop("_known")


def judge_unique(rows: DataFrame, rule: dict[str, Any], held: DataFrame | None) -> DataFrame:
    """Of rows with the same values the first stays (by source file, then text); the table's own go before."""
    columns = rule["value"]
    same = Window.partitionBy(F.col("_rule").isNull(), *columns).orderBy("_sha256", "_line")
    later = F.row_number().over(same) > 1
    if held is not None:
        held = held.select(*[F.col(name).alias("_held_" + name) for name in columns]).distinct()
        match = reduce(lambda a, b: a & b, [F.col(name) == F.col("_held_" + name) for name in columns])
        rows = rows.join(held, match, "left")
        later = later | F.col("_held_" + columns[0]).isNotNull()
    named = reduce(lambda a, b: a & b, [F.col(name).isNotNull() for name in columns])
    rule_broken = F.coalesce("_rule", F.when(named & later, F.lit(rule["name"])))
    return rows.withColumn("_rule", rule_broken).drop(*["_held_" + name for name in columns])


def place(rows: DataFrame, job: dict[str, Any]) -> DataFrame:
    """Gather each cell of the layout in one task, sorted, so that it becomes one file.

    `_sink` is 0 for the lake and 1 for the quarantine, which is spread by its text.
    """
    rows = rows.withColumn("_sink", F.col("_rule").isNotNull().cast("int"))
    spread = F.pmod(F.hash("_raw"), F.lit(16))
    cells = []
    for number, partition in enumerate(job["partitions"]):
        value = partition_value(partition["transform"], F.col(partition["column"]), partition["type"])
        rows = rows.withColumn(f"_p{number}", F.when(F.col("_sink") == 0, value))
        cells.append(f"_p{number}")
    gathered = rows.repartition("_sink", *cells, F.when(F.col("_sink") == 1, spread))
    return gathered.sortWithinPartitions("_sink", *cells, *job["sort"])


def partition_value(transform: str, value: Column, kind: str) -> Column:
    """Iceberg's partition transforms in plain Spark SQL.

    Source: https://iceberg.apache.org/spec/#partition-transforms
    """
    name, _, argument = transform.rstrip("]").partition("[")
    if name == "identity":
        return value
    if name == "year":
        return F.year(value) - 1970
    if name == "month":
        return (F.year(value) - 1970) * 12 + F.month(value) - 1
    if name == "day":
        return F.datediff(value, F.lit("1970-01-01").cast("date"))
    if name == "truncate":
        width = int(argument)
        return F.substring(value, 1, width) if kind == "string" else value - F.pmod(value, F.lit(width))
    hashed = F.hash(F.lit(SEED_TO_ZERO), value if kind == "string" else value.cast("bigint"))
    bucket = F.pmod(hashed.bitwiseAND(F.lit(2147483647)), F.lit(int(argument)))
    return F.when(value.isNotNull(), bucket)
