"""`task bench:alerts`: every rule, changed in every small way; the share of changes that the cases notice.

A change is one token of a rule: a number by a tenth (0 becomes 1), a comparison, a window or `for` doubled or
halved, a function or set operator for its neighbour, a matcher turned round, a severity. What PromQL's
grammar refuses is no mutant.
"""

import argparse
import copy
import re
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from observability.prometheus.rules import SECONDS, alerts, groups
from tests.unit.observability.prometheus import promtool
from tests.unit.observability.prometheus.cases import CASES
from tests.unit.observability.prometheus.edges import EDGES

TOKENS = re.compile(
    r"""(?P<text>"[^"]*")|(?P<window>(?<=\[)\d+[smhd](?=\]))|(?P<word>[A-Za-z_][A-Za-z0-9_:]*)"""
    r"""|(?P<number>\d+(?:\.\d+)?)|(?P<match>=~|!~|!=(?=")|(?<![=!<>])=(?="))|(?P<compare>[<>]=?|==|!=)"""
)
NEIGHBOURS = {
    "rate": ["increase", "irate"],
    "increase": ["rate"],
    "sum": ["avg", "max"],
    "avg": ["max", "sum"],
    "max": ["min"],
    "abs": ["ceil"],
    "absent": ["count"],
    "avg_over_time": ["max_over_time"],
    "predict_linear": ["delta"],
    "unless": ["and"],
    "and": ["unless", "or"],
    "or": ["and"],
}
COMPARISONS = {">": [">=", "<"], "<": ["<=", ">"], "==": ["!="], ">=": [">", "<"], "<=": ["<", ">"]}
MATCHES = {"=": ["!="], "!=": ["="], "=~": ["!~"], "!~": ["=~"]}
SEVERITIES = {"page": "ticket", "ticket": "page", "info": "ticket"}
GOAL = 0.95


@dataclass(frozen=True)
class Mutant:
    """One changed rule: where it is, and what it became."""

    group: int
    rule: int
    kind: str
    change: str
    to: dict[str, Any]


def mutants() -> Iterator[Mutant]:
    """Every one."""
    for g, group in enumerate(groups()):
        for r, rule in enumerate(group["rules"]):
            for kind, change, to in changed(rule):
                yield Mutant(g, r, kind, change, to)


def changed(rule: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """A rule's mutants: kind, what was done, the rule."""
    text = rule["expr"]
    for token in TOKENS.finditer(text):
        for kind, new in replacements(token):
            expression = text[: token.start()] + new + text[token.end() :]
            if valid(expression):
                yield kind, f"{token[0]} -> {new}", {**rule, "expr": expression}
    if "alert" not in rule:
        return
    for duration in durations(rule["for"]) if "for" in rule else ["5m"]:
        yield "duration", f"for {rule.get('for', '0')} -> {duration}", {**rule, "for": duration}
    severity = SEVERITIES[rule["labels"]["severity"]]
    yield "label", f"severity -> {severity}", {**rule, "labels": {**rule["labels"], "severity": severity}}


def replacements(token: "re.Match[str]") -> Iterator[tuple[str, str]]:
    """What a token may become."""
    said = token[0]
    match token.lastgroup:
        case "number":
            yield from (("threshold", f"{new:g}") for new in numbers(float(said)))
        case "window":
            yield from (("duration", new) for new in durations(said))
        case "word":
            yield from (("function", new) for new in NEIGHBOURS.get(said, []))
        case "compare":
            yield from (("comparison", new) for new in COMPARISONS[said])
        case "match":
            yield from (("label", new) for new in MATCHES[said])


def numbers(value: float) -> list[float]:
    """A tenth more and less."""
    return [value * 1.1, value / 1.1] if value else [1.0]


def durations(said: str) -> list[str]:
    """Twice and half of it."""
    seconds = int(said[:-1]) * SECONDS[said[-1]]
    return [f"{2 * seconds}s", f"{seconds // 2}s"]


def valid(expression: str) -> bool:
    """Whether PromQL's grammar takes it."""
    try:
        promql_parser.parse(expression)
    except ValueError:
        return False
    return True


def noticed(mutant: Mutant) -> bool:
    """Whether a case fails with it."""
    rules = copy.deepcopy(groups())
    rules[mutant.group]["rules"][mutant.rule] = mutant.to
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rules.yml")
        path.write_text(yaml.safe_dump({"groups": rules}, width=1000))
        return any(
            promtool.run(Path(folder), [path], tests, interval).returncode
            for interval, tests in concerned(mutant.to).items()
            if tests
        )


def concerned(rule: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Tests that speak of an alert, or of an alert that reads the recorded series, by their interval."""
    if "alert" in rule:
        names = {rule["alert"]}
    else:
        names = {alert["alert"] for alert in alerts() if rule["record"] in alert["expr"]}
    tests = {"1m": [promtool.expected(case) for case in CASES if names & {case.alert, *case.silent}]}
    for edge in EDGES:
        if edge.alert in names:
            tests.setdefault(edge.interval, []).append(promtool.at_the_edge(edge))
    return tests


def main() -> int:
    """Count, and list the survivors."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    every = list(mutants())
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(noticed, every))
    rules = groups()
    print("| kind | mutants | noticed |\n|---|---:|---:|")
    for kind in sorted({mutant.kind for mutant in every}):
        seen = [caught for mutant, caught in zip(every, found, strict=True) if mutant.kind == kind]
        print(f"| {kind} | {len(seen)} | {sum(seen) / len(seen):.1%} |")
    share = sum(found) / len(found)
    print(f"| all | {len(found)} | {share:.1%} |\n")
    print(f"goal {GOAL:.0%}: {'met' if share >= GOAL else 'missed'}; survivors:\n")
    for mutant, caught in zip(every, found, strict=True):
        if not caught:
            rule = rules[mutant.group]["rules"][mutant.rule]
            print(f"- {rule.get('alert') or rule['record']}: {mutant.kind}, {mutant.change}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
