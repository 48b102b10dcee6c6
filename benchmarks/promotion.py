"""Promotion, simulated: how many lists each rule promotes, and how many of them agree by chance alone.

``python -m benchmarks.promotion [--quick] [--json]``: rounds of 200 lists. The judge's order of a list is random; the
policy's is either another random one, or the judge's with noise: latent qualities 0, -1, -2 ... plus a normal error.
Half a minute on one core. The tests are the app's; nothing is said of real judges or policies.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np

from cyclealign.judge.demonstrations import promotable
from cyclealign.loop.promote import beyond_chance
from cyclealign.ranking.agreement import chance_of_lcs, kendall_tau, longest_common_subsequence
from cyclealign.records import Agreement, Preference, Ranking

LISTS = 200
MAX_CHANCE, MAX_FALSE = 0.05, 0.2  # the defaults of demonstrations.max_chance and max_false
ANSWERS = (3, 4, 5, 6)
# Share of related lists, and the standard deviation of the policy's error in them (None: there are none).
WORLDS: Mapping[str, tuple[float, float | None]] = {
    "unrelated": (0.0, None),
    "half related, noise 1": (0.5, 1.0),
    "half related, noise 0.5": (0.5, 0.5),
    "all related, noise 2": (1.0, 2.0),
    "all related, noise 1": (1.0, 1.0),
}
RULES = ("identical", "fdr")


def draw_round(
    generator: np.random.Generator, answers: int, share: float, noise: float | None
) -> tuple[dict[str, Ranking], dict[str, Ranking], set[str]]:
    """Return the rankings of policy and judge by prompt id, and the ids of the related lists."""
    policy, judge, related = {}, {}, set()
    for number in range(LISTS):
        name = f"p{number:03d}"
        order = tuple(f"{name}-{place}" for place in generator.permutation(answers))
        own = tuple(str(each) for each in generator.permutation(order))
        if noise is not None and generator.random() < share:
            related.add(name)
            latent = -np.arange(answers) + generator.normal(0, noise, answers)
            own = tuple(order[place] for place in np.argsort(-latent))
        pairs = tuple(Preference(better, worse, 1.0, 2) for better, worse in combinations(order, 2))
        policy[name], judge[name] = Ranking(name, "policy", own), Ranking(name, "judge", order, 1.0, pairs)
    return policy, judge, related


def promoted(policy: Mapping[str, Ranking], judge: Mapping[str, Ranking]) -> dict[str, list[str]]:
    """Return the ids of the lists that each rule promotes."""
    agreed = [agreement(policy[name].order, judge[name].order, name) for name in policy]
    found = {
        "identical": promotable(agreed, MAX_CHANCE),
        "fdr": beyond_chance(agreed, policy, judge, MAX_FALSE).promotable,
    }
    return {rule: [row.prompt_id for row in rows] for rule, rows in found.items()}


def agreement(policy: Sequence[str], judge: Sequence[str], name: str) -> Agreement:
    """Return the agreement of two rankings."""
    common = longest_common_subsequence(policy, judge)
    chance = chance_of_lcs(len(policy), len(common))
    return Agreement(name, common, len(common), len(policy), chance, kendall_tau(policy, judge))


def measure(rounds: int, seed: int) -> dict[str, Any]:
    """Return lists promoted per round, the share of unrelated ones among them and tau, by world and answers."""
    generator = np.random.default_rng(seed)
    started = time.perf_counter()
    cells: dict[str, dict[str, dict[str, Any]]] = {}
    for world, (share, noise) in WORLDS.items():
        for answers in ANSWERS:
            drawn = [draw_round(generator, answers, share, noise) for _ in range(rounds)]
            taus = [kendall_tau(policy[n].order, judge[n].order) for policy, judge, _ in drawn for n in policy]
            chosen = [(promoted(policy, judge), related) for policy, judge, related in drawn]
            cells.setdefault(world, {})[str(answers)] = {
                "tau": fmean(taus),
                **{rule: summary([(found[rule], related) for found, related in chosen]) for rule in RULES},
            }
    return {"simulated": True, "lists": LISTS, "rounds": rounds, "max_chance": MAX_CHANCE, "max_false": MAX_FALSE,
            "cells": cells, "seconds": round(time.perf_counter() - started, 1)}  # fmt: skip


def summary(rounds: Sequence[tuple[Sequence[str], set[str]]]) -> dict[str, float]:
    """Return the mean number promoted with its 2.5 and 97.5 % quantiles, and the mean share of unrelated ones."""
    counts = [len(names) for names, _ in rounds]
    false = [sum(name not in related for name in names) / max(1, len(names)) for names, related in rounds]
    low, high = np.quantile(counts, (0.025, 0.975))
    return {"promoted": fmean(counts), "low": float(low), "high": float(high), "unrelated_share": fmean(false)}


def as_text(found: Mapping[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    heads = ("lists", "answers", "tau", "identical: promoted", "unrelated", "fdr: promoted", "unrelated")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for world, by_answers in found["cells"].items():
        for answers, row in by_answers.items():
            cells = [cell(row[rule]) for rule in RULES]
            lines.append(f"| {world} | {answers} | {row['tau']:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(row: Mapping[str, float]) -> str:
    """Return the lists promoted with their quantiles, and the share of unrelated ones."""
    return f"{row['promoted']:.1f} [{row['low']:.0f}, {row['high']:.0f}] | {row['unrelated_share']:.2f}"


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10 rounds per cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(10 if given.quick else 100, given.seed)
    print(json.dumps(found, indent=2) if given.json else as_text(found))


if __name__ == "__main__":
    main()
