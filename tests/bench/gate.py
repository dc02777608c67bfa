"""`task bench:gate`: the gate's operating curve by simulation, beside a plain "the new score is higher".

Pairs of models answer holdouts of 500, 2,000 and 20,000 rows, and the whole gate (`decide` with the shipped
policy) judges each pair. The true difference is exact: a holdout is drawn with replacement from a population
of rows, and the challenger's skill is set so that its macro-F1 on that population is the wanted one. Prints
Markdown for `docs/benchmarks.md`, draws `docs/pictures/gate.png`, ends with 1 where a claim does not hold.
Every holdout has a seed of its own made from its size, difference and number: one can be repeated alone.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.bento.gate import decide
from services.bento.gate_facts import Facts, Scores
from services.bento.gate_policy import Policy, load_policy
from services.bento.statistics import Floats, Ints, macro_f1

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "gate.png"
SHARES = (0.32, 0.15, 0.12, 0.10, 0.09, 0.07, 0.06, 0.04, 0.03, 0.02)
CLASSES = tuple(f"class {number}" for number in range(len(SHARES)))
# The signal of each class in units of the noise: accuracy 0.80, macro-F1 0.75. Retrainings share most of the
# noise, because the same rows are hard for both: they give the same answer on about 85% of the rows.
SIGNAL = 2.28 * np.array([1.0, 1.1, 0.9, 1.15, 1.0, 0.85, 1.1, 1.05, 0.95, 1.2])
SHARED = 0.88
SIZES = (500, 2_000, 20_000)
POINTS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
# How many holdouts: few along the curve, many where a claim is made. 4,603 without a promotion show a rate
# below 1 in 1,000 with 99% confidence.
ALONG = {500: 200, 2_000: 200, 20_000: 100}
MANY = {
    (500, -1.0): 16_000,
    (2_000, -1.0): 4_700,
    (20_000, -1.0): 4_700,
    (500, 0.0): 2_000,
    (2_000, 0.0): 1_000,
    (20_000, 0.0): 700,
    (20_000, 2.0): 300,
}


@dataclass(frozen=True)
class Population:
    """Rows with a label, and the noise in what each of two models sees of them, (rows, classes)."""

    labels: Ints
    noise: tuple[NDArray[np.float32], NDArray[np.float32]]

    def probabilities(self, model: int, skill: float) -> NDArray[np.float32]:
        """The model's calibrated answers: Bayes' rule on its view, with `skill` times the usual signal."""
        signal = (skill * SIGNAL).astype(np.float32)
        view = self.noise[model].copy()
        view[np.arange(len(self.labels)), self.labels] += signal[self.labels]
        logits = view * signal + (np.log(SHARES) - signal**2 / 2).astype(np.float32)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        answers: NDArray[np.float32] = odds / odds.sum(axis=1, keepdims=True)
        return answers


def population(rows: int, seed: int) -> Population:
    """Unbalanced classes; two models trained alike, with errors that go together."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(SHARES), size=rows, p=SHARES)
    shared, *own = (rng.standard_normal((rows, len(SHARES)), dtype=np.float32) for _ in range(3))
    first, second = (np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * noise for noise in own)
    return Population(labels, (first.astype(np.float32), second.astype(np.float32)))


def challenger_at(people: Population, champion_f1: float, points: float) -> NDArray[np.float32]:
    """The challenger's answers whose macro-F1 is `points` above the champion's, by bisection on its skill."""
    worse, better = 0.5, 2.0
    for _ in range(18):
        skill = (worse + better) / 2
        answers = people.probabilities(1, skill)
        if macro_f1(people.labels, answers.argmax(axis=1), CLASSES) < champion_f1 + points / 100:
            worse = skill
        else:
            better = skill
    return answers


@dataclass
class Tally:
    """What was said of the challengers with one true difference on holdouts of one size."""

    trials: int = 0
    plain: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def promoted(self) -> int:
        """By the gate."""
        return self.outcomes["promote"]


def simulate(
    people: Population,
    answers: tuple[NDArray[np.float32], ...],
    policy: Policy,
    size: int,
    seeds: list[list[int]],
) -> Tally:
    """Judge the pair on one holdout for each seed."""
    tally, ids = Tally(), np.arange(size).astype(str)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        rows = rng.integers(0, len(people.labels), size)
        # The times of one network measured twice: within a few percent.
        times = 0.01 * np.exp(0.05 * rng.standard_normal(2))
        champion, challenger = (
            Scores(name, ids, outputs[rows], float(seconds))
            for name, outputs, seconds in zip("ab", answers, times, strict=True)
        )
        verdict = decide(Facts(people.labels[rows], CLASSES, challenger, champion), policy, seed=seed[-1])
        tally.trials += 1
        tally.plain += verdict.numbers["difference"] > 0
        tally.outcomes[verdict.outcome] += 1
    return tally


def _log_binomial(trials: int) -> Floats:
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    return np.asarray(logs[trials] - logs - logs[::-1])


def upper_bound(seen: int, trials: int, confidence: float = 0.99) -> float:
    """One-sided bound on a rate of which `seen` of `trials` were seen (Clopper & Pearson 1934)."""
    if seen == trials:
        return 1.0
    low, high, numbers = seen / trials, 1.0, np.arange(seen + 1)
    ways = _log_binomial(trials)[: seen + 1]
    for _ in range(60):
        rate = (low + high) / 2
        as_few = np.exp(ways + numbers * np.log(rate) + (trials - numbers) * np.log1p(-rate)).sum()
        low, high = (rate, high) if as_few > 1 - confidence else (low, rate)
    return high


def lower_bound(seen: int, trials: int, confidence: float = 0.99) -> float:
    """The same from below."""
    return 1 - upper_bound(trials - seen, trials, confidence)


Tallies = dict[tuple[int, float], Tally]


def run(
    policy: Policy, sizes: tuple[int, ...], trials: Callable[[int, float], int], rows: int, seed: int
) -> Tallies:
    """Every size at every true difference."""
    people = population(rows, seed)
    champion = people.probabilities(0, 1.0)
    said = champion.argmax(axis=1)
    f1 = macro_f1(people.labels, said, CLASSES)
    print(f"champion: accuracy {(said == people.labels).mean():.3f}, macro-F1 {f1:.3f}", file=sys.stderr)
    tallies: Tallies = {}
    for number, points in enumerate(POINTS):
        challenger = challenger_at(people, f1, points)
        agree = (challenger.argmax(axis=1) == said).mean()
        for size in sizes:
            started = time.perf_counter()
            seeds = [[seed, size, number, trial] for trial in range(trials(size, points))]
            tally = simulate(people, (champion, challenger), policy, size, seeds)
            tallies[size, points] = tally
            each = 1000 * (time.perf_counter() - started) / tally.trials
            print(
                f"{points:+.1f} points, {size:>6} rows, agreement {agree:.3f}, {each:5.1f} ms: "
                f"{tally.plain} of {tally.trials} higher, {dict(tally.outcomes)}",
                file=sys.stderr,
                flush=True,
            )
    return tallies


def curve_table(tallies: Tallies, sizes: tuple[int, ...]) -> str:
    """Share promoted, by true difference and size, the gate's and the plain rule's."""
    heads = [f"{rule}, {size:,} rows" for rule in ("gate", "plain") for size in sizes]
    lines = ["| true difference, points | " + " | ".join(heads) + " |", "|---:|" + "---:|" * len(heads)]
    for points in POINTS:
        row = [tallies[size, points] for size in sizes]
        shares = [tally.promoted / tally.trials for tally in row] + [
            tally.plain / tally.trials for tally in row
        ]
        lines.append(f"| {points:+.1f} | " + " | ".join(f"{100 * share:.4g}%" for share in shares) + " |")
    return "\n".join(lines)


def claims(tallies: Tallies, sizes: tuple[int, ...]) -> tuple[str, bool]:
    """The claims with their bounds, and whether all hold."""
    lines = [
        "| claim | rows | simulated | gate promotes | 99% bound | asked | holds | plain rule promotes |",
        "|---|---:|---:|---:|---:|---:|---|---:|",
    ]
    wanted = [("equal models", 0.0, size, 0.01) for size in sizes]
    wanted += [("one point worse", -1.0, size, 0.001) for size in sizes]
    wanted += [("two points better", 2.0, size, 0.95) for size in sizes if size >= 20_000]
    all_hold = True
    for name, points, size, asked in wanted:
        tally = tallies[size, points]
        at_most = points <= 0
        bound = (upper_bound if at_most else lower_bound)(tally.promoted, tally.trials)
        holds = bound <= asked if at_most else bound >= asked
        all_hold = all_hold and holds
        sign = "≤" if at_most else "≥"
        held = "yes" if holds else "NO"
        share, plain = 100 * tally.promoted / tally.trials, 100 * tally.plain / tally.trials
        lines.append(
            f"| {name} | {size:,} | {tally.trials:,} | {tally.promoted:,} ({share:.3g}%) | "
            f"{sign} {100 * bound:.3g}% | {sign} {100 * asked:g}% | {held} | {plain:.3g}% |"
        )
    return "\n".join(lines), all_hold


def draw(tallies: Tallies, sizes: tuple[int, ...], path: Path) -> None:
    """The probability of promotion against the true difference, one panel a rule."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    for panel, title in zip(panels, ("the gate", "“the new score is higher”"), strict=True):
        for size in sizes:
            row = [tallies[size, points] for points in POINTS]
            seen = [(tally.promoted if title == "the gate" else tally.plain) / tally.trials for tally in row]
            panel.plot(POINTS, seen, marker="o", markersize=3.5, label=f"{size:,} rows")
        panel.axvspan(min(POINTS), 0, color="0.5", alpha=0.12, linewidth=0)
        panel.axvline(0, color="0.5", linewidth=0.8)
        panel.set(title=title, xlabel="true difference in macro-F1, points", xlim=(min(POINTS), max(POINTS)))
        panel.grid(alpha=0.25)
    panels[0].set(ylabel="share of challengers promoted", ylim=(-0.02, 1.02))
    panels[1].legend(title="holdout", loc="lower right")
    panels[0].text(min(POINTS) + 0.1, 0.96, "truly worse", color="0.35", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def main() -> int:
    """Simulate, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke run: two small sizes, few holdouts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--picture", type=Path, help=f"where to draw; {PICTURE.name} of the docs, unless quick"
    )
    options = parser.parse_args()
    started = time.perf_counter()
    sizes, rows = (SIZES[:2], 20_000) if options.quick else (SIZES, 200_000)

    def trials(size: int, points: float) -> int:
        return 3 if options.quick else MANY.get((size, points), ALONG[size])

    tallies = run(load_policy(), sizes, trials, rows, options.seed)
    print(curve_table(tallies, sizes), end="\n\n")
    table, all_hold = claims(tallies, sizes)
    print(table)
    if picture := options.picture or (None if options.quick else PICTURE):
        draw(tallies, sizes, picture)
    print(f"{time.perf_counter() - started:.0f} s, {time.process_time():.0f} s of a core", file=sys.stderr)
    return 0 if all_hold or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
