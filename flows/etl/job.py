"""The Spark job's arguments: what the submitter has validated, handed over as JSON.

pydantic has compiled parts and does not ship to EMR, so the job gets plain JSON and trusts it.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from flows.etl.contract import SOURCE_COLUMN, Contract
from flows.etl.contract_parts import Rule
from flows.etl.inspect_file import jsonl
from flows.etl.land import Arrival
from flows.s3_path import AnyPath

VERDICT_COLUMNS = [
    ("_rule", "string", 1_000_001),
    ("_raw", "string", 1_000_002),
    ("_sha256", "string", 1_000_003),
    ("_copies", "bigint", 1_000_004),
]
"""Written beside the lake's columns in the same pass; their field ids are far above any the lake will use."""

WHOLE_FILE_BYTES = 16 * 2**20
"""Files up to this are one value each in Spark, which finds their copies without a shuffle: 4 of 20 CPU
seconds on half a million rows. A task holds a few times this in memory."""

SPARK_TYPES = {"long": "bigint", "timestamp": "timestamp_ntz", "timestamptz": "timestamp"}


def describe(
    contract: Contract,
    arrivals: list[Arrival],
    field_ids: dict[str, int],
    *,
    output: str,
    folder: AnyPath,
    kept: list[list[str]],
    except_sources: list[str],
    keys: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """The whole job: `kept` are groups of data files of one schema, rewritten without `except_sources`."""
    return {
        "format": contract.source.format,
        "delimiter": contract.source.delimiter,
        "columns": columns(contract),
        "rules": [rule_json(rule) for rule in contract.row_rules()],
        "duplicates": contract.duplicates,
        "images": contract.images.model_dump() if contract.images else None,
        "pictures": write_pictures(arrivals, folder / "pictures.jsonl"),
        "partitions": partitions(contract),
        "sort": contract.sort,
        "sources": {a.sha256: a.path for a in arrivals if not a.finding.empty},
        "groups": groups(arrivals, contract.duplicates == "drop"),
        "kept": kept_rows(contract, field_ids, kept, except_sources),
        "keys": keys,
        "output": output,
        "summary": str(folder / "_summary.json"),
    }


def kept_rows(
    contract: Contract, field_ids: dict[str, int], groups: list[list[str]], except_sources: list[str]
) -> dict[str, Any]:
    """Which rows of the lake are written again, and the columns of all that is written."""
    return {
        "groups": [{"files": files} for files in groups],
        "columns": [[name, kind, field_ids[name]] for name, kind in lake_columns(contract)],
        "verdict_columns": VERDICT_COLUMNS,
        "except_sources": except_sources,
    }


def columns(contract: Contract) -> list[dict[str, Any]]:
    """The contract's columns; `source` is the name in the files, null for what is not read from them."""
    return [
        {
            "name": name,
            "type": column.type,
            "source": column.source or name if column.is_read else None,
            "format": column.format,
            "expression": column.expression,
            "picture": column.picture,
        }
        for name, column in contract.columns.items()
    ]


def lake_columns(contract: Contract) -> list[tuple[str, str]]:
    """Name and Spark type of each column of the lake's table, the source file's last."""
    own = [(name, SPARK_TYPES.get(c.type, c.type)) for name, c in contract.columns.items()]
    return [*own, (SOURCE_COLUMN, "string")]


def rule_json(rule: Rule) -> dict[str, Any]:
    """A rule as the job wants it: name, column, kind and the kind's value."""
    value = getattr(rule, rule.kind)
    if rule.range is not None:
        value = rule.range.model_dump()
    return {"name": rule.name, "column": rule.column, "kind": rule.kind, "value": value}


def partitions(contract: Contract) -> list[dict[str, str]]:
    """The layout's transforms in the order of the Iceberg partition spec."""
    return [{"column": c, "transform": t, "type": contract.columns[c].type} for c, t in contract.layout]


def groups(arrivals: Iterable[Arrival], whole_files: bool) -> list[dict[str, Any]]:
    """Files that share a header are read together, small ones `whole` where that helps; empty ones not."""
    by_header: dict[tuple[tuple[str, ...], str, tuple[str, ...], bool], list[str]] = defaultdict(list)
    for arrival in arrivals:
        found = arrival.finding
        if not found.empty:
            key = (
                found.header,
                found.header_line,
                found.nanoseconds,
                whole_files and 0 < found.size <= WHOLE_FILE_BYTES,
            )
            by_header[key].append(str(arrival.raw))
    return [
        {"header": header, "header_line": line, "nanoseconds": nanoseconds, "whole": whole, "files": files}
        for (header, line, nanoseconds, whole), files in by_header.items()
    ]


def write_pictures(arrivals: Iterable[Arrival], path: AnyPath) -> str | None:
    """The facts of the indexes' pictures as JSON lines; None where there are none."""
    facts = [{"index_sha256": a.sha256} | dict(fact) for a in arrivals for fact in a.finding.pictures]
    if not facts:
        return None
    path.write_text(jsonl(facts), encoding="utf-8")
    return str(path)
