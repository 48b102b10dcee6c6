"""Rankings: made from scores, compared, reconciled. Pure functions over tuples of ids, best first."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations
from math import factorial


def rank_by_score(scores: Mapping[str, float]) -> tuple[str, ...]:
    """Ids from the highest score to the lowest; equal scores are ordered by id, so that a resumed run agrees."""
    return tuple(sorted(scores, key=lambda item: (-scores[item], item)))


def kendall_tau(first: Sequence[str], second: Sequence[str]) -> float:
    """Kendall's tau of two rankings of the same ids: +1 same order, -1 reversed, 0 expected by chance.

    Raises:
        ValueError: the rankings do not hold the same ids, or fewer than two.
    """
    same_items(first, second)
    place = {item: number for number, item in enumerate(second)}
    pairs = list(combinations(first, 2))
    if not pairs:
        raise ValueError("Kendall's tau wants at least two items.")
    return sum(1 if place[a] < place[b] else -1 for a, b in pairs) / len(pairs)


def longest_common_subsequence(first: Sequence[str], judge: Sequence[str]) -> tuple[str, ...]:
    """The longest list of ids that both rankings hold in the same order.

    Tie rule: among several longest ones, the one whose members stand higher in ``judge``, compared from its best
    member on (the judge is the teacher, so the answers that it likes most are kept).
    """
    same_items(first, judge)
    place = {item: number for number, item in enumerate(first)}
    # best[i]: the winning increasing run of `first`-places that starts with the judge's i-th item, as judge indices.
    best: list[tuple[int, ...]] = [()] * len(judge)
    for start in reversed(range(len(judge))):
        tails = [best[next_] for next_ in range(start + 1, len(judge)) if place[judge[next_]] > place[judge[start]]]
        best[start] = (start, *min(tails, key=_longest_then_highest, default=()))
    return tuple(judge[index] for index in min(best, key=_longest_then_highest, default=()))


def _longest_then_highest(indices: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    return -len(indices), indices


@cache
def chance_of_lcs(items: int, at_least: int) -> float:
    """P(LCS of two random rankings of ``items`` ids is at least ``at_least``).

    The LCS of two random rankings is distributed as the longest increasing subsequence of one random permutation,
    which the Robinson-Schensted correspondence counts: sum of f(shape)^2 over the partitions of ``items`` whose
    first row is long enough, f from the hook length formula.
    """
    count = sum(_standard_tableaux(shape) ** 2 for shape in _partitions(items, items) if shape[:1] >= (at_least,))
    return count / factorial(items)


@cache
def expected_lcs(items: int) -> float:
    """Expected LCS length of two random rankings of ``items`` ids (2.417 for four)."""
    return sum(chance_of_lcs(items, length) for length in range(1, items + 1))


def _partitions(total: int, largest: int) -> list[tuple[int, ...]]:
    if total == 0:
        return [()]
    return [(first, *rest) for first in range(min(total, largest), 0, -1) for rest in _partitions(total - first, first)]


def _standard_tableaux(shape: tuple[int, ...]) -> int:
    """Number of standard Young tableaux of a shape (hook length formula)."""
    hooks = 1
    for row, length in enumerate(shape):
        for column in range(length):
            below = sum(1 for other in shape[row + 1 :] if other > column)
            hooks *= length - column + below
    return factorial(sum(shape)) // hooks


def agreement_target(policy: Sequence[str], judge: Sequence[str], agreed: Sequence[str]) -> tuple[str, ...]:
    """The order to learn under ``target = agreement``.

    The agreed answers keep the places that the policy gave them, as anchors; the contested ones fill the places left,
    in the judge's order. Between the two rankings, and equal to both where they agree.
    """
    anchors = set(agreed)
    contested = iter([item for item in judge if item not in anchors])
    return tuple(item if item in anchors else next(contested) for item in policy)


def same_items(first: Sequence[str], second: Sequence[str]) -> None:
    """Raise ValueError unless both rankings hold the same ids, each once."""
    if len(set(first)) != len(first) or len(first) != len(second) or set(first) != set(second):
        raise ValueError("The two rankings do not hold the same distinct ids.")
