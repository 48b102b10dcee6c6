"""Is a list's agreement of policy and judge more than chance? Exact permutation tests, and control over a round.

The statistic of a list is Kendall's tau weighted by the judge's own certainty. With s_ab the share of the judge's
verdicts that prefer a to b, and the sum over the pairs that the policy ranks a above b:

    S = sum (2 s_ab - 1)

A pair on which the verdicts tie or contradict each other counts for nothing, one on which they split for little: ties
and the judge's steadiness are part of S. The null hypothesis: the policy's ranking has nothing to do with the judge's,
so that all n! orders are as likely. p is the share of orders with an S of at least the observed one: never below 1 /
n!.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations, permutations
from math import factorial

import numpy as np
from numpy.typing import NDArray

EXACT_UP_TO = 7  # answers: 5,040 orders; longer lists draw SAMPLED orders, always the same ones
SAMPLED = 9_999
ROUND_DRAWS = 9_999
ROUNDING = 1e-9

Floats = NDArray[np.float64]


def null_statistics(
    items: Sequence[str], preferences: Mapping[tuple[str, str], float], policy: Sequence[str]
) -> Floats:
    """Return S of the policy's order first, then of the orders under the null, which include it if all are listed.

    Args:
        items: ids of the answers, in any order.
        preferences: (a, b) -> share of the verdicts that prefer a to b, each pair in one direction; a pair that is
            missing is undecided.
        policy: the ids as the policy ranks them, best first.
    """
    place = {item: number for number, item in enumerate(items)}
    weights = np.zeros((len(items), len(items)))
    for (better, worse), share in preferences.items():
        weights[place[better], place[worse]] += 2 * share - 1
        weights[place[worse], place[better]] -= 2 * share - 1
    orders = np.vstack([[place[item] for item in policy], _orders(len(items))])
    first, second = (np.array(side) for side in zip(*combinations(range(len(items)), 2), strict=True))
    return np.asarray(weights[orders[:, first], orders[:, second]].sum(axis=1), dtype=np.float64)


def p_value(statistics: Floats, exact: bool) -> float:
    """Return the probability of the first statistic, or a larger one, under the null.

    Args:
        statistics: from `null_statistics`.
        exact: whether the others are those of all orders; a sample counts the observed one, too.
    """
    null = statistics[1:] if exact else statistics
    return float(np.mean(null >= statistics[0] - ROUNDING))


def is_exact(answers: int) -> bool:
    """Return whether all orders of so many answers are listed."""
    return answers <= EXACT_UP_TO


def smallest_p(answers: int) -> float:
    """Return the smallest p that a list of so many answers can have."""
    return 1 / factorial(answers) if is_exact(answers) else 1 / (SAMPLED + 1)


def benjamini_hochberg(p_values: Sequence[float], max_false: float) -> list[bool]:
    """Return which hypotheses are rejected, with an expected share of false rejections of at most ``max_false``.

    Benjamini and Hochberg, JRSS B 57 (1995): the largest k with p_(k) <= max_false k / m, and all up to p_(k). Valid
    for independent p-values and positively dependent ones; discrete ones, as here, are conservative.
    """
    count = len(p_values)
    within = [p for rank, p in enumerate(sorted(p_values), 1) if p <= max_false * rank / count + ROUNDING]
    threshold = max(within, default=-1.0)
    return [p <= threshold for p in p_values]


def round_p_value(lists: Sequence[Floats], seed: int = 0) -> float:
    """Return the probability that unrelated rankings reach the sum of the lists' tau: a test of the round as a whole.

    Short lists, which cannot pass alone, count here. Each list's S is divided by its largest value under the null.

    Args:
        lists: from `null_statistics`.
    """
    scales = [max(1e-12, float(np.abs(row).max())) for row in lists]
    observed = sum(float(row[0]) / scale for row, scale in zip(lists, scales, strict=True))
    generator = np.random.default_rng(seed)
    sums = np.zeros(ROUND_DRAWS)
    for row, scale in zip(lists, scales, strict=True):
        sums += generator.choice(row[1:], ROUND_DRAWS) / scale
    return float((1 + np.sum(sums >= observed - ROUNDING)) / (1 + ROUND_DRAWS))


@cache
def _orders(answers: int) -> NDArray[np.intp]:
    if is_exact(answers):
        return np.array(list(permutations(range(answers))), dtype=np.intp)
    generator = np.random.default_rng(answers)
    return np.array([generator.permutation(answers) for _ in range(SAMPLED)], dtype=np.intp)
