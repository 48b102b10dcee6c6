"""What a round's own verdicts say of the judge: does it keep to its order, does it like places, does it like length?

Pure. The figures of Shi et al. (arXiv 2406.07791): position consistency, and which places win; beside them, the liking
for length. (Their repetition stability takes a request made twice: `judging.controls` plants one.)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from cyclealign.errors import UnreadableReply
from cyclealign.evaluation.intervals import with_interval
from cyclealign.judge.verdicts import verdict
from cyclealign.ranking import consensus
from cyclealign.records import JudgeCall, Metric, Reply, Tiers

CONSISTENCY, FIRST, LENGTH, WINS = (
    "judge_position_consistency",
    "judge_first_bias",
    "judge_length_bias",
    "judge_wins_at_",
)


@dataclass(frozen=True)
class Seen:
    """A readable verdict (ids in tiers, best first) and the order in which the judge saw the answers."""

    order: tuple[str, ...]
    verdict: Tiers


def seen(calls: Iterable[tuple[JudgeCall, Reply]]) -> dict[str, list[Seen]]:
    """The readable verdicts by the list that they are on; a reply that the reader refuses tells nothing."""
    by_list: dict[str, list[Seen]] = {}
    for call, reply in calls:
        try:
            found = Seen(tuple(item for _, item in call.shown), verdict(call, reply))
        except UnreadableReply:
            continue
        by_list.setdefault(call.subject_id, []).append(found)
    return by_list


def biases(lists: Mapping[str, Sequence[Seen]], texts: Mapping[str, str]) -> list[Metric]:
    """The judge's biases, each with an interval over lists; what no list tells of is left out.

    Args:
        lists: the verdicts by list. Lists shown in part (pairs, groups) count by the places within a request.
        texts: each answer's text, by id.
    """
    rows = [lists[name] for name in sorted(lists)]
    figures = {
        CONSISTENCY: [position_consistency(row) for row in rows],
        FIRST: [first_bias(row) for row in rows],
        LENGTH: [length_bias(row, texts) for row in rows],
    }
    wins = [wins_by_place(row) for row in rows]
    for place in sorted({place for each in wins for place in each}):
        figures[f"{WINS}{place}"] = [each.get(place) for each in wins]
    known = {name: [value for value in values if value is not None] for name, values in figures.items()}
    return [with_interval(name, values) for name, values in known.items() if values]


def position_consistency(row: Sequence[Seen]) -> float | None:
    """Share of the pairs that an order and its reverse rank alike; half where one alone has a tie. None without two."""
    alike = [
        pair
        for first, second in combinations(row, 2)
        if first.order == second.order[::-1]
        for pair in consensus.pairwise_agreement(first.verdict, second.verdict)
    ]
    return fmean(alike) if alike else None


def wins_by_place(row: Sequence[Seen]) -> dict[int, float]:
    """The share of its pairs that the answer shown at each place (from 1) wins, a tie being half: 0.5 for a fair judge.

    Fair as long as each answer stands at each place alike often, as it does in an order and its reverse.
    """
    won: dict[int, list[float]] = {}
    for each in row:
        for place, other, share in _pairs_shown(each):
            won.setdefault(place, []).append(share)
            won.setdefault(other, []).append(1 - share)
    return {place: fmean(shares) for place, shares in won.items()}


def first_bias(row: Sequence[Seen]) -> float | None:
    """Kendall's tau between the order shown and the verdict: 1 always as shown, 0 no liking for places, -1 reversed."""
    shares = [share for each in row for _, _, share in _pairs_shown(each)]
    return 2 * fmean(shares) - 1 if shares else None


def length_bias(row: Sequence[Seen], texts: Mapping[str, str]) -> float | None:
    """Kendall's tau between the judge's order and the length in characters, over pairs of unlike length.

    1: the longer answer always wins. It is a correlation: where longer answers are better, a fair judge has it, too.
    """
    votes = consensus.count_votes(each.verdict for each in row)
    for_longer = [
        counted.share if len(texts[first]) > len(texts[second]) else 1 - counted.share
        for (first, second), counted in votes.items()
        if len(texts[first]) != len(texts[second])
    ]
    return 2 * fmean(for_longer) - 1 if for_longer else None


def _pairs_shown(each: Seen) -> list[tuple[int, int, float]]:
    """(place, later place, share of the win for the earlier one), of every pair of places."""
    tier = {item: number for number, items in enumerate(each.verdict) for item in items}
    return [
        (place, other, 0.5 if tier[first] == tier[second] else float(tier[first] < tier[second]))
        for (place, first), (other, second) in combinations(enumerate(each.order, 1), 2)
    ]
