"""What a contract says is understood as it is meant, or refused with the file, the line and the field."""

from pathlib import Path

import pytest

from flows.errors import WatchkeeperError
from flows.etl.contract import Contract
from flows.etl.contract_file import load_contract
from flows.etl.contract_parts import Range
from tests.factories import SHIPPED, contract_in, shipped

STALL = """\
description: What a stall sold.
source: {pattern: "*.csv", format: csv}
columns:
  id: {type: string}
  day: {type: date}
  amount: {type: int}
  price: {type: "decimal(12, 3)"}
  fresh: {type: boolean}
keys: [id]
event_time: day
rules:
  - {name: price_below_zero, column: price, range: {min: 0}}
  - {name: strange_id, column: id, pattern: '[a-z]+'}
partition: {column: day, transform: month}
bucket: {column: amount, count: 4}
sort: [id]
duplicates: drop
"""
PRICE_RULE = "{name: price_below_zero, column: price, range: {min: 0}}"


def stall(folder: Path, old: str = "", new: str = "") -> Contract:
    """The stall's contract with one change."""
    assert STALL.count(old) == 1 or not old
    return contract_in(folder, "market", "stall", STALL.replace(old, new) if old else STALL)


def refusal(folder: Path, old: str, new: str) -> str:
    """What is said of the stall's contract with one change, without the path of its folder."""
    with pytest.raises(WatchkeeperError) as refused:
        stall(folder, old, new)
    return str(refused.value).replace(str(folder), "")


@pytest.mark.parametrize(
    "path", sorted(SHIPPED.glob("*/*.yaml")), ids=lambda path: path.parent.name + "." + path.stem
)
def test_every_contract_that_ships_is_understood(path: Path) -> None:
    contract = load_contract(path)
    assert contract.identifier == f"{path.parent.name}.{path.stem}"
    assert contract.description


def test_the_folder_and_the_file_name_the_table(tmp_path: Path) -> None:
    assert stall(tmp_path).identifier == "market.stall"


def test_a_type_is_known_by_one_spelling(tmp_path: Path) -> None:
    assert stall(tmp_path).columns["price"].type == "decimal(12,3)"


def test_a_date_needs_no_quotes(tmp_path: Path) -> None:
    rule = "{name: too_old, column: day, range: {min: 2010-01-01}}"
    assert stall(tmp_path, PRICE_RULE, rule).rules[0].range == Range(min="2010-01-01")


def test_keys_are_judged_first_as_missing_and_last_as_duplicate(tmp_path: Path) -> None:
    names = [rule.name for rule in stall(tmp_path).row_rules()]
    assert names == ["missing_id", "price_below_zero", "strange_id", "duplicate_key"]


def test_the_layout_is_time_first_and_then_the_bucket(tmp_path: Path) -> None:
    assert stall(tmp_path).layout == [("day", "month"), ("amount", "bucket[4]")]


def test_no_layout_is_a_layout(tmp_path: Path) -> None:
    without = STALL.replace(
        "partition: {column: day, transform: month}\nbucket: {column: amount, count: 4}\n", ""
    )
    assert contract_in(tmp_path, "market", "stall", without).layout == []


def test_a_line_that_cannot_be_read_is_named_after_its_column(tmp_path: Path) -> None:
    names = ["ragged_line", "bad_day", "bad_amount", "bad_price", "bad_fresh"]
    assert stall(tmp_path).reading_rules == names
    assert {"picture_missing", "picture_unreadable"} <= set(shipped("hm.articles").reading_rules)
    # An expression is not read from a file, so that it cannot be badly written there.
    assert "bad_is_cancelled" not in shipped("online_retail.transactions").reading_rules


# What is changed, what it becomes, and what must be said of it.
REFUSED = {
    "an unknown field of the contract": (
        "duplicates: drop",
        "duplicates: drop\nengine: duckdb",
        "line 18, engine: Extra inputs are not permitted",
    ),
    "an unknown field of a column": (
        "id: {type: string}",
        "id: {type: string, nullable: false}",
        "line 4, columns.id.nullable: Extra inputs are not permitted",
    ),
    "a field that is missing": ("duplicates: drop\n", "", "duplicates: Field required"),
    "the data set, which the folder names": (
        "duplicates: drop",
        "duplicates: drop\ndataset: shop",
        "line 18, dataset: the folder and the file name say it",
    ),
    "the table, which the file names": (
        "duplicates: drop",
        "table: shop\nduplicates: drop",
        "line 17, table: the folder and the file name say it",
    ),
    "a key that is no text": (
        "duplicates: drop",
        "duplicates: drop\n7: drop",
        "line 18, 7: Keys should be strings",
    ),
    "an unknown type": (
        "amount: {type: int}",
        "amount: {type: number}",
        "line 6, columns.amount.type: unknown type 'number'; use string, int, long",
    ),
    "a decimal of too many digits": (
        "decimal(12, 3)",
        "decimal(39,3)",
        "line 7, columns.price.type: decimal(39,3): precision is at most 38",
    ),
    "a decimal of no digits": (
        "decimal(12, 3)",
        "decimal(0,0)",
        "line 7, columns.price.type: decimal(0,0): precision",
    ),
    "a scale above the precision": (
        "decimal(12, 3)",
        "decimal(3,4)",
        "line 7, columns.price.type: decimal(3,4): precision is at most 38 and scale at most the precision",
    ),
    "a decimal without a scale": (
        "decimal(12, 3)",
        "decimal(12)",
        "columns.price.type: unknown type 'decimal(12)'",
    ),
    "a column's name that SQL must quote": (
        "id: {type: string}",
        "Id-No: {type: string}",
        "line 4, columns.Id-No.[key]: String should match pattern",
    ),
    "two origins of a column": (
        "amount: {type: int}",
        "amount: {type: int, source: N, expression: 1 + 1}",
        "line 6, columns.amount: a column has one origin",
    ),
    "a date's format of a number": (
        "amount: {type: int}",
        "amount: {type: int, format: yyyy}",
        "line 6, columns.amount: format is for dates and times, not for int",
    ),
    "a picture's fact without pictures": (
        "amount: {type: int}",
        "amount: {type: int, picture: width}",
        "line 6, columns.amount: a picture's facts need `images`",
    ),
    "an unknown file format": (
        "format: csv",
        "format: xml",
        "line 2, source.format: Input should be 'csv', 'jsonl'",
    ),
    "a delimiter of two letters": (
        "format: csv",
        "format: csv, delimiter: '||'",
        "line 2, source.delimiter: String",
    ),
    "the format images without its columns": (
        "format: csv",
        "format: images",
        "line 2, source.format: `images` and the source format `images` go together",
    ),
    "a rule without a kind": (
        PRICE_RULE,
        "{name: price_below_zero, column: price}",
        "line 12, rules.0: rule 'price_below_zero' needs exactly one of not_null, range",
    ),
    "a rule of two kinds": (
        "pattern: '[a-z]+'",
        "pattern: '[a-z]+', not_null: true",
        "line 13, rules.1: rule 'strange_id' needs exactly one of",
    ),
    "a rule that is switched off": (
        PRICE_RULE,
        "{name: r, column: price, not_null: false}",
        "line 12, rules.0.not_null: Input should be True",
    ),
    "a check of one column": (
        PRICE_RULE,
        "{name: r, column: price, check: price > 0}",
        "line 12, rules.0: rule 'r': `column` goes with every kind but check and unique",
    ),
    "a pattern of no column": (
        PRICE_RULE,
        "{name: r, pattern: x}",
        "line 12, rules.0: rule 'r': `column` goes with every kind but check and unique",
    ),
    "unique over nothing": (
        PRICE_RULE,
        "{name: r, unique: []}",
        "line 12, rules.0.unique: List should have at least 1",
    ),
    "a reference without a column": (
        PRICE_RULE,
        "{name: r, column: id, references: stall}",
        "line 12, rules.0: rule 'r': references takes `table.column`, not 'stall'",
    ),
    "a range without bounds": (
        "range: {min: 0}",
        "range: {}",
        "line 12, rules.0.range: a range needs min, max or both",
    ),
    "a range that no row can be in": (
        "range: {min: 0}",
        "range: {min: 5, max: 1}",
        "line 12, rules.0.range: min 5 is more than max 1",
    ),
    "a number's bound that is text": (
        "range: {min: 0}",
        "range: {min: '0'}",
        "line 12, rules.0.range: decimal(12,3) column 'price' cannot be compared with ['0']",
    ),
    "a date's bound that is a number": (
        PRICE_RULE,
        "{name: r, column: day, range: {min: 2010}}",
        "line 12, rules.0.range: date column 'day' cannot be compared with [2010]",
    ),
    "a date's bound that no calendar has": (
        PRICE_RULE,
        "{name: r, column: day, range: {max: 2010-02-30}}",
        "line 12, rules.0.range: date column 'day' cannot be compared with ['2010-02-30']",
    ),
    "bounds of text": (
        PRICE_RULE,
        "{name: r, column: id, range: {min: 0}}",
        "line 12, rules.0.range: string column 'id' cannot be compared",
    ),
    "yes, which YAML takes for a boolean": (
        PRICE_RULE,
        "{name: r, column: id, allowed: [yes, no]}",
        "line 12, rules.0.allowed: YAML reads yes, no, true and false as booleans; quote them",
    ),
    "two rules of one name": (
        "name: strange_id",
        "name: price_below_zero",
        "line 12, rules.0: the name 'price_below_zero' is taken",
    ),
    "a rule with the name of a key's": (
        "name: strange_id",
        "name: missing_id",
        "line 13, rules.1: the name 'missing_id' is taken",
    ),
    "a rule with the name of a type's": (
        "name: strange_id",
        "name: bad_amount",
        "line 13, rules.1: the name 'bad_amount' is taken",
    ),
    "a key twice": ("keys: [id]", "keys: [id, id]", "line 9, keys: names a column twice"),
    "an unknown column as key": ("keys: [id]", "keys: [ident]", "line 9, keys: names column 'ident', which"),
    "an unknown column to sort by": (
        "sort: [id]",
        "sort: [id, nix]",
        "line 16, sort: names column 'nix', which",
    ),
    "an unknown column as event time": (
        "event_time: day",
        "event_time: nix",
        "line 10, event_time: names column 'nix'",
    ),
    "an unknown column to partition by": (
        "partition: {column: day",
        "partition: {column: nix",
        "line 14, partition.column: names column 'nix', which the contract does not have",
    ),
    "an unknown column to bucket by": (
        "bucket: {column: amount",
        "bucket: {column: nix",
        "line 15, bucket.column: names column 'nix', which the contract does not have",
    ),
    "an unknown column in a rule": (
        "column: price,",
        "column: nix,",
        "line 12, rules.0: names column 'nix', which",
    ),
    "an unknown column in unique": (
        PRICE_RULE,
        "{name: r, unique: [id, nix]}",
        "line 12, rules.0: names column 'nix', which the contract does not have",
    ),
    "an event time that is no time": (
        "event_time: day",
        "event_time: amount",
        "line 10, event_time: 'amount' is not a date or a time",
    ),
    "an age of no event time": (
        "event_time: day\n",
        "table_rules: {max_age_days: 2}\n",
        "line 10, table_rules.max_age_days: is the age of the event_time",
    ),
    "a share of more than all": (
        "event_time: day\n",
        "table_rules: {max_quarantined_ratio: 1.1}\n",
        "line 10, table_rules.max_quarantined_ratio: Input should be less than or equal to 1",
    ),
    "a transform that Iceberg lacks": (
        "transform: month",
        "transform: week",
        "line 14, partition.transform: String should match pattern",
    ),
    "a truncation to nothing": (
        "transform: month",
        "transform: 'truncate[0]'",
        "line 14, partition.transform: String should match pattern",
    ),
    "the month of a number": (
        "partition: {column: day",
        "partition: {column: amount",
        "line 14, partition.transform: month partitions date, timestamp, timestamptz only",
    ),
    "a date as it is, of which there are too many": (
        "transform: month",
        "transform: identity",
        "line 14, partition.transform: identity partitions string, int, long only",
    ),
    "a truncated decimal": (
        "partition: {column: day, transform: month}",
        "partition: {column: price, transform: 'truncate[10]'}",
        "line 14, partition.transform: truncate[10] partitions string, int, long only",
    ),
    "a bucket of text of any length": (
        "bucket: {column: amount",
        "bucket: {column: id",
        "line 15, bucket.column: 'id' is text: add a rule with a `length` that is a multiple of four",
    ),
    "a bucket of a decimal": (
        "bucket: {column: amount",
        "bucket: {column: price",
        "line 15, bucket.column: 'price' must be string, int or long, not decimal(12,3)",
    ),
    "no buckets at all": (
        "count: 4",
        "count: 0",
        "line 15, bucket.count: Input should be greater than or equal to 1",
    ),
    "an unknown way with duplicates": (
        "duplicates: drop",
        "duplicates: merge",
        "line 17, duplicates: Input should be 'drop' or 'keep'",
    ),
    # The YAML itself; PyYAML's own words, which name the line.
    "a column that is written twice": (
        "day: {type: date}",
        "day: {type: date}\n  id: {type: int}",
        "is not YAML: 'id' is written twice in \"<unicode string>\", line 6, column 3",
    ),
    "a bracket that is never closed": (
        "keys: [id]",
        "keys: [id",
        "is not YAML: while parsing a flow sequence",
    ),
    "a tab": ("keys: [id]", "\tkeys: [id]", "line 9, column 1"),
    "an object of Python": (
        "keys: [id]",
        "keys: !!python/tuple [id]",
        "is not YAML: could not determine a constr",
    ),
}


@pytest.mark.parametrize(("old", "new", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_understood_is_refused_with_file_line_and_field(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    message = refusal(tmp_path, old, new)
    assert message.startswith("contract /market/stall.yaml is ")
    assert said in message


def test_every_fault_is_said_at_once(tmp_path: Path) -> None:
    text = STALL.replace("type: date", "type: day").replace("count: 4", "count: many")
    with pytest.raises(WatchkeeperError) as refused:
        contract_in(tmp_path, "market", "stall", text)
    assert "line 5, columns.day.type" in str(refused.value)
    assert "line 15, bucket.count" in str(refused.value)


@pytest.mark.parametrize(("length", "fits"), [(3, False), (4, True), (6, False), (64, True)])
def test_text_is_bucketed_where_four_divides_its_length(tmp_path: Path, length: int, fits: bool) -> None:
    text = STALL.replace("pattern: '[a-z]+'", f"length: {length}").replace("{column: amount,", "{column: id,")
    if fits:
        assert contract_in(tmp_path, "market", "stall", text).layout[1] == ("id", "bucket[4]")
    else:
        with pytest.raises(WatchkeeperError, match="multiple of four"):
            contract_in(tmp_path, "market", "stall", text)


@pytest.mark.parametrize("content", ["", "- a\n- b\n", "just text"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(
        WatchkeeperError, match=r"stall\.yaml must be a mapping of fields, not (NoneType|list|str)"
    ):
        contract_in(tmp_path, "market", "stall", content)


def test_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "market" / "stall.yaml"
    path.parent.mkdir()
    path.write_bytes(STALL.replace("stall", "Stände").encode("latin-1"))
    with pytest.raises(WatchkeeperError, match=r"stall\.yaml cannot be read: 'utf-8' codec"):
        load_contract(path)


def test_a_contract_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WatchkeeperError, match=r"nowhere\.yaml cannot be read"):
        load_contract(tmp_path / "nowhere.yaml")


def test_a_folder_that_sql_must_quote_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WatchkeeperError, match="dataset: String should match pattern"):
        contract_in(tmp_path, "Market-1", "stall", STALL)
