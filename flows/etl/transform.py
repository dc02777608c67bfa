"""The ETL's logic: from lines of text to typed, judged and placed rows. DataFrames in, DataFrames out.

Imports PySpark and the standard library only and runs on Python 3.9, since it ships to EMR as it is.
`job` is the validated job description that the submitter wrote (see `flows.etl.job`).

Every line ends in exactly one of: a row of the lake (`_rule` is null), a quarantined row (`_rule` names
what it broke, `_raw` is its text), or a dropped exact duplicate.
"""

from __future__ import annotations

import re
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import (
    DataType,
    DecimalType,
    DoubleType,
    FloatType,
    TimestampNTZType,
    TimestampType,
)

ISO_DATE = r"(?!0000)\d{4}-\d{2}-\d{2}"  # Spark has a year 0, Python and most engines have none
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

NUMBER = r'\G((?:[^"\d-]*+"(?:[^"\\]++|\\.)*+")*+[^"\d-]*+)(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)'
"""A JSON number and what stands before it since the last one: whole strings, and no digit outside of them."""

QUOTE = '"'

PADDING = r"(\.\d+?)0+$"

# Spark's 32-bit murmur3 starts from 42, Iceberg's from 0: hashing this number first turns 42 into 0.
SEED_TO_ZERO = -1693959553


def spark_type(kind: str) -> str:
    """Spark's name of a contract type."""
    return SPARK_TYPES.get(kind, kind)


def distinct_lines(files: DataFrame, header_line: str) -> DataFrame:
    """What `drop_copies` gives, from whole files (`_text`) and without a shuffle.

    Headers and blank lines are left out; a file's copies are all counted on its first line.
    """
    text = F.expr("trim(LEADING '\ufeff' FROM _text)")
    text = F.when(text.contains("\r"), F.regexp_replace(text, "\r\n?", "\n")).otherwise(text)
    rows = F.filter(F.split(text, "\n"), lambda line: (F.trim(line) != "") & (line != header_line))
    names = ("_sha256", "_source_file")
    every = files.select(*names, rows.alias("_every"))
    distinct = every.select(
        *names, F.size("_every").alias("_rows"), F.array_distinct("_every").alias("_lines")
    )
    copies = (F.col("_rows") - F.size("_lines")).cast("bigint").alias("_copies")
    # Counted before the explosion: after it, each line would carry its file's whole array.
    counted = distinct.select(*names, copies, "_lines")
    # Outer, since for the other Spark adds a filter that makes every array twice.
    lines = counted.select(*names, "_copies", F.posexplode_outer("_lines").alias("_nth", "_line"))
    return (
        lines.where("_line IS NOT NULL")
        .withColumn("_copies", F.when(F.col("_nth") == 0, F.col("_copies")).otherwise(0))
        .drop("_nth")
    )


def drop_copies(lines: DataFrame) -> DataFrame:
    """One row for each distinct line of a source file; `_copies` says how many more there were."""
    return lines.groupBy("_sha256", "_line").agg((F.count(F.lit(1)) - 1).alias("_copies"))


def parse(lines: DataFrame, group: dict[str, Any], job: dict[str, Any]) -> DataFrame:
    """Split each line into text cells: adds `_cells` (a struct, `_0` the header's first) and `_ragged`."""
    if job["format"] in ("csv", "images"):
        return parse_csv(lines, len(group["header"]), job["delimiter"])
    return parse_json(lines, group["header"])


def parse_csv(lines: DataFrame, width: int, delimiter: str) -> DataFrame:
    """Cells of a line of comma-separated values."""
    # One cell more than the header has: a quote that is never closed swallows the delimiter before it.
    schema = ", ".join("_%s string" % name for name in [*range(width), "end", "corrupt"])
    options = {"columnNameOfCorruptRecord": "_corrupt", "sep": delimiter, "quote": QUOTE, "escape": QUOTE}
    has_quote = F.col("_line").contains(QUOTE)
    quoted = F.from_csv(F.when(has_quote, F.concat("_line", F.lit(delimiter))), schema, options)
    # A line without a quote is split as it stands, in a third of the time that Spark's CSV parser takes.
    split = F.when(F.col("_quoted").isNull(), F.split("_line", re.escape(delimiter)))
    parsed = lines.withColumn("_quoted", quoted).withColumn("_split", split)
    texts = [F.coalesce(F.col("_split")[n], F.col("_quoted._%d" % n)) for n in range(width)]
    cells = [F.when(text != "", text).alias("_%d" % n) for n, text in enumerate(texts)]
    is_ragged = F.when(F.col("_split").isNotNull(), F.size("_split") != width)
    return parsed.withColumns(
        {"_cells": F.struct(*cells), "_ragged": is_ragged.otherwise(F.col("_quoted._corrupt").isNotNull())}
    )


def parse_json(lines: DataFrame, names: list[str]) -> DataFrame:
    """Cells of a line that is one JSON object; a nested value stays JSON."""
    kind = "array<struct<" + ", ".join("`" + name.replace("`", "``") + "`: string" for name in names) + ">>"
    options = {"allowSingleQuotes": "false"}
    # As an array of one, since Spark overlooks what follows a line's first value. Numbers as strings, since
    # Spark takes others through a double: 12345678.50 would become 1.23456785E7.
    alone = F.concat(F.lit("["), F.col("_line"), F.lit("]"))
    exact = F.from_json(F.regexp_replace(alone, NUMBER, '$1"$2"'), kind, options)
    nested = F.when(F.col("_line").rlike(r"\{.*[\[{]"), F.from_json(alone, kind, options))
    parsed = lines.withColumn("_exact", exact).withColumn("_nested", nested)
    cells = []
    for number, name in enumerate(names):
        text, inner = F.col("_exact")[0].getField(name), F.col("_nested")[0].getField(name)
        is_nested = F.col("_nested").isNotNull() & text.rlike(r"^[\[{]")
        cells.append(F.coalesce(F.when(is_nested, inner), text).alias("_%d" % number))
    ragged = ~F.coalesce((F.size("_exact") == 1) & F.col("_exact")[0].isNotNull(), F.lit(False))
    return parsed.withColumn("_cells", F.struct(*cells)).withColumn("_ragged", ragged)


def in_microseconds(records: DataFrame, nanoseconds: list[str]) -> DataFrame:
    """Times that Spark reads as whole numbers, since it knows no nanoseconds, as times."""
    for name in nanoseconds:
        quoted = "`" + name.replace("`", "``") + "`"
        records = records.withColumn(name, F.expr("timestamp_micros(" + quoted + " div 1000)"))
    return records


def record_text(records: DataFrame) -> Column:
    """Records that are typed already as lines of JSON, so that one path parses and judges every format."""
    return F.to_json(F.struct(*[exact_text(field.name, field.dataType) for field in records.schema]))


def exact_text(name: str, kind: DataType) -> Column:
    """A column as text that loses nothing: `to_json` itself cuts times to milliseconds."""
    value = F.col("`" + name.replace("`", "``") + "`")
    if isinstance(kind, DecimalType):
        text = F.regexp_replace(F.format_number(value, kind.scale), ",", "")
    elif isinstance(kind, (TimestampType, TimestampNTZType)):
        text = value.cast("string")
    elif isinstance(kind, (DoubleType, FloatType)):
        # Whole numbers with nulls are often kept as doubles, which Java writes as 1.2345678E7.
        plain = F.regexp_replace(value.cast("string").cast("decimal(38,10)").cast("string"), PADDING, "$1")
        text = F.when(F.abs(value).between(1e7, 1e27), plain).otherwise(value.cast("string"))
    else:
        return value.alias(name)
    return F.when(value.isNotNull(), text).alias(name)


def cast(parsed: DataFrame, group: dict[str, Any], job: dict[str, Any]) -> DataFrame:
    """Typed columns from text cells; `_rule` names the first column whose text is not of its type.

    In three steps, each computed once a row: cells as text, text as values, values judged.
    """
    columns = [column for column in job["columns"] if column["source"] is not None]
    carried = [name for name in ("_sha256", "_source_file", "_line", "_copies") if name in parsed.columns]
    texts = [cell_text(group, column).alias("_text_" + column["name"]) for column in columns]
    values = [typed(F.col("_text_" + column["name"]), column).alias(column["name"]) for column in columns]
    rows = parsed.select(*carried, "_ragged", *texts).select("*", *values)
    bad = [
        F.when(
            F.col("_text_" + column["name"]).isNotNull() & ~is_typed(column), F.lit("bad_" + column["name"])
        )
        for column in columns
        if column["type"] != "string"
    ]
    ragged = F.when(F.col("_ragged"), F.lit("ragged_line"))
    names = [column["name"] for column in columns]
    return rows.select(*carried, *names, F.coalesce(ragged, *bad).alias("_rule"))


def cell_text(group: dict[str, Any], column: dict[str, Any]) -> Column:
    """The text of a column's cell; null where it is empty or the file lacks the column."""
    if column["source"] not in group["header"]:
        return F.lit(None).cast("string")
    cell = F.col("_cells").getField("_%d" % group["header"].index(column["source"]))
    return F.nullif(F.trim(cell), F.lit(""))


def typed(text: Column, column: dict[str, Any]) -> Column:
    """The text as its type; null where Spark cannot read it as such."""
    if column["type"] == "string":
        return text
    if column["format"]:
        return dated(text, column["type"], column["format"])
    return text.cast(spark_type(column["type"]))


def is_typed(column: dict[str, Any]) -> Column:
    """Whether a value was read, and its text has the form of its type."""
    value = F.col(column["name"])
    if column["format"]:
        return value.isNotNull()
    form = TEXT_FORMS.get(column["type"]) or decimal_form(column["type"])
    valid = value.isNotNull() & F.col("_text_" + column["name"]).rlike(r"^(" + form + r")\z")
    return valid & (F.abs(value) != F.lit(float("inf"))) if column["type"] == "double" else valid


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

    Rules that look at the row alone come first, then `references`, then `unique`, each in their order.
    `keys` holds, for each `references` rule, the referred column's values, and for `unique` rules the
    values that the table holds already.
    """
    broken = [
        F.when(breaks(rule), F.lit(rule["name"])) for rule in job["rules"] if rule["kind"] not in BEYOND
    ]
    rows = rows.withColumn("_rule", F.coalesce("_rule", *broken))
    for rule in (rule for rule in job["rules"] if rule["kind"] == "references"):
        rows = judge_reference(rows, rule, keys[rule["name"]])
    for rule in (rule for rule in job["rules"] if rule["kind"] == "unique"):
        rows = judge_unique(rows, rule, keys.get(rule["name"]))
    return rows


BEYOND = ("references", "unique")
"""Rules that look beyond their row. A row that breaks another one must not take a good row's place."""


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
        return ~value.rlike("^(" + wanted + r")\z")
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
