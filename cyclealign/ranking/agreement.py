"""Agreement between two rankings: Kendall's tau, longest common subsequence (LCS) and its chance level.

Pure functions. A ranking is a sequence of distinct ids, best first.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations
from math import factorial


def rank_by_score(scores: Mapping[str, float]) -> tuple[str, ...]:
    """Return the ids by descending score. Ties are ordered by id, so that a resumed run gets the same ranking."""
    return tuple(sorted(scores, key=lambda item: (-scores[item], item)))


def kendall_tau(first: Sequence[str], second: Sequence[str]) -> float:
    """Return Kendall's tau-a, (concordant - discordant pairs) / all pairs: +1 same order, -1 reversed, 0 by chance.

    Raises:
        ValueError: the rankings have different ids, or fewer than two.
    """
    check_same_items(first, second)
    position = {item: number for number, item in enumerate(second)}
    pairs = list(combinations(first, 2))
    if not pairs:
        raise ValueError("Kendall's tau needs at least two items.")
    return sum(1 if position[a] < position[b] else -1 for a, b in pairs) / len(pairs)


def longest_common_subsequence(first: Sequence[str], judge: Sequence[str]) -> tuple[str, ...]:
    """Return a longest common subsequence of two rankings of the same ids, in O(n^2) steps.

    Among several of maximum length, return the one whose positions in ``judge`` come first lexicographically: the
    judge is the teacher, so its highest-ranked answers are kept.

    Raises:
        ValueError: the rankings have different ids.
    """
    check_same_items(first, judge)
    position = {item: number for number, item in enumerate(first)}
    # The LCS is the longest increasing subsequence of the positions in `first`, read in the judge's order.
    # best[i]: the preferred increasing subsequence that starts at the judge's i-th item, as judge indices.
    best: list[tuple[int, ...]] = [()] * len(judge)
    for start in reversed(range(len(judge))):
        tails = [
            best[next_] for next_ in range(start + 1, len(judge)) if position[judge[next_]] > position[judge[start]]
        ]
        best[start] = (start, *min(tails, key=_longest_then_highest, default=()))
    return tuple(judge[index] for index in min(best, key=_longest_then_highest, default=()))


def _longest_then_highest(indices: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    return -len(indices), indices


@cache
def chance_of_lcs(items: int, at_least: int) -> float:
    """Return P(LCS length >= ``at_least``) for two uniformly random rankings of ``items`` ids.

    The LCS of two random rankings has the distribution of the longest increasing subsequence of one random
    permutation. By the Robinson-Schensted correspondence (Schensted, 1961), the number of permutations whose longest
    increasing subsequence has length L is the sum of f(shape)^2 over the partitions of ``items`` with first row L,
    where f counts the standard Young tableaux of a shape.
    """
    count = sum(_standard_tableaux(shape) ** 2 for shape in _partitions(items, items) if shape[:1] >= (at_least,))
    return count / factorial(items)


@cache
def expected_lcs(items: int) -> float:
    """Return the expected LCS length of two uniformly random rankings of ``items`` ids (2.417 for four)."""
    return sum(chance_of_lcs(items, length) for length in range(1, items + 1))


def _partitions(total: int, largest: int) -> list[tuple[int, ...]]:
    """Return the integer partitions of ``total`` into parts of at most ``largest``, each in descending order."""
    if total == 0:
        return [()]
    return [(first, *rest) for first in range(min(total, largest), 0, -1) for rest in _partitions(total - first, first)]


def _standard_tableaux(shape: tuple[int, ...]) -> int:
    """Return the number of standard Young tableaux of a shape, by the hook length formula."""
    hooks = 1
    for row, length in enumerate(shape):
        for column in range(length):
            below = sum(1 for other in shape[row + 1 :] if other > column)
            hooks *= length - column + below
    return factorial(sum(shape)) // hooks


def agreement_target(policy: Sequence[str], judge: Sequence[str], agreed: Sequence[str]) -> tuple[str, ...]:
    """Return the target ranking for ``training.target = "agreement"``.

    Agreed answers stay at the policy's positions, as anchors. The contested answers fill the remaining positions in
    the judge's order.
    """
    anchors = set(agreed)
    contested = iter([item for item in judge if item not in anchors])
    return tuple(item if item in anchors else next(contested) for item in policy)


def check_same_items(first: Sequence[str], second: Sequence[str]) -> None:
    """Raise ValueError unless both rankings contain the same ids, each exactly once."""
    if len(set(first)) != len(first) or len(first) != len(second) or set(first) != set(second):
        raise ValueError("The two rankings do not contain the same distinct ids.")
