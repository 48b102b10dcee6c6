"""Verdicts counted: what several of them say of each pair, the order in their middle, and how far they agree.

Pure functions. A verdict is a ranking in tiers (best first; a tier of several is a tie) of all items or of some.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import comb
from statistics import fmean

from cyclealign.ranking.agreement import rank_by_score, same_items
from cyclealign.records import Preference, Tiers

MOST_FOR_EXACT_CONSENSUS = 8


@dataclass(frozen=True)
class Votes:
    """What the verdicts said of a pair: how many placed its first item above, below, or level with the second."""

    above: int = 0
    below: int = 0
    level: int = 0

    @property
    def count(self) -> int:
        return self.above + self.below + self.level

    @property
    def share(self) -> float:
        """Share of the verdicts for the first item; a tie is half a verdict for either."""
        return (self.above + self.level / 2) / self.count

    @property
    def agreement(self) -> float:
        """Sum over pairs of verdicts of +1 (same), -1 (contrary) or 0 (one or both a tie)."""
        return ((self.above - self.below) ** 2 - self.above - self.below) / 2


Tally = Mapping[tuple[str, str], Votes]


def tally(verdicts: Iterable[Tiers]) -> Tally:
    """The votes on every pair that a verdict compared; the smaller id comes first in a pair.

    A verdict may rank some of the items only, and may hold ties.
    """
    counted: dict[tuple[str, str], list[int]] = {}
    for verdict in verdicts:
        place = {item: number for number, tier in enumerate(verdict) for item in tier}
        for first, second in combinations(sorted(place), 2):
            apart = (place[first] > place[second]) - (place[first] < place[second])
            counted.setdefault((first, second), [0, 0, 0])[apart] += 1  # 0: level, 1: below, -1: above
    return {pair: Votes(above=votes[-1], below=votes[1], level=votes[0]) for pair, votes in counted.items()}


def alike(first: Tiers, second: Tiers) -> list[float]:
    """Whether two verdicts hold a pair alike, for each that both compare: 1, 0, or 0.5 where one alone has a tie."""
    both = [votes for votes in tally([first, second]).values() if votes.count == 2]
    return [1.0 if votes.level == 2 else (1 + votes.agreement) / 2 for votes in both]


def untied(order: Sequence[str]) -> Tiers:
    """A plain order, best first, as a ranking without ties."""
    return tuple((item,) for item in order)


def preferences(order: Sequence[str], votes: Tally) -> tuple[Preference, ...]:
    """The votes as preferences, one a compared pair; an undecided pair is named in the direction of ``order``."""
    found = []
    for first, second in combinations(order, 2):
        if (pair := min((first, second), (second, first))) not in votes:
            continue
        share = votes[pair].share if pair == (first, second) else 1 - votes[pair].share
        better, worse = (first, second) if share >= 0.5 else (second, first)
        found.append(Preference(better, worse, max(share, 1 - share), votes[pair].count))
    return tuple(found)


def all_connected(items: Sequence[str], votes: Tally) -> bool:
    """Whether verdicts lead from every item to every other; else some places would be guesses."""
    reached, fresh = set[str](), set(items[:1])
    while fresh:
        reached |= fresh
        fresh = {item for pair in votes if not fresh.isdisjoint(pair) for item in pair} - reached
    return reached >= set(items)


def consensus(rankings: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The central order of several rankings of the same ids: see `central_order`. (Tang et al., arXiv 2310.07712.)"""
    if not rankings:
        raise ValueError("A consensus wants at least one ranking.")
    for other in rankings:
        same_items(rankings[0], other)
    return central_order(rankings[0], tally(untied(each) for each in rankings))


def central_order(items: Iterable[str], votes: Tally) -> tuple[str, ...]:
    """The order that the fewest votes contradict (Kemeny); a tie contradicts either direction by half.

    Exact up to eight items. Above, Borda's order (mean share of the votes, over the compared pairs) in which neighbours
    are exchanged as long as the votes want it (local Kemenization, Dwork et al., WWW 2001): it keeps every item that
    beats all others first, but may be off the optimum. Among equals the order that is first by (Borda, id) is taken,
    so that a resumed run agrees.
    """
    against = {}
    for (first, second), counted in votes.items():
        against[first, second] = 2 * counted.below + counted.level
        against[second, first] = 2 * counted.above + counted.level
    borda = rank_by_score(mean_shares(items, votes))
    if len(borda) <= MOST_FOR_EXACT_CONSENSUS:
        return _kemeny(borda, against)
    return _exchanged(borda, against)


def mean_shares(items: Iterable[str], votes: Tally) -> dict[str, float]:
    """The standing of each item: its mean share of the votes, over the pairs that it is in; 0.5 where it is in none."""
    shares: dict[str, list[float]] = {item: [] for item in items}
    for (first, second), counted in votes.items():
        shares[first].append(counted.share)
        shares[second].append(1 - counted.share)
    return {item: round(fmean(row), 9) if row else 0.5 for item, row in shares.items()}


def _kemeny(items: Sequence[str], against: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
    """The first, by the order of ``items``, of the orders of least cost; dynamic programming over sets of items."""

    @cache
    def best(rest: int) -> tuple[int, tuple[int, ...]]:
        members = [number for number in range(len(items)) if rest >> number & 1]
        if not members:
            return 0, ()
        found = []
        for first in members:
            cost, order = best(rest & ~(1 << first))
            cost += sum(against.get((items[first], items[other]), 0) for other in members if other != first)
            found.append((cost, (first, *order)))
        return min(found)

    return tuple(items[number] for number in best((1 << len(items)) - 1)[1])


def _exchanged(order: Sequence[str], against: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
    """Insert each item in turn, letting it rise past every neighbour above that more votes place below it."""
    placed: list[str] = []
    for item in order:
        at = len(placed)
        while at and against.get((placed[at - 1], item), 0) > against.get((item, placed[at - 1]), 0):
            at -= 1
        placed.insert(at, item)
    return tuple(placed)


def steadiness(votes: Tally, wanted: int | None = None) -> float:
    """How far repeated verdicts agree, in [0, 1]: (1 + mean Kendall tau over pairs of verdicts) / 2.

    1.0 where no pair of items was judged twice.

    Args:
        wanted: verdicts wanted on each pair; missing ones count as tau 0. As many as there are, where absent.
    """
    possible = sum(comb(max(counted.count, wanted or 0), 2) for counted in votes.values())
    total = sum(counted.agreement for counted in votes.values())
    return (1 + total / possible) / 2 if possible else 1.0
