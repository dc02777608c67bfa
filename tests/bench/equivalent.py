"""Mutants that cannot be told from their rule, by what a rule reads: no series exists that tells them apart.

Each reason is decided from the rule and from what `metrics.py` declares, never from whether a test notices.
"""

import math
import re
from collections.abc import Callable
from typing import Any

from observability.metrics import METRICS

LABELS = {metric.name: set(metric.labels) for metric in METRICS}
WHOLE = {
    "watchkeeper_champion_challengers_refused",
    "watchkeeper_flow_late_runs",
    "watchkeeper_live_labels",
    "watchkeeper_table_commit_rows",
}
"""Metrics that count things: they are whole, and never below zero."""
CALL = re.compile(r"\([^()]*\)\s*>\s*0(?![.\d])")
BY = re.compile(r"\s*by \(([^)]*)\) \((\w+)(\{[^}]*\})?\)")
SUM = re.compile(r"\((\w+)\)\s*>\s*0(?![.\d])")

Rule = dict[str, Any]


def above_zero(rule: Rule, token: "re.Match[str]", new: str) -> bool:
    """`rate` is `increase` by the window's length: both are above zero or neither; no word shows which."""
    shown = "$value" in str(rule.get("annotations")) or "record" in rule
    after = rule["expr"][token.end() :]
    return {token[0], new} == {"rate", "increase"} and not shown and bool(CALL.match(after))


def one_series(rule: Rule, token: "re.Match[str]", new: str) -> bool:
    """Where no label is left to add up over, there is one series: its sum, mean and maximum are itself."""
    found = BY.match(rule["expr"], token.end())
    if not found or {token[0], new} - {"sum", "avg", "max", "min"}:
        return False
    fixed = set(re.findall(r"(\w+)=\"", found[3] or "")) | set(re.findall(r"\w+", found[1]))
    return found[2] in LABELS and LABELS[found[2]] <= fixed


def any_above_zero(rule: Rule, token: "re.Match[str]", new: str) -> bool:
    """Counts are never below zero: their sum, mean and maximum are above it together."""
    found = SUM.match(rule["expr"], token.end())
    names = {token[0], new} <= {"sum", "avg", "max"}
    return names and found is not None and found[1] in WHOLE and "and on () " in rule["expr"][: token.start()]


def no_whole_number_between(rule: Rule, token: "re.Match[str]", new: str) -> bool:
    """A count is whole: no number of things lies between the bound and the other one."""
    if token.lastgroup != "number":
        return False
    before = rule["expr"][: token.start()]
    counts = re.search(r"(\w+)(?:\{[^}]*\})?\s*(>=|<|>|<=)\s*$", before)
    if counts and counts[1] in WHOLE:
        edge = math.ceil if counts[2] in (">=", "<") else math.floor
        return edge(float(token[0])) == edge(float(new))
    # Rows are none, or at least one: a floor below that divides nothing by it, or does not hold.
    floored = re.search(r"clamp_min\(sum by \([^)]*\) \((\w+)\), $", before)
    return bool(floored and floored[1] in WHOLE and 0 < float(new) <= 1 and float(token[0]) <= 1)


REASONS: list[Callable[[Rule, "re.Match[str]", str], bool]] = [
    above_zero,
    one_series,
    any_above_zero,
    no_whole_number_between,
]


def why(rule: Rule, token: "re.Match[str]", new: str) -> str:
    """Why a token's replacement changes nothing; empty where it may."""
    return next((str(reason.__doc__) for reason in REASONS if reason(rule, token, new)), "")
