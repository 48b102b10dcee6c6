"""Ways to rank the answers to one prompt: which requests are made, and when it is enough.

Each way is a coroutine over an `Ask` and returns what it heard; what that adds up to is `Judgement`'s.
"""

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from itertools import pairwise as neighbours
from typing import Literal

from cyclealign.chat_api.scheduler import Ask, every
from cyclealign.judge.requests import RankingTask
from cyclealign.judge.verdicts import ParsedReply, Reasons, hear
from cyclealign.ranking import consensus
from cyclealign.records import JudgeCall, Ranking, Tiers, seed_from

WayName = Literal["listwise", "adaptive", "pairwise", "tournament"]


@dataclass(frozen=True)
class RankingMethod:
    """A way to rank and its settings.

    - ``listwise``: all answers in one request, in ``num_orders`` orders: a random one, its reverse, another one ...
    - ``adaptive``: as listwise with two orders; another order and its reverse, up to ``max_orders`` in all, while the
      mean Kendall tau of the verdicts is below ``stop_at_tau``.
    - ``pairwise``: every pair, in both orders.
    - ``tournament``: ``calls_per_answer`` stages; in each, answers that stand alike meet in groups of up to
      ``group_size``. Lists no longer than a group are ranked as in ``adaptive``.
    """

    name: WayName = "listwise"
    num_orders: int = 2
    max_orders: int = 4
    stop_at_tau: float = 0.6
    group_size: int = 4
    calls_per_answer: int = 4


@dataclass(frozen=True)
class Judgement:
    """What one list's requests came to; ``wanted`` is how many verdicts each compared pair should have had."""

    items: tuple[str, ...]
    heard: tuple[ParsedReply, ...]
    wanted: int | None

    @property
    def verdicts(self) -> list[Tiers]:
        return [each.verdict for each in self.heard if each.verdict is not None]

    @cached_property
    def votes(self) -> consensus.VoteCounts:
        return consensus.count_votes(self.verdicts)

    @property
    def ranked(self) -> bool:
        """Whether the verdicts place every answer."""
        return bool(self.verdicts) and consensus.is_connected(self.items, self.votes)

    @property
    def steadiness(self) -> float:
        return consensus.steadiness(self.votes, self.wanted)

    @property
    def problems(self) -> tuple[tuple[str, str], ...]:
        """(key of the call, what was wrong), of every reply that failed or could not be read."""
        return tuple(problem for each in self.heard for problem in each.problems)

    @property
    def unjudged_reason(self) -> str:
        """Why there is no ranking, for a person."""
        said = list(dict.fromkeys(problem for _, problem in self.problems))
        readable = f"{len(self.verdicts)} of {len(self.heard)} requests gave a readable verdict"
        return f"{readable}. {' '.join(said[:3])}".strip()

    @property
    def reasons(self) -> Reasons:
        return tuple(reason for each in self.heard for reason in each.reasons)

    def ranking(self, prompt_id: str) -> Ranking | None:
        """The judge's ranking with its soft preferences; None where there is none: unjudged, never guessed."""
        if not self.ranked:
            return None
        order = consensus.kemeny_order(self.items, self.votes)
        preferences = consensus.preferences(order, self.votes)
        return Ranking(prompt_id, "judge", order, self.steadiness, preferences, self.reasons)


async def rank(asker: Ask, question: RankingTask, way: RankingMethod) -> Judgement:
    """Rank the answers to one question in this way."""
    return await WAYS[way.name](asker, question, way)


async def listwise(asker: Ask, question: RankingTask, way: RankingMethod) -> Judgement:
    """All answers at once, in a fixed number of orders."""
    heard = await _hear_all(asker, question, [question.call(number) for number in range(way.num_orders)])
    return Judgement(tuple(question.answers), heard, way.num_orders)


async def adaptive(asker: Ask, question: RankingTask, way: RankingMethod) -> Judgement:
    """All answers at once; an order and its reverse, and two more as long as the verdicts differ too much.

    Orders come in pairs, since one without its reverse would bring a liking for places back in.

    A verdict that is missing counts as one that agrees with no other. Where both are, the judge is not asked on.
    """
    heard = await _hear_all(asker, question, [question.call(0), question.call(1)])
    found = Judgement(tuple(question.answers), heard, 2)
    while found.verdicts and len(found.heard) < way.max_orders and 2 * found.steadiness - 1 < way.stop_at_tau:
        numbers = range(len(found.heard), min(len(found.heard) + 2, way.max_orders))
        heard = await _hear_all(asker, question, [question.call(number) for number in numbers])
        found = Judgement(found.items, (*found.heard, *heard), numbers.stop)
    return found


async def pairwise(asker: Ask, question: RankingTask, way: RankingMethod) -> Judgement:
    """Every pair in both orders (Qin et al., arXiv 2306.17563, all pairs): n (n - 1) requests."""
    calls = [question.call(number, pair) for pair in combinations(sorted(question.answers), 2) for number in (0, 1)]
    return Judgement(tuple(question.answers), await _hear_all(asker, question, calls), 2)


async def tournament(asker: Ask, question: RankingTask, way: RankingMethod) -> Judgement:
    """Stages in which answers that stand alike so far meet in small groups, as in a Swiss tournament.

    Standing: mean share of the votes so far. Pairs that never met stay undecided. The order within a request is random,
    which turns a liking for places into noise.
    """
    items = tuple(sorted(question.answers))
    if len(items) <= way.group_size:
        return await adaptive(asker, question, way)
    found = Judgement(items, (), None)
    draw = random.Random(seed_from(question.manner.seed, "tournament", question.subject_id, items))
    for stage in range(way.calls_per_answer):
        groups = _groups(items, found.votes, way.group_size, draw)
        heard = await _hear_all(asker, question, [question.call(stage, group) for group in groups])
        found = Judgement(items, (*found.heard, *heard), None)
    return found


def _groups(items: Sequence[str], votes: consensus.VoteCounts, size: int, draw: random.Random) -> list[list[str]]:
    """Neighbours in the standings, which are shuffled where equal, in groups whose sizes differ by one at most."""
    shuffled = draw.sample(items, len(items))
    standing = consensus.borda_scores(shuffled, votes)
    order = sorted(shuffled, key=lambda item: -standing[item])
    count = -(-len(order) // size)
    cuts = [round(number * len(order) / count) for number in range(count + 1)]
    return [order[start:end] for start, end in neighbours(cuts)]


async def _hear_all(asker: Ask, question: RankingTask, calls: Iterable[JudgeCall]) -> tuple[ParsedReply, ...]:
    return tuple(await every(hear(asker, question.manner.template, call) for call in calls))


WAYS: dict[WayName, Callable[[Ask, RankingTask, RankingMethod], Awaitable[Judgement]]] = {
    "listwise": listwise,
    "adaptive": adaptive,
    "pairwise": pairwise,
    "tournament": tournament,
}


def calls_wanted(way: RankingMethod, answers: int) -> tuple[int, int]:
    """The least and the most requests that ranking this many answers takes, without repairs."""
    if way.name == "listwise":
        return way.num_orders, way.num_orders
    if way.name == "pairwise":
        return answers * (answers - 1), answers * (answers - 1)
    if way.name == "adaptive" or answers <= way.group_size:
        return min(2, way.max_orders), way.max_orders
    return (-(-answers // way.group_size) * way.calls_per_answer,) * 2
