"""The promotion gate: may the challenger answer in the champion's place?

A pure function from facts (what both models said about the very same held-out rows) and a policy to a verdict
with its numbers and reasons. It knows rows, classes and values; where they come from is the caller's.

Something that counts against the challenger with confidence rejects it; something that this holdout cannot
show leaves the verdict inconclusive; only a challenger that is shown to be better, and that nothing is held
against, is promoted. `error` says that the facts cannot be compared at all.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from services.bento.gate_facts import Facts, fault_of
from services.bento.gate_policy import Policy
from services.bento.statistics import (
    Floats,
    Interval,
    Ints,
    class_f1,
    expected_calibration_error,
    f1_draws,
    interval,
    mcnemar,
    mean_draws,
)

TWO_POINTS = 0.02


@dataclass(frozen=True)
class Verdict:
    """What the gate says.

    Attributes:
        outcome: `error` where the facts cannot be compared.
        reasons: sentences for people; what decided comes first.
        numbers: flat, finite. `difference`, `low` and `high` are above zero where the challenger is better.
            `smallest_detectable` and `rows_needed_for_two_points` are missing where the models do not differ.
        per_class: by class name: rows, F1 of both, their difference and its bounds, and whether it was judged
            (1.0 or 0.0). Empty for regression and for the first model.
    """

    outcome: Literal["promote", "reject", "inconclusive", "error"]
    reasons: tuple[str, ...]
    numbers: dict[str, float]
    per_class: dict[str, dict[str, float]]


@dataclass
class _Findings:
    """Collects what is seen, and concludes."""

    numbers: dict[str, float]
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    against: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def verdict(self) -> Verdict:
        reasons = (*self.against, *self.unclear, *self.notes)
        outcome: Literal["promote", "reject", "inconclusive"] = "promote"
        if self.against or self.unclear:
            outcome = "reject" if self.against else "inconclusive"
        numbers = {name: float(value) for name, value in self.numbers.items()}
        return Verdict(outcome, reasons, numbers, self.per_class)


def decide(facts: Facts, policy: Policy, seed: int = 0) -> Verdict:
    """Judge the challenger. The same facts, policy and seed give the same verdict."""
    rows = facts.labels.size
    fault = fault_of(facts, policy)
    if fault:
        return Verdict("error", (fault,), {"n": float(rows)}, {})
    found = _Findings({"n": rows})
    needed = policy.minimum_rows if facts.champion else policy.first_model.minimum_rows
    if rows < needed:
        found.unclear.append(f"The holdout has {rows} rows; the policy asks for at least {needed}.")
        return found.verdict()
    rng = np.random.default_rng(seed)
    if policy.task == "regression":
        _judge_errors(facts, policy, found, rng)
    else:
        _judge_answers(facts, policy, found, rng)
        _judge_calibration(facts, policy, found)
    _judge_latency(facts, policy, found)
    return found.verdict()


def _judge_answers(facts: Facts, policy: Policy, found: _Findings, rng: np.random.Generator) -> None:
    """Macro-F1 against the champion's or the commonest class's; then each class, and McNemar."""
    labels, k = facts.labels.astype(np.int64), len(facts.classes)
    rows = np.bincount(labels, minlength=k)
    new = facts.challenger.outputs.argmax(axis=1)
    old = facts.champion.outputs.argmax(axis=1) if facts.champion else np.full_like(new, rows.argmax())
    f1 = np.stack([class_f1(labels, answers, k) for answers in (new, old)])
    draws = f1_draws(labels, [new, old], k, policy.resamples, rng)
    change, changes, present = f1[0] - f1[1], draws[0] - draws[1], rows > 0
    if not present.all():
        absent = [name for name, here in zip(facts.classes, present, strict=True) if not here]
        found.notes.append(f"No row of {', '.join(absent)} in the holdout: nothing is known of it.")
    found.numbers["f1_challenger"] = f1[0, present].mean()
    found.numbers["accuracy_challenger"] = (new == labels).mean()
    seen = interval(change[present].mean(), changes[:, present].mean(axis=1), policy.level)
    if facts.champion is None:
        _judge_first(found, "macro-F1", seen, "the commonest class")
        if found.numbers["f1_challenger"] < policy.first_model.macro_f1:
            found.against.append(
                f"A first model needs a macro-F1 of {policy.first_model.macro_f1:.3f}; "
                f"it has {found.numbers['f1_challenger']:.3f}."
            )
        return
    found.numbers["f1_champion"] = f1[1, present].mean()
    found.numbers["accuracy_champion"] = (old == labels).mean()
    _judge_difference(found, policy, seen, TWO_POINTS, "macro-F1", 100.0, "points")
    _judge_classes(facts.classes, rows, f1, changes, policy, found)
    _cross_check(labels, new, old, policy, found)


def _judge_errors(facts: Facts, policy: Policy, found: _Findings, rng: np.random.Generator) -> None:
    """Mean absolute error against the champion's or the median's."""
    targets = facts.labels.astype(np.float64)
    rival = facts.champion.outputs if facts.champion else np.full_like(targets, np.median(targets))
    new, old = (np.abs(values.astype(np.float64) - targets) for values in (facts.challenger.outputs, rival))
    gains = old - new
    seen = interval(gains.mean(), mean_draws(gains, policy.resamples, rng), policy.level)
    found.numbers["error_challenger"] = new.mean()
    if facts.champion is None:
        _judge_first(found, "mean absolute error", seen, "the median")
        allowed = (1 - policy.first_model.error_reduction) * old.mean()
        if new.mean() > allowed:
            found.against.append(
                f"A first model needs a mean absolute error of at most {allowed:.4g}, "
                f"{policy.first_model.error_reduction:.0%} below the median's; it has {new.mean():.4g}."
            )
        return
    found.numbers["error_champion"] = old.mean()
    _judge_difference(found, policy, seen, TWO_POINTS * old.mean(), "mean absolute error", 1.0, "")


def _judge_first(found: _Findings, metric: str, seen: Interval, rival: str) -> None:
    """Without a champion: better than an answer that ignores its input."""
    found.numbers |= {"difference": seen.difference, "low": seen.low, "high": seen.high}
    sentence = f"{metric} against {rival}: better by {seen.difference:.4g}, at least {seen.low:.4g}."
    if seen.low > 0:
        found.notes.append(f"The first model. {sentence}")
    else:
        found.against.append(f"The first model does not beat {rival}. {sentence}")


def _judge_difference(
    found: _Findings, policy: Policy, seen: Interval, target: float, metric: str, scale: float, unit: str
) -> None:
    """The interval on the difference against zero; `scale` and `unit` are for the sentence."""
    found.numbers |= {"difference": seen.difference, "low": seen.low, "high": seen.high}

    def said(value: float) -> str:
        return f"{value * scale:.3g} {unit}".strip()

    sentence = (
        f"{metric} is {'better' if seen.difference >= 0 else 'worse'} by {said(abs(seen.difference))} "
        f"(between {said(seen.low)} and {said(seen.high)})"
    )
    if seen.spread == 0 and seen.difference == 0:
        found.unclear.append("The challenger scores as the champion does, however the rows are drawn.")
        return
    smallest = seen.smallest_detectable(policy.power)
    found.numbers["smallest_detectable"] = smallest
    if target > 0:
        needed = seen.rows_needed(target, policy.power, int(found.numbers["n"]))
        found.numbers["rows_needed_for_two_points"] = needed
    if seen.low > 0:
        found.notes.append(f"{sentence}: shown to be better.")
    elif seen.high < 0:
        found.against.append(f"{sentence}: shown to be worse.")
    else:
        found.unclear.append(
            f"{sentence}: not shown to be better. The smallest improvement that this holdout shows in "
            f"{policy.power:.0%} of cases is {said(smallest)}; {said(target)} would take {needed:,} rows."
        )


def _judge_classes(
    classes: tuple[str, ...], rows: Ints, f1: Floats, changes: Floats, policy: Policy, found: _Findings
) -> None:
    """No class worse than its margin with confidence; the rare ones as one mean.

    Args:
        classes: (k,) names.
        rows: (k,) rows of each.
        f1: (2, k) challenger's and champion's.
        changes: (resamples, k) bootstrap draws of the difference.
        policy: margin, level, smallest class.
        found: is added to.
    """
    rule = policy.classes
    for c, name in enumerate(classes):
        seen = interval(f1[0, c] - f1[1, c], changes[:, c], rule.level)
        judged = rows[c] >= rule.minimum_rows
        values = (rows[c], f1[1, c], f1[0, c], seen.difference, seen.low, seen.high, judged)
        names = ("rows", "f1_champion", "f1_challenger", "difference", "low", "high", "judged")
        found.per_class[name] = dict(zip(names, map(float, values), strict=True))
        if judged and seen.high < -rule.margin:
            found.against.append(_class_is_worse(name, seen, rule.margin))
    rare = (rows > 0) & (rows < rule.minimum_rows)
    if not rare.any():
        return
    names_of_rare = ", ".join(name for name, is_rare in zip(classes, rare, strict=True) if is_rare)
    if rows[rare].sum() < rule.minimum_rows:
        found.notes.append(f"Too few rows to judge, together too: {names_of_rare}.")
        return
    found.notes.append(f"Judged together, each has fewer than {rule.minimum_rows} rows: {names_of_rare}.")
    seen = interval((f1[0] - f1[1])[rare].mean(), changes[:, rare].mean(axis=1), rule.level)
    found.numbers |= {"rare_classes_difference": seen.difference, "rare_classes_high": seen.high}
    if seen.high < -rule.margin:
        found.against.append(_class_is_worse(f"the mean of {names_of_rare}", seen, rule.margin))


def _class_is_worse(name: str, seen: Interval, margin: float) -> str:
    return (
        f"F1 of {name} is worse by {-100 * seen.difference:.1f} points, by at least {-100 * seen.high:.1f} "
        f"with confidence; {100 * margin:.1f} are allowed."
    )


def _cross_check(labels: Ints, new: Ints, old: Ints, policy: Policy, found: _Findings) -> None:
    """McNemar: a macro-F1 won at the price of accuracy is for people to decide."""
    test = mcnemar(old == labels, new == labels)
    found.numbers |= {"mcnemar_p": test.p, "mcnemar_lost": test.lost, "mcnemar_won": test.won}
    if test.lost > test.won and test.p < policy.mcnemar_level:
        found.unclear.append(
            f"Accuracy is worse: {test.lost} rows lost, {test.won} won (McNemar p = {test.p:.2g})."
        )


def _judge_calibration(facts: Facts, policy: Policy, found: _Findings) -> None:
    rule, labels = policy.calibration, facts.labels.astype(np.int64)
    new = expected_calibration_error(facts.challenger.outputs, labels)
    found.numbers["ece_challenger"] = new
    if new > rule.at_most:
        found.against.append(f"Calibration error is {new:.3f}; {rule.at_most:.3f} is allowed.")
    if facts.champion:
        old = expected_calibration_error(facts.champion.outputs, labels)
        found.numbers["ece_champion"] = old
        if new - old > rule.worse_by:
            found.against.append(
                f"Calibration error is {new:.3f}, the champion's {old:.3f}; "
                f"{rule.worse_by:.3f} more is allowed."
            )


def _judge_latency(facts: Facts, policy: Policy, found: _Findings) -> None:
    rule, new = policy.latency, facts.challenger.latency_seconds
    found.numbers["latency_challenger"] = new
    if facts.champion is None:
        return
    ratio = new / facts.champion.latency_seconds
    found.numbers |= {"latency_champion": facts.champion.latency_seconds, "latency_ratio": ratio}
    if ratio > rule.ratio and new > rule.floor_seconds:
        found.against.append(
            f"A prediction takes {1000 * new:.1f} ms, {ratio:.2f} times the champion's; "
            f"{rule.ratio:.2f} times is allowed."
        )
