"""From lines of text to typed, judged and placed rows: every value exact, every line in one place.

Partition values are compared with PyIceberg's own transforms, on values that a seed picks.
"""

import ast
import csv
import gzip
import hashlib
import io
import json
import random
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import pytest
from pyiceberg.transforms import parse_transform
from pyiceberg.utils.datetime import date_to_days, datetime_to_micros
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from flows.config import CHECKOUT
from flows.etl import job as job_of
from flows.etl import transform
from flows.etl.contract_parts import Rule
from flows.etl.land import arrive
from flows.etl.runners.local import LocalRunner
from flows.etl.schema import TYPES, field_ids, iceberg_type
from tests.factories import contract_in, settings_of, start_spark

ETL = CHECKOUT / "flows" / "etl"
SHIPPED_TO_EMR = ("transform.py", "spark_job.py")
SEED = 20101201
EPOCH = datetime(1970, 1, 1)
LETTERS = "abcXYZ019 äß東京😀é"


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> SparkSession:
    folder = tmp_path_factory.mktemp("spark")
    return start_spark(LocalRunner(settings_of(folder)).spark_conf(folder))  # type: ignore[no-any-return]


def frame(spark: SparkSession, schema: str, rows: Iterable[Sequence[Any]]) -> DataFrame:
    return spark.createDataFrame([tuple(row) for row in rows], schema)


def lines_of(spark: SparkSession, lines: Iterable[str]) -> DataFrame:
    """Lines as the job reads them, all of one file."""
    return frame(spark, "_line string, _sha256 string, _copies bigint", [(line, "s", 0) for line in lines])


def column(kind: str, *, source: str | None = "text", **more: Any) -> dict[str, Any]:
    """A column of a job: `value`, read from `text`."""
    return {
        "name": "value",
        "type": kind,
        "source": source,
        "format": None,
        "expression": None,
        "picture": None,
    } | more


# What ships to EMR


@pytest.mark.parametrize("name", SHIPPED_TO_EMR)
def test_what_ships_to_emr_is_written_for_python_3_9(name: str) -> None:
    tree = ast.parse((ETL / name).read_text(), feature_version=(3, 9))
    futures = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert [alias.name for node in futures for alias in node.names] == ["annotations"]
    # 3.10's `zip(strict=…)` parses on 3.9, and fails there.
    keywords = [k.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for k in node.keywords]
    assert "strict" not in keywords


@pytest.mark.parametrize("name", SHIPPED_TO_EMR)
def test_what_ships_to_emr_imports_pyspark_and_the_standard_library_only(name: str) -> None:
    found = set()
    for node in ast.walk(ast.parse((ETL / name).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add((node.module or "").partition(".")[0])
    ours = {"transform"} if name == "spark_job.py" else set()
    assert found - set(sys.stdlib_module_names) == {"pyspark"} | ours


def test_the_job_and_its_submitter_call_a_type_the_same() -> None:
    kinds = [*TYPES, "decimal(12,3)"]
    assert {kind: transform.spark_type(kind) for kind in kinds} == {
        kind: job_of.SPARK_TYPES.get(kind, kind) for kind in kinds
    }


def test_every_type_has_a_form_of_its_text() -> None:
    assert {*transform.TEXT_FORMS, "string"} == set(TYPES)


# Partition values


def random_values(rng: random.Random, count: int = 250) -> dict[str, list[Any]]:
    """So many values of each type, nulls and extremes among them."""
    # By Iceberg's rule a truncated number is the next lower multiple, which the lowest numbers do not have.
    low_int, low_long = -(2**31) + 128, -(2**63) + 1024
    ints = [None, 0, 1, -1, 9, 10, -10, -11, 2**31 - 1, low_int]
    dates = [None, date(1970, 1, 1), date(1969, 12, 31), date(1970, 1, 2), date(1, 1, 1), date(9999, 12, 31)]
    dates += [date(2000, 2, 29), date(1900, 3, 1), date(1582, 10, 15), date(1969, 11, 30), date(1968, 2, 29)]
    times = [None, EPOCH, datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(1969, 12, 1)]
    times += [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)]
    drawn: dict[str, tuple[list[Any], Callable[[], Any]]] = {
        "int": (ints, lambda: rng.randrange(low_int, 2**31)),
        "long": ([*ints, 2**63 - 1, low_long, 2**31], lambda: rng.randrange(low_long, 2**63)),
        "string": (
            [None, "a", "abcd", "😀", "a😀b"],
            lambda: "".join(rng.choices(LETTERS, k=rng.randrange(1, 12))),
        ),
        "key": ([None], lambda: "".join(rng.choices("0123456789abcdef", k=64))),
        "text": ([None, "abcd", "äß", "😀", "12345678"], lambda: text_of_fours(rng)),
        "date": (dates, lambda: EPOCH.date() + timedelta(days=rng.randrange(-40_000, 40_000))),
        "timestamp": (
            times,
            lambda: EPOCH + timedelta(microseconds=rng.randrange(-(2 * 10**15), 2 * 10**15)),
        ),
    }
    return {
        name: first + [draw() for _ in range(count - len(first))] for name, (first, draw) in drawn.items()
    }


def text_of_fours(rng: random.Random) -> str:
    """A text whose length in bytes is a multiple of four."""
    while True:
        text = "".join(rng.choices(LETTERS, k=rng.randrange(1, 20)))
        if len(text.encode()) % 4 == 0:
            return text


VALUES = random_values(random.Random(SEED))
KINDS = {"key": "string", "text": "string"}
INTERNAL = {"date": date_to_days, "timestamp": datetime_to_micros, "timestamptz": datetime_to_micros}
CASES = [
    *[
        ("int", name)
        for name in ("identity", "truncate[10]", "truncate[7]", "truncate[1]", "bucket[4]", "bucket[4096]")
    ],
    *[("long", name) for name in ("identity", "truncate[10]", "truncate[1000]", "bucket[4]", "bucket[7]")],
    *[("string", name) for name in ("identity", "truncate[1]", "truncate[3]", "truncate[100]")],
    *[("key", name) for name in ("bucket[4]", "bucket[16]", "truncate[2]")],
    *[("text", name) for name in ("bucket[4]", "bucket[97]")],
    *[("date", name) for name in ("year", "month", "day")],
    *[("timestamp", name) for name in ("year", "month", "day")],
    *[("timestamptz", name) for name in ("year", "month", "day")],
]


@pytest.fixture(scope="module")
def placed(spark: SparkSession) -> list[dict[str, Any]]:
    """Spark's partition values of all cases, from one job."""
    names = list(VALUES)
    schema = ", ".join(f"`{name}` {transform.spark_type(KINDS.get(name, name))}" for name in names)
    rows = frame(
        spark, f"_n int, {schema}", [(n, *row) for n, row in enumerate(zip(*VALUES.values(), strict=True))]
    )
    rows = rows.withColumn("timestamptz", F.to_utc_timestamp(F.col("timestamp").cast("timestamp"), "UTC"))
    values = [
        transform.partition_value(how, F.col(name), KINDS.get(name, name)).alias(f"{name} {how}")
        for name, how in CASES
    ]
    return [row.asDict() for row in rows.select("_n", *values).orderBy("_n").collect()]


@pytest.mark.parametrize(("name", "how"), CASES)
def test_a_partition_value_is_icebergs(placed: list[dict[str, Any]], name: str, how: str) -> None:
    given = VALUES["timestamp" if name == "timestamptz" else name]
    kind = iceberg_type(KINDS.get(name, name))
    icebergs = parse_transform(how).transform(kind)
    expected = []
    for value in given:
        if name in INTERNAL and value is not None:
            value = INTERNAL[name](value)
        expected.append(icebergs(value))
    assert [row[f"{name} {how}"] for row in placed] == expected
    assert len(set(expected)) > 1 or how == "truncate[100]"


def test_the_seed_picks_what_is_hard() -> None:
    assert all(None in values and len(values) == 250 for values in VALUES.values())
    assert sum(value is not None and value < date(1970, 1, 1) for value in VALUES["date"]) > 50
    assert sum(value is not None and value < 0 for value in VALUES["int"]) > 50
    assert all(len(value) == 64 for value in VALUES["key"] if value)


# Texts and types

TEXTS = [
    *(
        " 17850.0",
        "17850.0 ",
        "17850.7",
        "1e3",
        "1E3",
        "2.5555",
        "2.555000",
        "1,000",
        "",
        " ",
        "NULL",
        "null",
        "None",
    ),
    *("2147483647", "2147483648", "-2147483648", "-2147483649", "9223372036854775807", "9223372036854775808"),
    *(
        "999999999.999",
        "1000000000",
        "1000000000.000",
        "-0",
        "+5",
        "5.",
        ".5",
        "-.5",
        "0x1F",
        "1_000",
        "٣",
        "1f",
        "1L",
    ),
    *("1e308", "1e309", "-1e309", "NaN", "Infinity", "-Infinity", "--5", "5-", ".", "5\n", "\t5"),
    *(
        "2010-12-01",
        "2010-02-30",
        "2012-02-29",
        "2010-1-2",
        "01/12/2010",
        "20101201",
        "0000-01-01",
        "10000-01-01",
    ),
    *(
        "2010-12-01T08:26",
        "2010-12-01 08:26",
        "2010-12-01 08:26:59.5",
        "2010-12-01T08:26:59.123456",
        "2010-12-01T8:26",
    ),
    *(
        "2010-12-01T08:26:00Z",
        "2010-12-01 08:26:00+02:00",
        "2010-12-01 08:26:00-0130",
        "2010-12-01 08:26:00 CET",
    ),
    *("2010-12-01 24:00:00", "2010-12-01 23:59:60", "2010-12-01T", "08:26", "0000-01-01 00:00:00"),
    *("true", "False", "T", "f", "YES", "no", "y", "N", "on", "2", "0", "1"),
]

# Of these texts each type takes the ones below, as the value beside; every other one breaks the rule bad_….
TAKEN: dict[str, dict[str, str]] = {
    "int": {
        " 17850.0": "17850",
        "17850.0 ": "17850",
        "2147483647": "2147483647",
        "-2147483648": "-2147483648",
        "1000000000": "1000000000",
        "1000000000.000": "1000000000",
        "20101201": "20101201",
        **{"-0": "0", "+5": "5", "5.": "5", "2": "2", "0": "0", "1": "1"},
    },
    "double": {
        " 17850.0": "17850.0",
        "17850.0 ": "17850.0",
        "17850.7": "17850.7",
        "1e3": "1000.0",
        "1E3": "1000.0",
        "2.5555": "2.5555",
        "2.555000": "2.555",
        "2147483647": "2.147483647E9",
        "2147483648": "2.147483648E9",
        "-2147483648": "-2.147483648E9",
        "-2147483649": "-2.147483649E9",
        "9223372036854775807": "9.223372036854776E18",
        "9223372036854775808": "9.223372036854776E18",
        "999999999.999": "9.99999999999E8",
        "1000000000": "1.0E9",
        "1000000000.000": "1.0E9",
        "20101201": "2.0101201E7",
        "1e308": "1.0E308",
        **{
            "-0": "-0.0",
            "+5": "5.0",
            "5.": "5.0",
            ".5": "0.5",
            "-.5": "-0.5",
            "2": "2.0",
            "0": "0.0",
            "1": "1.0",
        },
    },
    "decimal(12,3)": {
        " 17850.0": "17850.000",
        "17850.0 ": "17850.000",
        "17850.7": "17850.700",
        "2.555000": "2.555",
        "999999999.999": "999999999.999",
        "20101201": "20101201.000",
        **{"-0": "0.000", "+5": "5.000", "5.": "5.000", ".5": "0.500", "-.5": "-0.500"},
        **{"2": "2.000", "0": "0.000", "1": "1.000"},
    },
    "decimal(3,0)": {**{"-0": "0", "+5": "5", "5.": "5", "2": "2", "0": "0", "1": "1"}},
    "boolean": {
        **dict.fromkeys(("true", "T", "YES", "y", "1"), "true"),
        **dict.fromkeys(("False", "f", "no", "N", "0"), "false"),
    },
    "date": {"2010-12-01": "2010-12-01", "2012-02-29": "2012-02-29"},
    "timestamp": {
        "2010-12-01": "2010-12-01 00:00:00",
        "2012-02-29": "2012-02-29 00:00:00",
        "2010-12-01T08:26": "2010-12-01 08:26:00",
        "2010-12-01 08:26": "2010-12-01 08:26:00",
        "2010-12-01 08:26:59.5": "2010-12-01 08:26:59.5",
        "2010-12-01T08:26:59.123456": "2010-12-01 08:26:59.123456",
    },
}
TAKEN["long"] = TAKEN["int"] | {text: text for text in ("2147483648", "-2147483649", "9223372036854775807")}
TAKEN["timestamptz"] = TAKEN["timestamp"] | {
    "2010-12-01T08:26:00Z": "2010-12-01 08:26:00",
    "2010-12-01 08:26:00+02:00": "2010-12-01 06:26:00",
    "2010-12-01 08:26:00-0130": "2010-12-01 09:56:00",
}
BLANK = {"", " "}


def cast_texts(
    spark: SparkSession, texts: list[str], **wanted: Any
) -> dict[str, tuple[str | None, str | None]]:
    """What becomes of each text: its value, written out, and the rule that it broke."""
    cells = frame(
        spark, "_line string, _cells struct<_0: string>, _ragged boolean", [(t, (t,), False) for t in texts]
    )
    rows = transform.cast(cells, {"header": ["text"]}, {"columns": [column(**wanted)]})
    found = rows.select("_line", F.col("value").cast("string").alias("value"), "_rule").collect()
    return {row["_line"]: (row["value"], row["_rule"]) for row in found}


@pytest.mark.parametrize("kind", TAKEN)
def test_a_text_is_a_value_of_the_type_without_loss_or_breaks_its_rule(
    spark: SparkSession, kind: str
) -> None:
    found = cast_texts(spark, TEXTS, kind=kind)
    taken = {text: value for text, (value, rule) in found.items() if rule is None and text not in BLANK}
    assert taken == TAKEN[kind]
    assert {rule for text, (_, rule) in found.items() if text not in taken and text not in BLANK} == {
        "bad_value"
    }
    assert {found[text] for text in BLANK} == {(None, None)}


def test_text_is_taken_as_it_is_but_for_the_spaces_around_it(spark: SparkSession) -> None:
    found = cast_texts(spark, TEXTS, kind="string")
    assert found == {text: (text.strip(" ") or None, None) for text in TEXTS}


def test_times_finer_than_a_microsecond_are_cut_there(spark: SparkSession) -> None:
    text = "2010-12-01 08:26:59.123456789"
    assert cast_texts(spark, [text], kind="timestamp") == {text: ("2010-12-01 08:26:59.123456", None)}


@pytest.mark.parametrize(
    ("kind", "pattern", "taken"),
    [
        ("date", "dd/MM/yyyy", {"01/12/2010": "2010-12-01"}),
        ("date", "d/M/yy", {"1/2/10": "2010-02-01", "01/02/10": "2010-02-01"}),
        ("timestamp", "dd/MM/yyyy HH:mm", {"01/12/2010 08:26": "2010-12-01 08:26:00"}),
        ("timestamptz", "dd/MM/yyyy HH:mm", {"01/12/2010 08:26": "2010-12-01 08:26:00"}),
    ],
)
def test_a_date_of_another_form_is_read_by_its_format_and_no_other_text_stops_the_job(
    spark: SparkSession, kind: str, pattern: str, taken: dict[str, str]
) -> None:
    texts = [
        "01/12/2010",
        "1/2/10",
        "01/02/10",
        "01/12/2010 08:26",
        "1/2/2010 8:26",
        "31/02/2010",
        "2010-12-01",
        "x",
        "",
    ]
    found = cast_texts(spark, texts, kind=kind, format=pattern)
    assert {text: value for text, (value, rule) in found.items() if rule is None and text} == taken
    assert found[""] == (None, None)


def test_a_row_breaks_the_rule_of_its_first_bad_column_and_a_ragged_line_no_other(
    spark: SparkSession,
) -> None:
    columns = [column("int", name="a", source="a"), column("date", name="b", source="b")]
    rows = [(["1", "2010-12-01"], False), (["x", "y"], False), (["1", "y"], False), (["x", "y"], True)]
    cells = frame(spark, "_cells struct<_0: string, _1: string>, _ragged boolean", rows)
    cast = transform.cast(cells, {"header": ["a", "b"]}, {"columns": columns})
    assert [row["_rule"] for row in cast.collect()] == [None, "bad_a", "bad_b", "ragged_line"]


def test_a_column_that_the_files_lack_is_null(spark: SparkSession) -> None:
    cells = frame(spark, "_cells struct<_0: string, _1: string>, _ragged boolean", [(("1", None), False)])
    job = {
        "columns": [
            column("int"),
            column("int", name="age", source="age"),
            column("int", name="e", source=None),
        ]
    }
    [row] = transform.cast(cells, {"header": ["text"]}, job).collect()
    assert row.asDict() == {"value": 1, "age": None, "_rule": None}


# Lines of comma-separated values


def cells_of(
    spark: SparkSession, header: list[str], lines: Iterable[str], **job: str
) -> dict[str, list[str | None] | None]:
    """Each line's cells; None for a ragged line."""
    job = {"format": "csv", "delimiter": ","} | job
    rows = transform.parse(lines_of(spark, lines), {"header": header}, job).collect()
    return {row["_line"]: None if row["_ragged"] else list(row["_cells"])[: len(header)] for row in rows}


LINES: dict[str, list[str | None] | None] = {
    "1,2,3": ["1", "2", "3"],
    ",,": [None, None, None],
    "1,2,": ["1", "2", None],
    " 1 , 2 , 3 ": [" 1 ", " 2 ", " 3 "],
    '"1","2","3"': ["1", "2", "3"],
    '1,"a,b",3': ["1", "a,b", "3"],
    '1,"a""b",3': ["1", 'a"b', "3"],
    '1,2,"say ""hi"""': ["1", "2", 'say "hi"'],
    '1,"",3': ["1", None, "3"],
    '1,"""",3': ["1", '"', "3"],
    '1,"\\",3': ["1", "\\", "3"],
    "#1,2,3": ["#1", "2", "3"],
    '1,5" nail,3': ["1", '5" nail', "3"],
    '1,2,5"': ["1", "2", '5"'],
    "東京,naïve,😀": ["東京", "naïve", "😀"],
    # Too few cells, too many.
    "1,2": None,
    "1": None,
    "1,2,3,4": None,
    "1,2,3,": None,
    # A quote that is never closed, wherever it opens: the line is half of a text of two lines.
    '"1,2,3': None,
    '1,"2,3': None,
    '1,2,"3': None,
    '1,2,"': None,
    '1,"2,3"': None,
    '1,2,"a""': None,
}


def test_a_line_has_the_headers_cells_or_is_ragged(spark: SparkSession) -> None:
    assert cells_of(spark, ["a", "b", "c"], LINES) == LINES


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_what_pythons_csv_writes_is_read_back(spark: SparkSession, delimiter: str) -> None:
    rng = random.Random(SEED)
    written = {}
    for number in range(150):
        cells = ["".join(rng.choices("ab\"' ,;|\t\\#é", k=rng.randrange(5))) for _ in range(3)]
        stream = io.StringIO()
        quoting: Literal[0, 1] = csv.QUOTE_ALL if number % 2 else csv.QUOTE_MINIMAL
        csv.writer(stream, delimiter=delimiter, lineterminator="", quoting=quoting).writerow([number, *cells])
        written[stream.getvalue()] = [str(number), *(cell or None for cell in cells)]
    assert cells_of(spark, list("abcd"), written, delimiter=delimiter) == written


@pytest.mark.parametrize(
    "header", [["", "b"], ["a`b", "c"], ["a", "A"], ["_corrupt", "_end"], ["a.b", "a b"], ["_0", "_1"]]
)
def test_a_header_may_hold_any_text(spark: SparkSession, header: list[str]) -> None:
    parsed = transform.parse(
        lines_of(spark, ["1,2"]), {"header": header}, {"format": "csv", "delimiter": ","}
    )
    columns = [column("int", name="first", source=header[0]), column("int", name="second", source=header[1])]
    [row] = transform.cast(parsed, {"header": header}, {"columns": columns}).collect()
    assert (row["first"], row["second"], row["_rule"]) == (1, 2, None)


def test_a_file_of_one_column_has_no_delimiter(spark: SparkSession) -> None:
    assert cells_of(spark, ["a"], ["1", '"x"', '"x']) == {"1": ["1"], '"x"': ["x"], '"x': None}


# Lines of JSON

OBJECTS: dict[str, list[str | None] | None] = {
    '{"a": 1, "b": "x"}': ["1", "x"],
    '{"b": "x", "c": 3, "a": 1}': ["1", "x"],
    '{"a": null}': [None, None],
    "{}": [None, None],
    '{"a": true, "b": false}': ["true", "false"],
    '{"a": "", "b": " "}': ["", " "],
    '{"a": "x\\ny", "b": "\\u00e9\\"\\\\"}': ["x\ny", 'é"\\'],
    # A number is the text that it is, never what a double makes of it.
    '{"a": 1.10, "b": 12345678.50}': ["1.10", "12345678.50"],
    '{"a": 0.0005, "b": -0.000000000000000001}': ["0.0005", "-0.000000000000000001"],
    '{"a": 0.050830508474576264123, "b": 123456789012345678901234567890}': [
        *("0.050830508474576264123", "123456789012345678901234567890"),
    ],
    '{"a": 1e3, "b": -1.5E-7}': ["1e3", "-1.5E-7"],
    '{"a": "12345678.50", "b": "x 1, 2"}': ["12345678.50", "x 1, 2"],
    '{"a": "say \\"5\\", 6", "b": 7}': ['say "5", 6', "7"],
    '{"x": [1, 2.5], "a": 12345678.50}': ["12345678.50", None],
    # A nested value stays JSON.
    '{"a": {"b": 1.5, "c": [1, "2"]}, "b": 2}': ['{"b":1.5,"c":[1,"2"]}', "2"],
    '{"a": [1, 2], "b": "[1"}': ["[1,2]", "[1"],
    '{"a": "\\u005b1", "b": "{2"}': ["[1", "{2"],
    '{"a": []}': ["[]", None],
    # Not one object.
    "null": None,
    "5": None,
    '"x"': None,
    '[{"a": 1}]': None,
    '[{"a": 1}, {"a": 2}]': None,
    '{"a": 1}{"a": 2}': None,
    '{"a": 1}, {"a": 2}': None,
    '{"a": 1} # one': None,
    # Not JSON.
    '{"a": 1': None,
    '{"a": 1,}': None,
    '{"a" 1}': None,
    '{"a": 01}': None,
    '{"a": 1.}': None,
    '{"a": -}': None,
    '{"a": "x}': None,
    "{'a': '1'}": None,
    "{a: 1}": None,
    "a,b": None,
}


def test_a_line_of_json_is_one_object_or_is_ragged(spark: SparkSession) -> None:
    assert cells_of(spark, ["a", "b"], OBJECTS, format="jsonl") == OBJECTS


def test_what_pythons_json_writes_is_read_back(spark: SparkSession) -> None:
    rng = random.Random(SEED)
    written = {}
    for number in range(200):
        text = "".join(rng.choices('ab"\\{}[]:,-0159.eE\n\té😀 ', k=rng.randrange(12)))
        digits = "".join(rng.choices("0123456789", k=rng.randrange(1, 25)))
        amount = Decimal(digits).scaleb(-rng.randrange(len(digits) + 1))
        line = (
            f'{{"t": {json.dumps(text, ensure_ascii=number % 2 == 0)}, "amount": {amount:f}, "n": {number}}}'
        )
        written[line] = [text, f"{amount:f}", str(number)]
    assert cells_of(spark, ["t", "amount", "n"], written, format="jsonl") == written


def test_names_of_json_may_be_any_text(spark: SparkSession) -> None:
    header = ["a`b", "c.d", "e:f", "", "g h"]
    line = json.dumps(dict(zip(header, "12345", strict=True)))
    assert cells_of(spark, header, [line], format="jsonl") == {line: list("12345")}


# Lines of a file

HEADER = "id,name"
FILES = {
    "plain": b"1,a\n2,b\n",
    "no last line ending": b"1,a\n2,b",
    "Windows": b"1,a\r\n2,b\r\n",
    "an old Mac": b"1,a\r2,b\r",
    "all line endings": b"1,a\n2,b\r\n3,c\r4,d\r\r\n5,e\n\r6,f",
    "empty lines and spaces": b"\n1,a\n\n   \n2,b\n \n",
    "other white space": b"\t\n\xc2\xa0\n\x0b\n\x0c\n\x1c\n\xe2\x80\xa8\n",
    "white space within a line": b"1,a\x0bb\n2,\xe2\x80\xa8\xc2\x85\n3,\x1cx\n",
    "the header again": b"1,a\nid,name\n2,b\nid,name\nid,name \n",
    "ragged": b'1\n1,2,3\n"\n',
    "nothing": b"",
    "one line": b"1,a",
    "copies": b"1,a\n1,a\n1,a\n",
}


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "with a byte order mark"])
@pytest.mark.parametrize("duplicates", ["keep", "drop"])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_land_counts_the_lines_that_spark_reads(
    spark: SparkSession, tmp_path: Path, form: str, duplicates: str, mark: bytes
) -> None:
    if str(ETL) not in sys.path:
        sys.path.append(str(ETL))
    import spark_job  # as spark-submit sees it

    text = {
        "description": "x",
        "source": {"pattern": "*", "format": form},
        "columns": {"id": {"type": "string"}, "name": {"type": "string"}},
        "duplicates": duplicates,
    }
    contract = contract_in(tmp_path, "d", "t", text)
    arrivals = []
    for name, content in FILES.items():
        for ending in ("", ".gz"):
            whole = mark + (b"id,name\n" if form == "csv" else b"") + content
            raw = tmp_path / (hashlib.sha256((name + ending).encode()).hexdigest() + f".{form}{ending}")
            raw.write_bytes(gzip.compress(whole, mtime=0) if ending else whole)
            arrivals.append(arrive(contract, name + ending, raw.name[:64], "v", raw, ()))
    assert not any(arrival.finding.reason for arrival in arrivals)
    job = job_of.describe(
        contract,
        arrivals,
        field_ids(contract, None),
        output="",
        folder=tmp_path,
        kept=[],
        except_sources=[],
        keys={},
    )
    rows = reduce(DataFrame.unionByName, [spark_job.read_group(spark, job, group) for group in job["groups"]])
    counts = rows.groupBy("_sha256").agg(
        F.sum(F.col("_copies") + 1).alias("lines"), F.sum("_copies").alias("copies")
    )
    read = {row["_sha256"]: (row["lines"], row["copies"]) for row in counts.collect()}
    assert {a.path: read.get(a.sha256, (0, 0))[0] for a in arrivals} == {
        a.path: a.finding.rows for a in arrivals
    }
    copies = {a.path: read[a.sha256][1] for a in arrivals if a.path.startswith("copies")}
    assert copies == dict.fromkeys(("copies", "copies.gz"), 2 if duplicates == "drop" else 0)


# Records that are typed already

RECORDS: dict[str, tuple[str, list[Any], str, list[str | None]]] = {
    # Name: Spark's type and values, the contract's type, and the values that the lake then holds.
    "price": (
        "decimal(12,3)",
        [Decimal("12345678.500"), Decimal("0.000"), None],
        "decimal(12,3)",
        ["12345678.500", "0.000", None],
    ),
    "share": (
        "decimal(20,18)",
        [Decimal("0.123456789012345678"), Decimal("0E-18"), Decimal("0.000000100000000001")],
        "decimal(20,18)",
        ["0.123456789012345678", "0E-18", "1.00000000001E-7"],
    ),
    "large": (
        "decimal(38,0)",
        [Decimal(10**37 + 1), Decimal(-1), None],
        "decimal(38,0)",
        [str(10**37 + 1), "-1", None],
    ),
    "ident": ("double", [17850.0, 108775015.0, None], "long", ["17850", "108775015", None]),
    "weight": ("double", [0.1, 12345678.25, 1e300], "double", ["0.1", "1.234567825E7", "1.0E300"]),
    "cost": ("double", [99999999.99, 0.5, None], "decimal(12,2)", ["99999999.99", "0.50", None]),
    "small": ("float", [0.1, 16777216.0, None], "double", ["0.1", "1.6777216E7", None]),
    "count": ("bigint", [2**63 - 1, -(2**63), None], "long", [str(2**63 - 1), str(-(2**63)), None]),
    "when": (
        "timestamp_ntz",
        [datetime(2010, 12, 1, 8, 26, 59, 123456), datetime(1969, 12, 31), None],
        "timestamp",
        ["2010-12-01 08:26:59.123456", "1969-12-31 00:00:00", None],
    ),
    "instant": (
        "timestamp",
        [datetime(2010, 12, 1, 8, 26, 59, 123456, UTC), datetime(1969, 12, 31, tzinfo=UTC), None],
        "timestamptz",
        ["2010-12-01 08:26:59.123456", "1969-12-31 00:00:00", None],
    ),
    "day": ("date", [date(2010, 12, 1), date(1, 1, 1), None], "date", ["2010-12-01", "0001-01-01", None]),
    "flag": ("boolean", [True, False, None], "boolean", ["true", "false", None]),
    "note`d": ("string", ['say "5", {6}', "ä\n😀", None], "string", ['say "5", {6}', "ä\n😀", None]),
}


def test_a_typed_record_goes_through_text_without_loss(spark: SparkSession) -> None:
    schema = ", ".join(f"`{name.replace('`', '``')}` {kind}" for name, (kind, *_) in RECORDS.items())
    rows = zip(*(values for _, values, _, _ in RECORDS.values()), strict=True)
    records = frame(spark, schema, rows)
    lines = records.select(transform.record_text(records).alias("_line"))
    group = {"header": list(RECORDS)}
    columns = [
        column(kind, name=f"c{n}", source=name) for n, (name, (_, _, kind, _)) in enumerate(RECORDS.items())
    ]
    typed = transform.cast(transform.parse(lines, group, {"format": "parquet"}), group, {"columns": columns})
    found = typed.select("_rule", *[F.col(f"c{n}").cast("string") for n in range(len(RECORDS))]).collect()
    assert [row["_rule"] for row in found] == [None, None, None]
    expected = list(zip(*(after for *_, after in RECORDS.values()), strict=True))
    assert [tuple(row)[1:] for row in found] == expected


# Copies


def test_copies_are_dropped_within_one_source_file_only(spark: SparkSession) -> None:
    lines = [("a", "1"), ("a", "1"), ("a", "1"), ("b", "1"), ("a", "2"), ("a", "1 ")]
    dropped = transform.drop_copies(frame(spark, "_sha256 string, _line string", lines)).collect()
    found = {(row["_sha256"], row["_line"]): row["_copies"] for row in dropped}
    assert found == {("a", "1"): 2, ("b", "1"): 0, ("a", "2"): 0, ("a", "1 "): 0}


# Derived columns


def test_an_expression_sees_the_columns_before_it_and_has_its_type(spark: SparkSession) -> None:
    columns = [
        column("int", name="n"),
        column("boolean", name="is_odd", source=None, expression="n % 2 = 1"),
        column("long", name="twice", source=None, expression="n * 2"),
        column("string", name="told", source=None, expression="concat(twice, ' of ', is_odd)"),
    ]
    rows = transform.derive(frame(spark, "n int", [(3,), (None,)]), {"columns": columns})
    assert rows.dtypes[1:] == [("is_odd", "boolean"), ("twice", "bigint"), ("told", "string")]
    assert [tuple(row) for row in rows.collect()] == [(3, True, 6, "6 of true"), (None, None, None, None)]


# Pictures

FACTS = "index_sha256 string, path string, sha256 string, width int, height int, bytes long, error string"
PICTURE_JOB = {
    "images": {"path": "image"},
    "columns": [
        column("string", name="image"),
        column("string", name="hash", source=None, picture="sha256"),
        column("int", name="wide", source=None, picture="width"),
        column("long", name="size", source=None, picture="bytes"),
    ],
}


def test_each_row_has_the_facts_of_its_indexs_picture_or_breaks_a_rule(spark: SparkSession) -> None:
    facts = [
        ("s", "a.jpg", "h1", 8, 6, 100, None),
        ("s", "gone.jpg", None, None, None, None, "missing"),
        ("s", "bad.jpg", "h2", None, None, 50, "cannot identify image file"),
        ("other", "elsewhere.jpg", "h3", 9, 9, 9, None),
        ("other", "a.jpg", "h4", 9, 9, 9, None),
    ]
    rows: list[tuple[str | None, str | None]] = [
        ("a.jpg", None),
        ("gone.jpg", None),
        ("bad.jpg", None),
        ("elsewhere.jpg", None),
        ("../x", None),
    ]
    rows += [(None, None), ("gone.jpg", "ragged_line")]
    given = frame(spark, "_sha256 string, image string, _rule string", [("s", *row) for row in rows])
    joined = transform.add_pictures(given, frame(spark, FACTS, facts), PICTURE_JOB)
    found = {(r["image"], r["_rule"]): (r["hash"], r["wide"], r["size"]) for r in joined.collect()}
    assert found == {
        ("a.jpg", None): ("h1", 8, 100),
        ("gone.jpg", "picture_missing"): (None, None, None),
        ("bad.jpg", "picture_unreadable"): ("h2", None, 50),
        ("elsewhere.jpg", "picture_missing"): (None, None, None),
        ("../x", "picture_missing"): (None, None, None),
        (None, "picture_missing"): (None, None, None),
        ("gone.jpg", "ragged_line"): (None, None, None),
    }


def test_rows_without_any_picture_still_have_its_columns(spark: SparkSession) -> None:
    given = frame(spark, "_sha256 string, image string, _rule string", [("s", "../x", None)])
    [row] = transform.add_pictures(given, frame(spark, FACTS, []), PICTURE_JOB).collect()
    assert (row["_rule"], row["hash"], row["wide"], row["size"]) == ("picture_missing", None, None, None)


# Rules

Rows = Sequence[Mapping[str, Any]]
ROW = "_sha256 string, _line string, _rule string, n int, t string, d date, p decimal(12,3)"


def rule(name: str, **fields: Any) -> dict[str, Any]:
    """A rule as the contract has it and the job gets it."""
    return job_of.rule_json(Rule(name=name, **fields))


def judged(
    spark: SparkSession,
    rows: Rows,
    *rules: dict[str, Any],
    keys: Mapping[str, DataFrame] | None = None,
) -> list[str | None]:
    """The rule that each row broke, in the rows' order."""
    names = ["_sha256", "_rule", "n", "t", "d", "p"]
    values = [[{"_sha256": "s", **row}.get(name) for name in names] for row in rows]
    numbered = [(v[0], f"{n:04}", *v[1:]) for n, v in enumerate(values)]
    done = transform.judge(frame(spark, ROW, numbered), {"rules": list(rules)}, dict(keys or {}))
    found = {row["_line"]: row["_rule"] for row in done.select("_line", "_rule").collect()}
    assert len(found) == len(rows)
    return [found[line] for line in sorted(found)]


# Rule, values of its column that keep it, values that break it. A null keeps every rule but not_null.
RULES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]] = {
    "not_null": (rule("r", column="n", not_null=True), [{"n": 0}], [{"n": None}]),
    "range of both": (
        rule("r", column="n", range={"min": 1, "max": 3}),
        [{"n": 1}, {"n": 3}, {}],
        [{"n": 0}, {"n": 4}],
    ),
    "range from": (rule("r", column="n", range={"min": 0}), [{"n": 0}, {}], [{"n": -1}]),
    "range to": (rule("r", column="n", range={"max": 0}), [{"n": 0}, {}], [{"n": 1}]),
    "range of decimals": (
        rule("r", column="p", range={"min": 0, "max": 1.5}),
        [{"p": Decimal("0.000")}, {"p": Decimal("1.500")}, {}],
        [{"p": Decimal("-0.001")}, {"p": Decimal("1.501")}],
    ),
    "range of dates": (
        rule("r", column="d", range={"min": "2010-01-01", "max": "2010-12-31"}),
        [{"d": date(2010, 1, 1)}, {"d": date(2010, 12, 31)}, {}],
        [{"d": date(2009, 12, 31)}, {"d": date(2011, 1, 1)}],
    ),
    "allowed texts": (
        rule("r", column="t", allowed=["a", "b c"]),
        [{"t": "a"}, {"t": "b c"}, {}],
        [{"t": "A"}, {"t": "b"}],
    ),
    "allowed numbers": (rule("r", column="n", allowed=[1, 2]), [{"n": 1}, {"n": 2}, {}], [{"n": 3}]),
    "pattern": (
        rule("r", column="t", pattern="[a-z]+|x1"),
        [{"t": "abc"}, {"t": "x1"}, {}],
        [{"t": "abc1"}, {"t": "1x1"}, {"t": "a\n"}, {"t": ""}],
    ),
    "pattern with a backslash": (
        rule("r", column="t", pattern=r"\d{2}"),
        [{"t": "12"}, {}],
        [{"t": "123"}, {"t": "dd"}],
    ),
    "length in bytes": (
        rule("r", column="t", length=4),
        [{"t": "abcd"}, {"t": "éé"}, {"t": "😀"}, {}],
        [{"t": "abc"}, {"t": "éééé"}],
    ),
    "check": (
        rule("r", check="n >= 0 OR t LIKE 'C%'"),
        [{"n": 0}, {"n": -1, "t": "C1"}, {"n": -1}, {}],
        [{"n": -1, "t": "x"}],
    ),
}


@pytest.mark.parametrize(("broken", "keeping", "breaking"), RULES.values(), ids=RULES.keys())
def test_a_rule_is_kept_up_to_its_bounds_and_broken_beyond(
    spark: SparkSession, broken: dict[str, Any], keeping: list[dict[str, Any]], breaking: list[dict[str, Any]]
) -> None:
    found = judged(spark, [*keeping, *breaking], broken)
    assert found == [None] * len(keeping) + ["r"] * len(breaking)


def test_every_kind_of_rule_is_tried(spark: SparkSession) -> None:
    assert {kind["kind"] for kind, _, _ in RULES.values()} | set(transform.BEYOND) == {
        *("not_null", "range", "allowed", "pattern", "length", "references", "check", "unique")
    }


def test_the_first_broken_rule_wins_and_what_was_broken_before_goes_before_all(spark: SparkSession) -> None:
    rules = [rule("first", column="n", range={"min": 0}), rule("second", column="n", range={"min": 10})]
    rows: Rows = [{"n": -1}, {"n": 5}, {"n": 10}, {"n": -1, "_rule": "bad_p"}]
    assert judged(spark, rows, *rules) == ["first", "second", None, "bad_p"]
    assert judged(spark, rows, *reversed(rules)) == ["second", "second", None, "bad_p"]


def test_a_row_is_judged_alone_before_it_is_compared_wherever_the_rules_stand(spark: SparkSession) -> None:
    known = {"orphan": frame(spark, "id string", [("a",)])}
    rules = [
        rule("twice", unique=["n"]),
        rule("orphan", column="t", references="other.id"),
        rule("negative", column="p", range={"min": 0}),
    ]
    # The first row of each number is bad by itself: the good one after it must not be called its copy.
    rows: Rows = [
        {"n": 1, "t": "a", "p": Decimal(-1)},
        {"n": 1, "t": "a", "p": Decimal(1)},
        {"n": 2, "t": "x", "p": Decimal(1)},
        {"n": 2, "t": "a", "p": Decimal(1)},
        {"n": 3, "t": "x", "p": Decimal(-1)},
    ]
    assert judged(spark, rows, *rules, keys=known) == ["negative", None, "orphan", None, "negative"]


def test_a_reference_is_held_by_the_other_table_and_null_refers_to_nothing(spark: SparkSession) -> None:
    known = {"orphan": frame(spark, "id string", [("a",), ("a",), (None,), ("b ",)])}
    rows: Rows = [{"t": "a"}, {"t": "b"}, {"t": "A"}, {"t": None}, {"t": "x", "_rule": "bad_n"}]
    found = judged(spark, rows, rule("orphan", column="t", references="other.id"), keys=known)
    assert found == [None, "orphan", "orphan", None, "bad_n"]


def test_references_to_an_empty_table_are_all_orphans(spark: SparkSession) -> None:
    known = {"orphan": frame(spark, "id int", [])}
    found = judged(spark, [{"n": 1}, {}], rule("orphan", column="n", references="other.id"), keys=known)
    assert found == ["orphan", None]


def test_of_the_rows_of_one_key_the_first_stays(spark: SparkSession) -> None:
    rows: Rows = [{"n": 1}, {"n": 1}, {"n": 2}, {"n": 1}, {}, {}]
    assert judged(spark, rows, rule("twice", unique=["n"])) == [None, "twice", None, "twice", None, None]


def test_a_key_of_several_columns_is_one_key_and_part_of_it_may_be_null(spark: SparkSession) -> None:
    rows: Rows = [{"n": 1, "t": "a"}, {"n": 1, "t": "b"}, {"n": 1, "t": "a"}, {"n": 1}, {"n": 1}]
    assert judged(spark, rows, rule("twice", unique=["n", "t"])) == [None, None, "twice", None, None]


def test_what_the_table_holds_goes_before_what_arrives(spark: SparkSession) -> None:
    held = {
        "twice": frame(
            spark, "n int, t string, _source_file string", [(1, "a", "f"), (1, "a", "g"), (2, None, "f")]
        )
    }
    rows: Rows = [{"n": 1, "t": "a"}, {"n": 1, "t": "b"}, {"n": 2, "t": "a"}, {"n": 2}, {"n": 1, "t": "b"}]
    found = judged(spark, rows, rule("twice", unique=["n", "t"]), keys=held)
    assert found == ["twice", None, None, None, "twice"]


def test_a_bad_row_does_not_take_the_key_of_a_good_one(spark: SparkSession) -> None:
    rows: Rows = [{"n": 1, "_rule": "bad_p"}, {"n": 1}, {"n": 1}]
    assert judged(spark, rows, rule("twice", unique=["n"])) == ["bad_p", None, "twice"]


def test_which_copy_stays_does_not_depend_on_the_order_of_arrival(spark: SparkSession) -> None:
    rng = random.Random(SEED)
    rows = [
        (f"s{rng.randrange(3)}", f"line {n}", None, rng.randrange(20), None, None, None) for n in range(200)
    ]
    verdicts = []
    for partitions in (1, 7):
        rng.shuffle(rows)
        mixed = frame(spark, ROW, rows).repartition(partitions)
        done = transform.judge(mixed, {"rules": [rule("twice", unique=["n"])]}, {})
        verdicts.append(sorted((r["_sha256"], r["_line"], r["_rule"] or "") for r in done.collect()))
    assert verdicts[0] == verdicts[1]
    kept = [row for row in verdicts[0] if not row[2]]
    assert len(kept) == 20
    # By source file, then by text.
    first = {n: min((s, line) for s, line, _, number, *_ in rows if number == n) for n in range(20)}
    assert {row[:2] for row in kept} == set(first.values())


# Where rows go


def test_each_cell_of_the_layout_is_gathered_in_one_task_and_sorted(spark: SparkSession) -> None:
    rng = random.Random(SEED)
    days = [date(2010, 12, 1) + timedelta(days=rng.randrange(60)) for _ in range(300)]
    rows = [
        (day, rng.randrange(50) or None, rng.choice([None, None, None, "bad"]), f"raw {n}")
        for n, day in enumerate(days)
    ]
    job = {
        "partitions": [
            {"column": "day", "transform": "month", "type": "date"},
            {"column": "key", "transform": "bucket[4]", "type": "int"},
        ],
        "sort": ["key", "day"],
    }
    given = frame(spark, "day date, key int, _rule string, _raw string", rows).repartition(5)
    placed = transform.place(given, job).withColumn("_task", F.spark_partition_id())
    found = placed.withColumn("_order", F.monotonically_increasing_id()).collect()
    assert len(found) == 300
    tasks: dict[tuple[Any, ...], set[int]] = {}
    for row in found:
        assert row["_sink"] == (0 if row["_rule"] is None else 1)
        if row["_sink"] == 1:
            assert (row["_p0"], row["_p1"]) == (None, None)
        else:
            months = (row["day"].year - 1970) * 12 + row["day"].month - 1
            assert row["_p0"] == months
            tasks.setdefault((row["_p0"], row["_p1"]), set()).add(row["_task"])
    assert len(tasks) > 6
    assert all(len(in_tasks) == 1 for in_tasks in tasks.values())
    for cell in tasks:
        lying = sorted(
            (r for r in found if (r["_sink"], r["_p0"], r["_p1"]) == (0, *cell)), key=lambda r: r["_order"]
        )
        keys = [(row["key"] or 0, row["day"]) for row in lying]
        assert keys == sorted(keys)
