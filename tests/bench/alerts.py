"""`task bench:alerts`: every rule, changed in every small way; the share of changes that the cases notice.

A change is one token of a rule: a number by a tenth (0 becomes 1), a comparison, a window or `for` doubled or
halved, a function or set operator for its neighbour, a matcher turned round, a severity. What PromQL's
grammar refuses is no mutant. What no series can tell from its rule is listed apart (`equivalent.py`).
"""

import argparse
import copy
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from observability.prometheus.rules import SECONDS, groups
from tests.bench.equivalent import why
from tests.unit.observability.prometheus import promtool
from tests.unit.observability.prometheus.bounds import ALWAYS, EVERY_EDGE
from tests.unit.observability.prometheus.cases import CASES

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
RULES = groups()
"""Read once: a change of the files meanwhile changes no mutant."""


@dataclass(frozen=True)
class Mutant:
    """One changed rule: where it is, and what it became."""

    group: int
    rule: int
    kind: str
    change: str
    to: dict[str, Any]
    same: str = ""
    """Why it says the same as the rule; empty where it may not."""


def mutants(names: list[str]) -> Iterator[Mutant]:
    """Every one, or those of the rules of these names."""
    for g, group in enumerate(RULES):
        for r, rule in enumerate(group["rules"]):
            if names and name_of(rule) not in names:
                continue
            for kind, change, to, same in changed(rule):
                yield Mutant(g, r, kind, change, to, same)


def changed(rule: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """A rule's mutants: kind, what was done, the rule, why it says the same."""
    text = rule["expr"]
    for token in TOKENS.finditer(text):
        for kind, new in replacements(token):
            expression = text[: token.start()] + new + text[token.end() :]
            if valid(expression):
                yield kind, f"{token[0]} -> {new}", {**rule, "expr": expression}, why(rule, token, new)
    if "alert" not in rule:
        return
    for duration in durations(rule["for"]) if "for" in rule else ["5m"]:
        yield "duration", f"for {rule.get('for', '0')} -> {duration}", {**rule, "for": duration}, ""
    severity = SEVERITIES[rule["labels"]["severity"]]
    labels = {**rule["labels"], "severity": severity}
    yield "label", f"severity -> {severity}", {**rule, "labels": labels}, ""


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
    tests = concerned(mutant.to)
    rules = copy.deepcopy(RULES)
    rules[mutant.group]["rules"][mutant.rule] = mutant.to
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rules.yml")
        path.write_text(yaml.safe_dump({"groups": read(rules, tests)}, width=1000))
        return promtool.any_fails(Path(folder), [path], tests)


def told(mutant: Mutant) -> bool:
    """`noticed`, and a survivor is said at once: the whole takes a while."""
    found = noticed(mutant)
    if not found and not mutant.same:
        print(f"survives: {named(mutant)}", file=sys.stderr, flush=True)
    return found


def named(mutant: Mutant) -> str:
    """Its rule, and what was done."""
    return f"{name_of(mutant.to)}: {mutant.kind}, {mutant.change}"


def name_of(rule: dict[str, Any]) -> str:
    """Of an alert or a recorded series."""
    return str(rule.get("alert") or rule["record"])


def read(rules: list[dict[str, Any]], tests: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Groups with what these tests ask about and what that reads: the rest costs time and changes nothing."""
    said = json.dumps(tests)
    every = [rule for group in rules for rule in group["rules"]]
    kept = [rule for rule in every if re.search(rf"\b{rule.get('alert', chr(0))}\b", said)]
    kept += [rule for rule in every if rule.get("record") in ALWAYS]
    for rule in kept:  # grows: what is recorded may itself read what is
        kept += [r for r in every if r not in kept and r.get("record", "\n") in rule["expr"]]
    return [{**group, "rules": [rule for rule in group["rules"] if rule in kept]} for group in rules]


def readers(rule: dict[str, Any]) -> set[str]:
    """The alert that a rule is, or those that read the series that it records, also by way of another one."""
    if "alert" in rule:
        return {rule["alert"]}
    every = [other for group in RULES for other in group["rules"]]
    return {name for other in every if rule["record"] in other["expr"] for name in readers(other)}


def concerned(rule: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Tests that speak of an alert, or of an alert that reads the recorded series: interval and test."""
    names = readers(rule)
    cases = [("1m", promtool.expected(case)) for case in CASES if names & {case.alert, *case.silent}]
    edges = [edge for edge in EVERY_EDGE if edge.alert in names]
    recorded = [("1m", promtool.always(name, ALWAYS[name])) for name in ALWAYS if name == rule.get("record")]
    return cases + [(edge.interval, promtool.at_the_edge(edge)) for edge in edges] + recorded


def as_it_is(mutant: Mutant) -> Mutant:
    """Its rule without the change, which nothing may notice."""
    return replace(mutant, change="none", to=RULES[mutant.group]["rules"][mutant.rule])


def report(every: list[Mutant], found: list[bool]) -> bool:
    """Print the shares, what survives and what says the same; whether the goal is met."""
    judged = [(m, caught) for m, caught in zip(every, found, strict=True) if caught or not m.same]
    print("| kind | mutants | noticed |\n|---|---:|---:|")
    for kind in sorted({mutant.kind for mutant, _ in judged}):
        seen = [caught for mutant, caught in judged if mutant.kind == kind]
        print(f"| {kind} | {len(seen)} | {sum(seen) / len(seen):.1%} |")
    share = sum(caught for _, caught in judged) / len(judged)
    print(f"| all | {len(judged)} | {share:.1%} |\n")
    print(f"goal {GOAL:.0%}: {'met' if share >= GOAL else 'missed'}; survivors:\n")
    for mutant, caught in judged:
        if not caught:
            print(f"- {named(mutant)}")
    same = [m for m, caught in zip(every, found, strict=True) if m.same and not caught]
    print(f"\nnot counted, as they say the same as their rule: {len(same)}\n")
    for mutant in same:
        print(f"- {named(mutant)}: {mutant.same}")
    wrong = [mutant for mutant, caught in judged if caught and mutant.same]
    for mutant in wrong:
        print(f"\nerror: {named(mutant)} is noticed, so it is not the same: mend tests/bench/equivalent.py")
    return share >= GOAL and not wrong


def main() -> int:
    """Count, and list the survivors."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rule", action="append", default=[], metavar="NAME", help="of these rules only")
    every = list(mutants(arguments.parse_args().rule))
    if not every:
        arguments.error("no rule has that name; observability/prometheus/rules has them")
    with ThreadPoolExecutor() as pool:
        before = {(m.group, m.rule): as_it_is(m) for m in every}.values()
        for mutant, caught in zip(before, pool.map(noticed, before), strict=True):
            if caught:
                sys.exit(
                    f"error: the tests of {name_of(mutant.to)} fail without a change; run `task test` first"
                )
        return 0 if report(every, list(pool.map(told, every))) else 1


if __name__ == "__main__":
    sys.exit(main())
