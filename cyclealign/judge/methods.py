"""Ranking methods: the requests that each one sends to rank the answers to one prompt, and when it stops.

Each method is a coroutine over an `AskJudge` and returns a `Judgement`, which aggregates the replies.
"""

import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from itertools import pairwise as neighbours
from typing import Literal

from cyclealign.chat_api.scheduler import AskJudge, gather_all
from cyclealign.judge.requests import RankingTask
from cyclealign.judge.verdicts import ParsedReply, Reasons, ask_with_repair
from cyclealign.ranking import consensus
from cyclealign.records import JudgeCall, Ranking, Tiers, seed_from

MethodName = Literal["listwise", "adaptive", "pairwise", "tournament"]


@dataclass(frozen=True)
class RankingMethod:
    """A ranking method and its settings.

    - ``listwise``: all answers in one request, in ``num_orders`` orders: a random one, its reverse, another one ...
    - ``adaptive``: as listwise with two orders; then another order and its reverse, up to ``max_orders`` in all, while
      the mean Kendall tau of the verdicts is below ``stop_at_tau``.
    - ``pairwise``: every pair, in both orders.
    - ``tournament``: ``calls_per_answer`` stages; in each, answers with similar standings meet in groups of up to
      ``group_size``. Lists no longer than a group are ranked as in ``adaptive``.
    """

    name: MethodName = "listwise"
    num_orders: int = 2
    max_orders: int = 4
    stop_at_tau: float = 0.6
    group_size: int = 4
    calls_per_answer: int = 4


@dataclass(frozen=True)
class Judgement:
    """The replies about one list. ``votes_per_pair`` is how many verdicts each compared pair should have; None: any."""

    items: tuple[str, ...]
    replies: tuple[ParsedReply, ...]
    votes_per_pair: int | None

    @property
    def verdicts(self) -> list[Tiers]:
        return [reply.verdict for reply in self.replies if reply.verdict is not None]

    @cached_property
    def votes(self) -> consensus.VoteCounts:
        return consensus.count_votes(self.verdicts)

    @property
    def ranked(self) -> bool:
        """Return whether the verdicts place every answer."""
        return bool(self.verdicts) and consensus.is_connected(self.items, self.votes)

    @property
    def steadiness(self) -> float:
        return consensus.steadiness(self.votes, self.votes_per_pair)

    @property
    def problems(self) -> tuple[tuple[str, str], ...]:
        """Return (key of the call, problem) of each reply that failed or could not be parsed."""
        return tuple(problem for reply in self.replies for problem in reply.problems)

    @property
    def unjudged_reason(self) -> str:
        """Return the reason for a missing ranking, as text."""
        problems = list(dict.fromkeys(problem for _, problem in self.problems))
        readable = f"{len(self.verdicts)} of {len(self.replies)} requests gave a readable verdict"
        return f"{readable}. {' '.join(problems[:3])}".strip()

    @property
    def reasons(self) -> Reasons:
        return tuple(reason for reply in self.replies for reason in reply.reasons)

    def renamed(self, names: Mapping[str, str]) -> "Judgement":
        """Return the judgement with other item ids."""
        replies = tuple(reply.renamed(names) for reply in self.replies)
        return Judgement(tuple(names[item] for item in self.items), replies, self.votes_per_pair)

    def ranking(self, prompt_id: str) -> Ranking | None:
        """Return the judge's ranking with its soft preferences; None if the verdicts do not place every answer."""
        if not self.ranked:
            return None
        order = consensus.kemeny_order(self.items, self.votes)
        preferences = consensus.preferences(order, self.votes)
        return Ranking(prompt_id, "judge", order, self.steadiness, preferences, self.reasons)


async def rank(ask_judge: AskJudge, task: RankingTask, method: RankingMethod) -> Judgement:
    """Rank the answers of one task by this method."""
    return await METHODS[method.name](ask_judge, task, method)


async def listwise(ask_judge: AskJudge, task: RankingTask, method: RankingMethod) -> Judgement:
    """Rank all answers at once, in a fixed number of orders."""
    replies = await _ask_all(ask_judge, task, [task.call(number) for number in range(method.num_orders)])
    return Judgement(tuple(task.answers), replies, method.num_orders)


async def adaptive(ask_judge: AskJudge, task: RankingTask, method: RankingMethod) -> Judgement:
    """Rank all answers at once, in an order and its reverse, and two more while the verdicts disagree.

    Orders are added in pairs: one without its reverse would bring position bias back. A missing verdict counts as one
    that agrees with no other; if both are missing, no further request is sent.
    """
    replies = await _ask_all(ask_judge, task, [task.call(0), task.call(1)])
    judgement = Judgement(tuple(task.answers), replies, 2)
    while (
        judgement.verdicts
        and len(judgement.replies) < method.max_orders
        and 2 * judgement.steadiness - 1 < method.stop_at_tau  # the mean Kendall tau of the verdicts
    ):
        numbers = range(len(judgement.replies), min(len(judgement.replies) + 2, method.max_orders))
        replies = await _ask_all(ask_judge, task, [task.call(number) for number in numbers])
        judgement = Judgement(judgement.items, (*judgement.replies, *replies), numbers.stop)
    return judgement


async def pairwise(ask_judge: AskJudge, task: RankingTask, method: RankingMethod) -> Judgement:
    """Rank every pair in both orders (Qin et al., arXiv 2306.17563, all pairs): n (n - 1) requests."""
    calls = [task.call(number, pair) for pair in combinations(sorted(task.answers), 2) for number in (0, 1)]
    return Judgement(tuple(task.answers), await _ask_all(ask_judge, task, calls), 2)


async def tournament(ask_judge: AskJudge, task: RankingTask, method: RankingMethod) -> Judgement:
    """Rank in stages: answers with similar standings meet in small groups, as in a Swiss tournament.

    The standing is the mean share of votes so far. Pairs that never met stay undecided. The order within a request is
    random, which turns position bias into noise.
    """
    items = tuple(sorted(task.answers))
    if len(items) <= method.group_size:
        return await adaptive(ask_judge, task, method)
    judgement = Judgement(items, (), None)
    draw = random.Random(seed_from(task.spec.seed, "tournament", task.subject_id, items))
    for stage in range(method.calls_per_answer):
        groups = _groups(items, judgement.votes, method.group_size, draw)
        replies = await _ask_all(ask_judge, task, [task.call(stage, group) for group in groups])
        judgement = Judgement(items, (*judgement.replies, *replies), None)
    return judgement


def _groups(items: Sequence[str], votes: consensus.VoteCounts, size: int, draw: random.Random) -> list[list[str]]:
    """Return neighbours in the standings, shuffled among equals, in groups whose sizes differ by at most one."""
    shuffled = draw.sample(items, len(items))
    standing = consensus.borda_scores(shuffled, votes)
    order = sorted(shuffled, key=lambda item: -standing[item])
    count = -(-len(order) // size)
    cuts = [round(number * len(order) / count) for number in range(count + 1)]
    return [order[start:end] for start, end in neighbours(cuts)]


async def _ask_all(ask_judge: AskJudge, task: RankingTask, calls: Iterable[JudgeCall]) -> tuple[ParsedReply, ...]:
    return tuple(await gather_all(ask_with_repair(ask_judge, task.spec.template, call) for call in calls))


METHODS: dict[MethodName, Callable[[AskJudge, RankingTask, RankingMethod], Awaitable[Judgement]]] = {
    "listwise": listwise,
    "adaptive": adaptive,
    "pairwise": pairwise,
    "tournament": tournament,
}


def calls_needed(method: RankingMethod, answers: int) -> tuple[int, int]:
    """Return the minimum and maximum number of requests to rank this many answers, without repairs."""
    if method.name == "listwise":
        return method.num_orders, method.num_orders
    if method.name == "pairwise":
        return answers * (answers - 1), answers * (answers - 1)
    if method.name == "adaptive" or answers <= method.group_size:
        return min(2, method.max_orders), method.max_orders
    return (-(-answers // method.group_size) * method.calls_per_answer,) * 2
