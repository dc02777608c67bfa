"""What the gate says, and why: every outcome, every reason, and the numbers behind them."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from observability.errors import WatchkeeperError
from services.bento import gate_policy, statistics
from services.bento.gate import Verdict, decide
from services.bento.gate_facts import Facts, Scores
from services.bento.gate_policy import Policy, load_policy

CLASSES = ("coat", "dress", "shirt", "shoe")
POLICY = load_policy()
REGRESSION = POLICY.model_copy(update={"task": "regression", "metric": "mean_absolute_error"})


def probabilities(answers: np.ndarray, k: int = 4, top: float = 0.8) -> np.ndarray:
    """(n, k) with `top` on each answer and the rest shared out."""
    rest = (1 - top) / (k - 1)
    outputs: np.ndarray = np.full((len(answers), k), rest) + (top - rest) * np.eye(k)[answers]
    return outputs


def scores(name: str, outputs: np.ndarray, latency: float = 0.01) -> Scores:
    return Scores(name, np.array([f"article {n}" for n in range(len(outputs))]), outputs, latency)


def answered(labels: np.ndarray, accuracy: float, seed: int, k: int = 4) -> np.ndarray:
    """Answers of which about `accuracy` are right and the others are any wrong class."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(labels)) >= accuracy
    answers: np.ndarray = np.where(wrong, (labels + rng.integers(1, k, len(labels))) % k, labels)
    return answers


def evenly(rows: int) -> np.ndarray:
    return np.arange(rows) % 4


def facts(labels: np.ndarray, challenger: np.ndarray, champion: np.ndarray | None) -> Facts:
    """Of answers; each model is as sure as it is right, so that calibration has no say."""

    def calibrated(name: str, answers: np.ndarray) -> Scores:
        right = float((answers == labels).sum())
        return scores(name, probabilities(answers, top=max(0.26, right / max(1, len(labels)))))

    live = None if champion is None else calibrated("live", champion)
    return Facts(labels, CLASSES, calibrated("new", challenger), live)


def pair(rows: int = 2000, challenger: float = 0.8, champion: float = 0.8) -> Facts:
    labels = evenly(rows)
    return facts(labels, answered(labels, challenger, 1), answered(labels, champion, 2))


def reason(verdict: Verdict, *words: str) -> str:
    """The one reason with all the words."""
    found = [each for each in verdict.reasons if all(word in each for word in words)]
    assert len(found) == 1, verdict.reasons
    return found[0]


def test_a_challenger_shown_to_be_better_is_promoted_with_its_numbers() -> None:
    verdict = decide(pair(challenger=0.9), POLICY)
    assert verdict.outcome == "promote"
    assert "better by" in reason(verdict, "macro-F1", "shown to be better")
    numbers = verdict.numbers
    assert 0 < numbers["low"] < numbers["difference"] < numbers["high"]
    assert numbers["difference"] == pytest.approx(numbers["f1_challenger"] - numbers["f1_champion"])
    assert numbers["n"] == 2000
    assert numbers["latency_ratio"] == 1
    assert numbers["mcnemar_p"] < 1e-6
    assert {"smallest_detectable", "rows_needed_for_two_points", "ece_champion", "ece_challenger"} <= set(
        numbers
    )
    assert set(verdict.per_class) == set(CLASSES)
    assert verdict.per_class["coat"]["rows"] == 500
    json.dumps([verdict.numbers, verdict.per_class], allow_nan=False)


def test_a_challenger_shown_to_be_worse_is_rejected() -> None:
    verdict = decide(pair(challenger=0.7), POLICY)
    assert verdict.outcome == "reject"
    assert "worse by" in reason(verdict, "macro-F1", "shown to be worse")
    assert verdict.numbers["high"] < 0


def test_equal_models_are_inconclusive_and_the_reason_says_what_it_would_take() -> None:
    verdict = decide(pair(), POLICY)
    numbers = verdict.numbers
    assert verdict.outcome == "inconclusive"
    said = reason(verdict, "not shown to be better", "smallest improvement")
    assert f"{100 * numbers['smallest_detectable']:.3g} points" in said
    assert f"2 points would take {int(numbers['rows_needed_for_two_points']):,} rows" in said
    expected = 2000 * (numbers["smallest_detectable"] / 0.02) ** 2
    assert numbers["rows_needed_for_two_points"] == pytest.approx(expected, abs=1)


def test_the_smallest_improvement_is_what_the_level_and_the_power_ask_for() -> None:
    seen = statistics.Interval(difference=0.0, spread=0.01, level=0.001)
    assert seen.smallest_detectable(0.8) == pytest.approx((3.0902 + 0.8416) * 0.01, abs=1e-5)
    assert seen.rows_needed(0.02, 0.8, rows=1000) == pytest.approx(3865, abs=1)


def test_a_model_against_itself_is_inconclusive_and_names_no_size() -> None:
    labels = evenly(2000)
    same = answered(labels, 0.8, 1)
    verdict = decide(facts(labels, same, same), POLICY)
    assert verdict.outcome == "inconclusive"
    assert reason(verdict, "scores as the champion does")
    assert "smallest_detectable" not in verdict.numbers
    json.dumps(verdict.numbers, allow_nan=False)


@pytest.mark.parametrize(("rows", "outcome"), [(499, "inconclusive"), (500, "promote")])
def test_a_holdout_below_the_minimum_judges_nothing(rows: int, outcome: str) -> None:
    verdict = decide(pair(rows, challenger=1.0), POLICY)
    assert verdict.outcome == outcome
    if outcome == "inconclusive":
        assert verdict.reasons == ("The holdout has 499 rows; the policy asks for at least 500.",)
        assert verdict.numbers == {"n": 499}


def test_an_empty_holdout_is_inconclusive() -> None:
    assert decide(pair(0), POLICY).outcome == "inconclusive"


def spoiled(answers: np.ndarray, labels: np.ndarray, number: int, rows: int) -> np.ndarray:
    """The answers with the first `rows` of one class wrong."""
    answers = answers.copy()
    where = np.flatnonzero(labels == number)[:rows]
    answers[where] = (number + 1) % 4
    return answers


def test_a_class_that_pays_for_the_others_rejects() -> None:
    labels = evenly(4000)
    challenger = spoiled(answered(labels, 0.97, 1), labels, 3, 300)
    verdict = decide(facts(labels, challenger, answered(labels, 0.8, 2)), POLICY)
    assert verdict.numbers["low"] > 0
    assert verdict.outcome == "promote"  # shoe lost recall, and won as much precision
    verdict = decide(facts(labels, spoiled(challenger, labels, 3, 500), answered(labels, 0.8, 2)), POLICY)
    assert verdict.numbers["low"] > 0
    assert verdict.outcome == "reject"
    assert "3.0 are allowed" in reason(verdict, "F1 of shoe is worse by", "with confidence")
    assert verdict.per_class["shoe"]["high"] < -0.03


@pytest.mark.parametrize(("wrong", "outcome"), [(2250, "promote"), (2500, "promote"), (2750, "reject")])
def test_a_class_is_rejected_only_when_worse_than_its_margin_with_confidence(
    wrong: int, outcome: str
) -> None:
    labels = evenly(40_000)
    challenger = spoiled(answered(labels, 0.9, 1), labels, 0, wrong)
    verdict = decide(facts(labels, challenger, answered(labels, 0.8, 2)), POLICY)
    assert verdict.outcome == outcome
    assert verdict.per_class["coat"]["high"] < 0
    assert (verdict.per_class["coat"]["high"] < -0.03) == (outcome == "reject")


def with_rare(rows: int, rare: int) -> np.ndarray:
    """Labels with `rare` rows of each of shirt and shoe."""
    return np.concatenate([np.arange(rows - 2 * rare) % 2, np.repeat([2, 3], rare)])


def test_a_rare_class_is_reported_and_not_judged_alone() -> None:
    labels = with_rare(2000, 29)
    champion = answered(labels, 0.75, 2)
    challenger = answered(labels, 0.98, 1)
    champion[labels == 3] = 3
    challenger[labels == 2] = 2
    champion[labels == 2] = 0
    challenger[labels == 3] = 0
    verdict = decide(facts(labels, challenger, champion), POLICY)
    assert verdict.per_class["shoe"]["high"] < -0.03
    assert verdict.per_class["shoe"]["judged"] == 0
    assert verdict.per_class["coat"]["judged"] == 1
    assert verdict.outcome == "promote"
    assert reason(verdict, "Judged together", "fewer than 30 rows: shirt, shoe")


def test_rare_classes_that_are_worse_together_reject() -> None:
    labels = with_rare(2000, 20)
    champion, challenger = labels.copy(), labels.copy()
    champion[:400] = 1 - champion[:400]
    challenger[labels >= 2] = 0
    verdict = decide(facts(labels, challenger, champion), POLICY)
    assert verdict.outcome == "reject"
    assert reason(verdict, "the mean of shirt, shoe is worse by 100.0 points")
    assert verdict.numbers["rare_classes_high"] < -0.03


def test_rare_classes_with_too_few_rows_together_are_only_named() -> None:
    labels = with_rare(2000, 5)
    verdict = decide(facts(labels, answered(labels, 0.95, 1), answered(labels, 0.7, 2)), POLICY)
    assert reason(verdict, "Too few rows to judge, together too: shirt, shoe.")
    assert "rare_classes_difference" not in verdict.numbers


def test_a_class_without_rows_is_named_and_in_no_mean() -> None:
    labels = np.arange(2000) % 3
    verdict = decide(facts(labels, labels, answered(labels, 0.7, 2, k=3)), POLICY)
    assert verdict.outcome == "promote"
    assert verdict.numbers["f1_challenger"] == 1
    assert reason(verdict, "No row of shoe in the holdout")


def test_macro_f1_won_at_the_price_of_accuracy_is_inconclusive() -> None:
    labels = np.concatenate([np.zeros(3000, int), np.repeat([1, 2, 3], 100)])
    champion, challenger = labels.copy(), labels.copy()
    champion[labels > 1] = 0
    challenger[:300] = 1 + np.arange(300) % 3
    policy = POLICY.model_copy(update={"classes": POLICY.classes.model_copy(update={"margin": 0.5})})
    verdict = decide(facts(labels, challenger, champion), policy)
    assert verdict.numbers["low"] > 0
    assert verdict.outcome == "inconclusive"
    assert reason(verdict, "Accuracy is worse: 300 rows lost, 200 won", "McNemar p =")


@pytest.mark.parametrize(
    ("seconds", "champion", "outcome"),
    [
        (0.0149, 0.01, "promote"),
        (0.0151, 0.01, "reject"),
        (0.0019, 0.0001, "promote"),
        (0.0021, 0.0001, "reject"),
    ],
)
def test_latency_rejects_above_the_ratio_and_never_below_the_floor(
    seconds: float, champion: float, outcome: str
) -> None:
    better = pair(challenger=0.9)
    assert better.champion
    slow = replace(better.challenger, latency_seconds=seconds)
    verdict = decide(
        replace(better, challenger=slow, champion=replace(better.champion, latency_seconds=champion)), POLICY
    )
    assert verdict.outcome == outcome
    assert verdict.numbers["latency_ratio"] == pytest.approx(seconds / champion)
    if outcome == "reject":
        assert f"{1000 * seconds:.1f} ms" in reason(verdict, "times the champion's; 1.50 times is allowed")


def calibrated(challenger: float, champion: float) -> Verdict:
    """Of a challenger right in 90% of the rows and a champion right in 80%, as sure as given."""
    both = pair(challenger=0.9)
    new, old = both.challenger.outputs.argmax(axis=1), answered(both.labels, 0.8, 2)
    return decide(
        Facts(
            both.labels,
            CLASSES,
            scores("new", probabilities(new, top=challenger)),
            scores("live", probabilities(old, top=champion)),
        ),
        POLICY,
    )


def test_calibration_rejects_above_the_bound_and_above_the_champions() -> None:
    assert calibrated(0.9, 0.8).outcome == "promote"
    absolute = calibrated(0.77, 0.7)
    assert absolute.outcome == "reject"
    assert reason(absolute, "Calibration error is", "0.100 is allowed")
    relative = calibrated(0.83, 0.8)
    assert relative.outcome == "reject"
    assert reason(relative, "Calibration error is", "the champion's", "0.030 more is allowed")


def test_the_first_model_is_promoted_when_it_beats_the_commonest_class() -> None:
    labels = evenly(200)
    verdict = decide(facts(labels, answered(labels, 0.8, 1), None), POLICY)
    assert verdict.outcome == "promote"
    assert reason(verdict, "The first model. macro-F1 against the commonest class")
    assert "f1_champion" not in verdict.numbers
    assert verdict.per_class == {}


def test_a_first_model_that_ignores_its_input_is_rejected() -> None:
    labels = with_rare(2000, 100)
    verdict = decide(facts(labels, np.zeros_like(labels), None), POLICY)
    assert verdict.outcome == "reject"
    assert reason(verdict, "does not beat the commonest class")


def test_a_first_model_below_the_minimum_is_rejected() -> None:
    labels = evenly(2000)
    first = Facts(labels, CLASSES, scores("new", probabilities(answered(labels, 0.45, 1), top=0.45)), None)
    verdict = decide(first, POLICY)
    assert verdict.outcome == "reject"
    assert verdict.numbers["low"] > 0
    assert reason(verdict, "A first model needs a macro-F1 of 0.500; it has 0.4")


def test_a_first_model_on_too_few_rows_is_inconclusive() -> None:
    labels = evenly(99)
    assert decide(facts(labels, labels, None), POLICY).outcome == "inconclusive"


def changed(**fields: Any) -> Facts:
    """A good pair with some of the challenger's scores changed."""
    good = pair(challenger=0.9)
    return replace(good, challenger=replace(good.challenger, **fields))


GOOD = pair(challenger=0.9)
ORDER = GOOD.challenger.ids[::-1].copy()
OTHER = np.where(GOOD.challenger.ids == "article 7", "stranger", GOOD.challenger.ids)
TWICE = np.where(GOOD.challenger.ids == "article 7", "article 8", GOOD.challenger.ids)
HOLED = np.where(np.eye(2000, 4) > 0, np.nan, GOOD.challenger.outputs)
ERRORS = {
    "other order": (changed(ids=ORDER), "scored on rows that differ in order."),
    "other rows": (changed(ids=OTHER), "differ: 1 rows of the challenger's, such as 'stranger'."),
    "a row twice": (changed(ids=TWICE), "The challenger's row ids repeat"),
    "fewer ids": (changed(ids=ORDER[1:]), "row ids have the shape (1999,), there are 2000 labels"),
    "not a number": (changed(outputs=HOLED), "The challenger's outputs are not finite in 4 places."),
    "fewer classes": (
        changed(outputs=GOOD.challenger.outputs[:, :3]),
        "shape (2000, 3), the labels ask for (2000, 4)",
    ),
    "fewer rows": (
        changed(outputs=GOOD.challenger.outputs[1:]),
        "shape (1999, 4), the labels ask for (2000, 4)",
    ),
    "logits": (changed(outputs=GOOD.challenger.outputs * 9 - 1), "outputs are not probabilities"),
    "words": (changed(outputs=GOOD.challenger.outputs.astype(str)), "not numbers"),
    "no time": (changed(latency_seconds=0.0), "latency is 0.0 s, not a time"),
    "time unknown": (changed(latency_seconds=float("nan")), "latency is nan s, not a time"),
    "label too high": (replace(GOOD, labels=GOOD.labels + 1), "class numbers from 0 to 3"),
    "label a fraction": (replace(GOOD, labels=GOOD.labels + 0.5), "class numbers from 0 to 3"),
    "label unknown": (replace(GOOD, labels=np.full(2000, np.nan)), "not a list of finite numbers"),
    "no classes": (replace(GOOD, classes=()), "The policy is for classification, the facts name 0 classes."),
}


@pytest.mark.parametrize("case", ERRORS)
def test_facts_that_cannot_be_compared_are_an_error(case: str) -> None:
    given, words = ERRORS[case]
    verdict = decide(given, POLICY)
    assert verdict.outcome == "error"
    assert len(verdict.reasons) == 1
    assert words in verdict.reasons[0]


def test_the_champions_scores_are_checked_too() -> None:
    assert GOOD.champion
    verdict = decide(replace(GOOD, champion=replace(GOOD.champion, outputs=HOLED)), POLICY)
    assert verdict.reasons[0].startswith("The champion's outputs are not finite")


def valued(challenger: float, champion: float | None, rows: int = 1000) -> Facts:
    """Regression, with errors of these sizes."""
    rng = np.random.default_rng(5)
    targets = rng.normal(100, 10, rows)
    new, old = (targets + rng.normal(0, 1, rows) * (size or 0) for size in (challenger, champion))
    return Facts(targets, (), scores("new", new), None if champion is None else scores("live", old))


@pytest.mark.parametrize(
    ("challenger", "champion", "outcome", "words"),
    [
        (2.0, 3.0, "promote", "mean absolute error is better by"),
        (3.0, 2.0, "reject", "mean absolute error is worse by"),
        (3.0, 3.0, "inconclusive", "smallest improvement that this holdout shows"),
        (3.0, None, "promote", "against the median: better by"),
        (20.0, None, "reject", "does not beat the median"),
    ],
)
def test_a_regressor_is_judged_by_its_error(
    challenger: float, champion: float | None, outcome: str, words: str
) -> None:
    verdict = decide(valued(challenger, champion), REGRESSION)
    assert verdict.outcome == outcome
    assert reason(verdict, words)
    assert verdict.per_class == {}
    json.dumps(verdict.numbers, allow_nan=False)


def test_a_first_regressor_must_take_away_its_share_of_the_medians_error() -> None:
    rule = REGRESSION.first_model.model_copy(update={"error_reduction": 0.9})
    verdict = decide(valued(3.0, None), REGRESSION.model_copy(update={"first_model": rule}))
    assert verdict.outcome == "reject"
    assert reason(verdict, "A first model needs a mean absolute error of at most", "90% below the median's")


def test_a_regressor_is_rejected_for_its_latency_too() -> None:
    both = valued(2.0, 3.0)
    assert (
        decide(replace(both, challenger=replace(both.challenger, latency_seconds=1.0)), REGRESSION).outcome
        == "reject"
    )


def test_classification_facts_under_a_policy_for_regression_are_an_error() -> None:
    assert decide(GOOD, REGRESSION).outcome == "error"


@pytest.mark.parametrize("seed", range(5))
def test_swapping_the_models_turns_the_interval_round(seed: int) -> None:
    labels = evenly(1000)
    one, other = answered(labels, 0.82, seed), answered(labels, 0.8, seed + 50)
    there, back = (decide(facts(labels, *both), POLICY).numbers for both in ((one, other), (other, one)))
    assert there["difference"] == pytest.approx(-back["difference"])
    assert there["low"] == pytest.approx(-back["high"], abs=0.015)
    assert there["mcnemar_p"] == back["mcnemar_p"]


def test_renaming_the_classes_changes_nothing() -> None:
    new = np.array([2, 0, 3, 1])
    labels = evenly(1000)
    one, other = answered(labels, 0.82, 1), answered(labels, 0.8, 2)
    before = decide(facts(labels, one, other), POLICY)
    after = decide(facts(new[labels], new[one], new[other]), POLICY)
    assert after.outcome == before.outcome
    assert after.numbers["difference"] == pytest.approx(before.numbers["difference"])
    assert after.numbers["low"] == pytest.approx(before.numbers["low"], abs=0.015)


def test_more_rows_of_the_same_never_widen_the_interval() -> None:
    labels = evenly(500)
    one, other = answered(labels, 0.85, 1), answered(labels, 0.8, 2)
    widths, smallest = [], []
    for times in (1, 4, 16):
        numbers = decide(facts(*(np.tile(part, times) for part in (labels, one, other))), POLICY).numbers
        widths.append(numbers["high"] - numbers["low"])
        smallest.append(numbers["smallest_detectable"])
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.15)
    assert widths[1] / widths[2] == pytest.approx(2, rel=0.15)
    assert smallest == sorted(smallest, reverse=True)


def test_the_same_seed_gives_the_same_verdict_and_the_facts_are_left_alone() -> None:
    both = pair(challenger=0.83)
    before = both.challenger.outputs.copy()
    assert decide(both, POLICY, seed=4) == decide(both, POLICY, seed=4)
    assert decide(both, POLICY, seed=4).numbers["low"] != decide(both, POLICY, seed=5).numbers["low"]
    assert (both.challenger.outputs == before).all()


def test_probabilities_of_single_precision_are_taken() -> None:
    single = changed(outputs=GOOD.challenger.outputs.astype(np.float32))
    assert decide(single, POLICY).outcome == "promote"


def test_the_bootstrap_over_cells_agrees_with_one_over_rows() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 300, p=(0.6, 0.25, 0.1, 0.05))
    one, other = answered(labels, 0.8, 1), answered(labels, 0.75, 2)
    cells = statistics.f1_draws(labels, [one, other], 4, 4000, rng)
    naive = np.empty((2, 4000, 4))
    for b in range(4000):
        rows = rng.integers(0, 300, 300)
        naive[:, b] = [statistics.class_f1(labels[rows], said[rows], 4) for said in (one, other)]
    for quick, slow in ((cells[0] - cells[1], naive[0] - naive[1]), (cells[0], naive[0])):
        np.testing.assert_allclose(quick.mean(axis=0), slow.mean(axis=0), atol=0.006)
        np.testing.assert_allclose(quick.std(axis=0), slow.std(axis=0), rtol=0.06)
    macro = (cells[0] - cells[1]).mean(axis=1), (naive[0] - naive[1]).mean(axis=1)
    np.testing.assert_allclose(
        np.quantile(macro[0], [0.05, 0.95]), np.quantile(macro[1], [0.05, 0.95]), atol=0.006
    )


def test_the_bootstrap_of_a_mean_has_the_spread_of_a_mean_in_any_number_of_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics, "DRAWN_AT_ONCE", 1000)
    values = np.random.default_rng(0).exponential(size=300)
    draws = statistics.mean_draws(values, 3001, np.random.default_rng(1))
    assert draws.shape == (3001,)
    assert draws.std() == pytest.approx(values.std() / np.sqrt(300), rel=0.06)


def test_macro_f1_is_the_mean_over_classes_with_rows() -> None:
    labels, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 3, 3])
    by_hand = np.mean([2 * 2 / (3 + 2), 2 * 1 / (2 + 2), 0.0])
    assert statistics.macro_f1(labels, predicted, CLASSES) == pytest.approx(by_hand)


def test_the_calibration_error_is_the_gap_between_sureness_and_truth() -> None:
    answers, labels = np.zeros(100, int), np.repeat([0, 1], [70, 30])
    assert statistics.expected_calibration_error(probabilities(answers, top=0.9), labels) == pytest.approx(
        0.2
    )
    assert statistics.expected_calibration_error(probabilities(answers, top=0.7), labels) == pytest.approx(
        0.0
    )
    halves = np.where(
        np.arange(100)[:, None] % 2, probabilities(answers, top=0.9), probabilities(answers, top=0.5)
    )
    assert statistics.expected_calibration_error(halves, labels) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("lost", "won", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (1, 9, 0.021484375),
        (9, 1, 0.021484375),
        (0, 10, 0.001953125),
        (400, 600, 2.7e-10),
    ],
)
def test_mcnemar_is_the_exact_binomial_test(lost: int, won: int, p: float) -> None:
    champion = np.repeat([True, False, True], [lost, won, 50])
    challenger = np.repeat([False, True, True], [lost, won, 50])
    test = statistics.mcnemar(champion, challenger)
    assert (test.lost, test.won) == (lost, won)
    assert test.p == pytest.approx(p, rel=0.02)


def test_intervals_of_the_model_card_hold_the_f1_and_widen_for_rare_classes() -> None:
    labels = with_rare(2000, 40)
    intervals = statistics.f1_intervals(labels, answered(labels, 0.8, 1), CLASSES)
    assert list(intervals) == list(CLASSES)
    for each in intervals.values():
        assert 0 <= each["low"] <= each["f1"] <= each["high"] <= 1
    assert intervals["shoe"]["rows"] == 40
    width = {name: each["high"] - each["low"] for name, each in intervals.items()}
    assert width["shoe"] > 2 * width["coat"]


def test_the_shipped_policy_gives_each_threshold_its_reason() -> None:
    lines = gate_policy.POLICY.read_text().splitlines()
    for number, line in enumerate(lines):
        plain = line.split("#")[0].strip()
        if plain and not plain.endswith(":"):
            assert "#" in line or "#" in lines[number - 1], line


REFUSALS: dict[str, tuple[Any, str]] = {
    "unknown field": (lambda p: p | {"levle": 0.01}, "levle: Extra inputs are not permitted"),
    "missing field": (lambda p: {name: p[name] for name in p if name != "level"}, "level: Field required"),
    "level of a half": (lambda p: p | {"level": 0.5}, "level: Input should be less than 0.5"),
    "no level": (lambda p: p | {"level": 0}, "level: Input should be greater than 0"),
    "words for rows": (
        lambda p: p | {"minimum_rows": "many"},
        "minimum_rows: Input should be a valid integer",
    ),
    "few resamples": (
        lambda p: p | {"resamples": 10},
        "resamples: Input should be greater than or equal to 200",
    ),
    "nested": (
        lambda p: p | {"latency": {"ratio": -1, "floor_seconds": 0}},
        "latency.ratio: Input should be greater",
    ),
    "nested unknown": (lambda p: p | {"classes": p["classes"] | {"x": 1}}, "classes.x: Extra inputs"),
    "other task": (
        lambda p: p | {"task": "ranking"},
        "task: Input should be 'classification' or 'regression'",
    ),
    "metric of another task": (lambda p: p | {"task": "regression"}, "use mean_absolute_error"),
    "not a mapping": (lambda p: ["level"], "valid dictionary"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_policy_is_refused_with_its_file_and_field(case: str, tmp_path: Path) -> None:
    change, words = REFUSALS[case]
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(change(yaml.safe_load(gate_policy.POLICY.read_text()))))
    with pytest.raises(WatchkeeperError) as refused:
        load_policy(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("content", "words"), [(b"level: [", "is not YAML"), (b"\xff\xfe\xfa", "cannot be read")]
)
def test_a_policy_file_that_cannot_be_read_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(content)
    with pytest.raises(WatchkeeperError, match=words):
        load_policy(path)
    with pytest.raises(WatchkeeperError, match=r"nowhere\.yaml cannot be read"):
        load_policy(tmp_path / "nowhere.yaml")


def test_a_policy_cannot_be_changed_once_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Policy.model_validate(POLICY.model_dump()).level = 0.4


def test_the_bench_runs_and_prints_its_tables() -> None:
    command = [sys.executable, "-m", "tests.bench.gate", "--quick"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert run.returncode == 0, run.stderr
    assert "| true difference, points | gate, 500 rows |" in run.stdout
    assert "| equal models | 500 | 3 |" in run.stdout


def test_the_benchs_bounds_are_those_of_clopper_and_pearson() -> None:
    from tests.bench.gate import lower_bound, upper_bound

    assert upper_bound(0, 4603) == pytest.approx(0.001, rel=1e-3)
    assert upper_bound(3, 20_000) == pytest.approx(10.045 / 20_000, rel=1e-3)
    assert lower_bound(400, 400) == pytest.approx(0.01 ** (1 / 400))
    assert upper_bound(7, 7) == 1
