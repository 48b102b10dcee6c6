"""Consensus among verdicts: pairwise vote counts, Kemeny order, and agreement between verdicts.

Pure functions. A verdict is a ranking of some or all items in tiers, best first; items of one tier are tied.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import comb
from statistics import fmean

from cyclealign.ranking.agreement import rank_by_score
from cyclealign.records import Preference, Tiers

# The exact search visits 2^n sets of items: 256 for eight.
MAX_ITEMS_FOR_EXACT_KEMENY = 8


@dataclass(frozen=True)
class Votes:
    """Votes on one pair: how many verdicts ranked its first item above, below, or level (tied) with the second."""

    above: int = 0
    below: int = 0
    level: int = 0

    @property
    def count(self) -> int:
        return self.above + self.below + self.level

    @property
    def share(self) -> float:
        """Share of the verdicts that prefer the first item; a tie counts 0.5."""
        return (self.above + self.level / 2) / self.count

    @property
    def agreement(self) -> float:
        """Sum over pairs of verdicts: +1 for equal preferences, -1 for opposite ones, 0 where either is a tie."""
        return ((self.above - self.below) ** 2 - self.above - self.below) / 2


VoteCounts = Mapping[tuple[str, str], Votes]


def count_votes(verdicts: Iterable[Tiers]) -> VoteCounts:
    """Return the votes on every pair that at least one verdict compares.

    The keys are (smaller id, larger id). Verdicts may be partial and may contain ties.
    """
    counted: dict[tuple[str, str], list[int]] = {}
    for verdict in verdicts:
        tier_of = {item: number for number, tier in enumerate(verdict) for item in tier}
        for first, second in combinations(sorted(tier_of), 2):
            sign = (tier_of[first] > tier_of[second]) - (tier_of[first] < tier_of[second])
            counted.setdefault((first, second), [0, 0, 0])[sign] += 1  # index 0: level, 1: below, -1: above
    return {pair: Votes(above=votes[-1], below=votes[1], level=votes[0]) for pair, votes in counted.items()}


def pairwise_agreement(first: Tiers, second: Tiers) -> list[float]:
    """Return, for each pair that both verdicts compare, 1 if they agree, 0 if not, 0.5 if only one of them is a tie."""
    both = [votes for votes in count_votes([first, second]).values() if votes.count == 2]
    return [1.0 if votes.level == 2 else (1 + votes.agreement) / 2 for votes in both]


def strict_tiers(order: Sequence[str]) -> Tiers:
    """Return a strict ranking, best first, as tiers of one item each."""
    return tuple((item,) for item in order)


def preferences(order: Sequence[str], votes: VoteCounts) -> tuple[Preference, ...]:
    """Return the majority preference of each compared pair; an even pair takes its direction from ``order``."""
    majorities = []
    for first, second in combinations(order, 2):
        if (pair := min((first, second), (second, first))) not in votes:
            continue
        share = votes[pair].share if pair == (first, second) else 1 - votes[pair].share
        better, worse = (first, second) if share >= 0.5 else (second, first)
        majorities.append(Preference(better, worse, max(share, 1 - share), votes[pair].count))
    return tuple(majorities)


def is_connected(items: Sequence[str], votes: VoteCounts) -> bool:
    """Return whether the comparison graph is connected; otherwise some positions in the order would be arbitrary."""
    reached, frontier = set[str](), set(items[:1])
    while frontier:
        reached |= frontier
        frontier = {item for pair in votes if not frontier.isdisjoint(pair) for item in pair} - reached
    return reached >= set(items)


def kemeny_order(items: Iterable[str], votes: VoteCounts) -> tuple[str, ...]:
    """Return the Kemeny order: the strict order that contradicts the fewest votes. A tie counts 0.5 either way.

    Exact for at most eight items. For more, the Borda order after local Kemenization (Dwork et al., WWW 2001). That
    order may be suboptimal, but it satisfies the extended Condorcet criterion: an item that beats all others is
    first, and the Smith set (the smallest set whose members all beat every other item) is on top.

    Among orders of equal cost, the first by (Borda score, id) is returned, so that a resumed run gets the same one.
    For shuffled lists shown to a language model, see Tang et al., arXiv 2310.07712.
    """
    against = {}  # twice the cost of ranking the first item above the second: integers compare exactly
    for (first, second), counted in votes.items():
        against[first, second] = 2 * counted.below + counted.level
        against[second, first] = 2 * counted.above + counted.level
    borda = rank_by_score(borda_scores(items, votes))
    if len(borda) <= MAX_ITEMS_FOR_EXACT_KEMENY:
        return _exact_kemeny(borda, against)
    return _local_kemenization(borda, against)


def borda_scores(items: Iterable[str], votes: VoteCounts) -> dict[str, float]:
    """Return each item's Borda score in [0, 1]: its mean vote share over the pairs it is in, 0.5 if there are none."""
    shares: dict[str, list[float]] = {item: [] for item in items}
    for (first, second), counted in votes.items():
        shares[first].append(counted.share)
        shares[second].append(1 - counted.share)
    # Rounded, so that scores that differ by rounding errors alone are ties.
    return {item: round(fmean(row), 9) if row else 0.5 for item, row in shares.items()}


def _exact_kemeny(items: Sequence[str], against: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
    """Return the order of minimum cost, first in the order of ``items`` among equals: dynamic programming over sets."""

    @cache
    def best(rest: int) -> tuple[int, tuple[int, ...]]:  # rest: the items still to be placed, as a bit mask
        members = [number for number in range(len(items)) if rest >> number & 1]
        if not members:
            return 0, ()
        options = []
        for first in members:
            cost, order = best(rest & ~(1 << first))
            cost += sum(against.get((items[first], items[other]), 0) for other in members if other != first)
            options.append((cost, (first, *order)))
        return min(options)

    return tuple(items[number] for number in best((1 << len(items)) - 1)[1])


def _local_kemenization(order: Sequence[str], against: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
    """Insert each item in turn and move it up past every neighbour that the majority ranks below it."""
    placed: list[str] = []
    for item in order:
        position = len(placed)
        while position and against.get((placed[position - 1], item), 0) > against.get((item, placed[position - 1]), 0):
            position -= 1
        placed.insert(position, item)
    return tuple(placed)


def steadiness(votes: VoteCounts, wanted: int | None = None) -> float:
    """Return the agreement among repeated verdicts, in [0, 1]: (1 + mean Kendall's tau over pairs of verdicts) / 2.

    1.0 if no pair of items was compared twice.

    Args:
        wanted: expected number of verdicts on each pair; missing ones count as tau 0. Default: the number present.
    """
    possible = sum(comb(max(pair_votes.count, wanted or 0), 2) for pair_votes in votes.values())
    total = sum(pair_votes.agreement for pair_votes in votes.values())
    return (1 + total / possible) / 2 if possible else 1.0
