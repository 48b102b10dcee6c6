"""The judge's biases, measured on a round's own verdicts: position consistency, position bias and length bias.

Pure. Position consistency and wins by position are the measures of Shi et al. (arXiv 2406.07791); their repetition
stability needs a repeated request, which `cyclealign.judge.controls` sends.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from cyclealign.errors import UnreadableReply
from cyclealign.evaluation.intervals import with_interval
from cyclealign.judge.verdicts import parse_verdict
from cyclealign.ranking import consensus
from cyclealign.records import JudgeCall, Metric, Reply, Tiers

CONSISTENCY, FIRST, LENGTH, WINS = (
    "judge_position_consistency",
    "judge_first_bias",
    "judge_length_bias",
    "judge_wins_at_",
)


@dataclass(frozen=True)
class ShownVerdict:
    """A parsed verdict (item ids in tiers, best first) and the order in which the judge saw the answers."""

    order: tuple[str, ...]
    verdict: Tiers


def shown_verdicts(calls: Iterable[tuple[JudgeCall, Reply]]) -> dict[str, list[ShownVerdict]]:
    """Return the verdicts by list id; replies that cannot be parsed are left out."""
    by_list: dict[str, list[ShownVerdict]] = {}
    for call, reply in calls:
        try:
            shown = ShownVerdict(tuple(item for _, item in call.shown), parse_verdict(call, reply))
        except UnreadableReply:
            continue
        by_list.setdefault(call.subject_id, []).append(shown)
    return by_list


def bias_metrics(lists: Mapping[str, Sequence[ShownVerdict]], texts: Mapping[str, str]) -> list[Metric]:
    """Return the judge's biases, each with an interval over lists; measures without data are left out.

    Args:
        lists: the verdicts by list id. For partial lists (pairs, groups), positions are those within the request.
        texts: text of each answer, by item id.
    """
    rows = [lists[name] for name in sorted(lists)]
    measures = {
        CONSISTENCY: [position_consistency(row) for row in rows],
        FIRST: [first_bias(row) for row in rows],
        LENGTH: [length_bias(row, texts) for row in rows],
    }
    wins = [wins_by_position(row) for row in rows]
    for position in sorted({position for row in wins for position in row}):
        measures[f"{WINS}{position}"] = [row.get(position) for row in wins]
    known = {name: [value for value in values if value is not None] for name, values in measures.items()}
    return [with_interval(name, values) for name, values in known.items() if values]


def position_consistency(row: Sequence[ShownVerdict]) -> float | None:
    """Return the share of pairs ranked the same in an order and in its reverse; half if only one has a tie.

    None if no order was shown along with its reverse.
    """
    alike = [
        pair
        for first, second in combinations(row, 2)
        if first.order == second.order[::-1]
        for pair in consensus.pairwise_agreement(first.verdict, second.verdict)
    ]
    return fmean(alike) if alike else None


def wins_by_position(row: Sequence[ShownVerdict]) -> dict[int, float]:
    """Return, by position (from 1), the share of pairs that the answer shown there wins; a tie counts half.

    An unbiased judge has 0.5 everywhere, if each answer is shown equally often at each position, as in an order and
    its reverse.
    """
    won: dict[int, list[float]] = {}
    for shown in row:
        for position, later, share in _pairs_shown(shown):
            won.setdefault(position, []).append(share)
            won.setdefault(later, []).append(1 - share)
    return {position: fmean(shares) for position, shares in won.items()}


def first_bias(row: Sequence[ShownVerdict]) -> float | None:
    """Return Kendall's tau between the order shown and the verdict: 1 always as shown, 0 unbiased, -1 reversed."""
    shares = [share for shown in row for _, _, share in _pairs_shown(shown)]
    return 2 * fmean(shares) - 1 if shares else None


def length_bias(row: Sequence[ShownVerdict], texts: Mapping[str, str]) -> float | None:
    """Return Kendall's tau between the judge's order and the length in characters, over pairs of different length.

    1: the longer answer always wins. This is a correlation: if longer answers are better, an unbiased judge has it too.
    """
    votes = consensus.count_votes(shown.verdict for shown in row)
    for_longer = [
        counted.share if len(texts[first]) > len(texts[second]) else 1 - counted.share
        for (first, second), counted in votes.items()
        if len(texts[first]) != len(texts[second])
    ]
    return 2 * fmean(for_longer) - 1 if for_longer else None


def _pairs_shown(shown: ShownVerdict) -> list[tuple[int, int, float]]:
    """Return (position, later position, share of the win for the earlier one) of each pair of positions."""
    tier = {item: number for number, items in enumerate(shown.verdict) for item in items}
    return [
        (position, later, 0.5 if tier[first] == tier[second] else float(tier[first] < tier[second]))
        for (position, first), (later, second) in combinations(enumerate(shown.order, 1), 2)
    ]
