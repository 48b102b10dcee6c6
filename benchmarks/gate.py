"""The gate, simulated: how often each rule promotes a policy that is not better, and one that is.

``python -m benchmarks.gate [--quick] [--json]``: duels are drawn, not judged. A duel is a tie with probability 0.3 and
otherwise won so often that the expected score is the true win rate; prompts are independent. 1,000 experiments of 20
rounds each without a true difference give the false promotions, 1,000 in each cell, all rounds alike, the power. Under
a minute on one core. The e-values are the app's; nothing is said of real judges. Two rules that the app lacks are
beside its own: the e-process at its peak rather than at its end, and the sign test at 5 %, valid only for a number of
prompts fixed before.
"""

import argparse
import json
import time
from collections.abc import Mapping
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from cyclealign.evaluation.error_spending import level
from cyclealign.evaluation.sequential_test import Look, e_process, e_values, look

TIES = 0.3
PROMPTS = (24, 60, 200)
WIN_RATES = (0.45, 0.5, 0.55, 0.6, 0.7)
ROUNDS = 20
SEQUENTIAL = ((24, 96), (24, 200), (60, 200))  # prompts.held_out and acceptance.max_prompts
ALPHA, MIN_WIN_RATE = 0.05, 0.5  # the defaults of acceptance.alpha and acceptance.min_win_rate
TOGETHER = "e_value, alpha_rounds = 20"
TRAINS_ON = 'e_value, undecided = "train_on": kept'
RULES = ("mean", "e_value", TOGETHER, TRAINS_ON, "(e-process at its peak)", "(sign test)")

Scores = NDArray[np.float64]


def draw_scores(generator: np.random.Generator, win_rate: float, experiments: int, prompts: int) -> Scores:
    """Return scores of duels, shape (experiments, ROUNDS, prompts)."""
    drawn = generator.random((experiments, ROUNDS, prompts))
    won = win_rate - TIES / 2
    return np.select([drawn < won, drawn < won + TIES], [1.0, 0.5], 0.0)


def accepted(scores: Scores) -> dict[str, NDArray[np.bool_]]:
    """Return whether each rule accepts each round, shape (experiments, ROUNDS), without a limit of the KL."""
    prompts = scores.shape[-1]
    better, worse = e_values(scores, prompts) >= 1 / ALPHA, e_values(1 - scores, prompts) >= 1 / ALPHA
    peak = e_process(scores, prompts).max(axis=-1) >= 1 / ALPHA
    mean = scores.mean(axis=-1) >= MIN_WIN_RATE
    return dict(zip(RULES, (mean, better, together(scores), ~worse, peak, sign_test(scores)), strict=True))


def together(scores: Scores) -> NDArray[np.bool_]:
    """Return whether each round is accepted if ALPHA holds for all rounds of an experiment together."""
    experiments, rounds, prompts = scores.shape
    promoted = np.zeros((experiments, rounds), dtype=bool)
    for number in range(rounds):
        before = promoted[:, :number].sum(axis=1)
        for count in np.unique(before):
            here, needed = before == count, level(ALPHA, rounds, [True] * count + [False] * (number - count))
            promoted[here, number] = e_values(scores[here, number], prompts, needed) >= 1 / needed
    return promoted


def sign_test(scores: Scores) -> NDArray[np.bool_]:
    """Return whether the one-sided sign test on the decided duels is significant, shape (experiments, ROUNDS)."""
    wins, losses = (scores == 1).sum(axis=-1), (scores == 0).sum(axis=-1)
    return np.asarray(binom.sf(wins - 1, wins + losses, 0.5) <= ALPHA)


def false_promotion(generator: np.random.Generator, experiments: int, prompts: int) -> dict[str, dict[str, float]]:
    """Simulate experiments of ROUNDS rounds without a true difference; return shares of rounds and of experiments."""
    verdicts = accepted(draw_scores(generator, 0.5, experiments, prompts))
    return {
        rule: {
            **share("of_rounds", rows.mean(), rows.size),
            **share("of_experiments_any", rows.any(axis=1).mean(), experiments),
        }
        for rule, rows in verdicts.items()
    }


def drawn_while_undecided(scores: Scores, first: int) -> tuple[float, float]:
    """Return the share of rounds accepted, and the mean number of prompts, if ``first`` more are drawn at a time.

    Args:
        scores: shape (rounds, prompts): acceptance.max_prompts is the number of prompts.
    """
    most, won, used = scores.shape[1], 0, 0
    planned = max(first, (most + 1) // 2)
    for row in scores:
        count = first
        while look(row[:count], planned, ALPHA, most - count, ALPHA) == Look.UNDECIDED:
            count = min(count + first, most)
        won += bool(e_values(row[:count], planned) >= 1 / ALPHA)
        used += count
    return won / len(scores), used / len(scores)


def share(name: str, value: float, count: int) -> dict[str, float]:
    """Return a share with its standard error."""
    return {name: float(value), f"{name}_standard_error": sqrt(value * (1 - value) / count)}


def measure(experiments: int, seed: int) -> dict[str, Any]:
    """Return false promotions by number of prompts, and the share accepted by rule, prompts and true win rate."""
    generator = np.random.default_rng(seed)
    started = time.perf_counter()
    false = {str(prompts): false_promotion(generator, experiments, prompts) for prompts in PROMPTS}
    shares: dict[str, dict[str, dict[str, float]]] = {rule: {} for rule in RULES}
    for prompts in PROMPTS:
        for win_rate in WIN_RATES:
            for rule, rows in accepted(draw_scores(generator, win_rate, experiments, prompts)).items():
                shares[rule].setdefault(str(prompts), {})[str(win_rate)] = float(rows.mean())
    drawn = {
        f"{first} to {most}": {
            str(rate): dict(
                zip(
                    ("accepted", "prompts"),
                    drawn_while_undecided(
                        draw_scores(generator, rate, experiments // 5, most).reshape(-1, most), first
                    ),
                    strict=True,
                )
            )
            for rate in WIN_RATES
        }
        for first, most in SEQUENTIAL
    }
    return {
        "simulated": True,
        "experiments": experiments,
        "rounds_per_experiment": ROUNDS,
        "ties": TIES,
        "alpha": ALPHA,
        "false_promotion": false,
        "accepted": shares,
        "drawn_while_undecided": drawn,
        "seconds": round(time.perf_counter() - started, 1),
    }


def as_text(found: Mapping[str, Any]) -> str:
    """Return the figures as Markdown tables."""
    lines = ["| rule | prompts | rounds without a difference accepted | experiments with any |", "|---|---|---|---|"]
    for rule in RULES:
        for prompts, by_rule in found["false_promotion"].items():
            row = by_rule[rule]
            lines.append(f"| {rule} | {prompts} | {row['of_rounds']:.3f} | {row['of_experiments_any']:.3f} |")
    lines += ["", f"| rule | prompts | {' | '.join(map(str, WIN_RATES))} |", "|---" * (len(WIN_RATES) + 2) + "|"]
    for rule in RULES:
        for prompts, by_rate in found["accepted"][rule].items():
            lines.append(f"| {rule} | {prompts} | {' | '.join(f'{value:.2f}' for value in by_rate.values())} |")
    lines += [
        "",
        f"| accepted (mean prompts) | {' | '.join(map(str, WIN_RATES))} |",
        "|---" * (len(WIN_RATES) + 1) + "|",
    ]
    for name, by_rate in found["drawn_while_undecided"].items():
        cells = [f"{row['accepted']:.2f} ({row['prompts']:.0f})" for row in by_rate.values()]
        lines.append(f"| {name} prompts | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 experiments per cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(100 if given.quick else 1_000, given.seed)
    print(json.dumps(found, indent=2) if given.json else as_text(found))


if __name__ == "__main__":
    main()
