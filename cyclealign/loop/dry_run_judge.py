"""Dry-run judge: ranks at random and counts cost; sends nothing and writes nothing."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from cyclealign.chat_api.budget import max_reply_tokens, request_characters
from cyclealign.chat_api.prices import Price
from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.loop.backends import backend_of
from cyclealign.loop.session import RoundSession
from cyclealign.records import CallPurpose, JudgeCall, Reply, Spending

CHARACTERS_PER_TOKEN = 4.0  # of English prose, by the tokenizers in use
JSON_CHARACTERS_PER_TOKEN = 2.5
FORMAT_TOKENS = 8  # added to two messages by the chat format
# Standard deviation of a score per request, against score differences of up to 1: orders of one list then differ about
# as often as those of a real judge, which decides how many calls the adaptive methods make.
SCORE_NOISE = 0.5


@dataclass
class Estimate:
    """Estimated spending.

    Args:
        rows: by round number and purpose of the calls.
        if_shown: the total if later rounds show dynamic demonstrations; None if the rows assume it or
            none can be shown.
        if_undecided: the total if the test of every round needs the most prompts; None if no further ones are drawn.
        remarks: sentences on the prompts that the estimate rests on.
        prices: of other models than the judge's, by name.
    """

    price: Price
    rows: dict[tuple[int, CallPurpose], Spending] = field(default_factory=dict)
    if_shown: Spending | None = None
    if_undecided: Spending | None = None
    remarks: list[str] = field(default_factory=list)
    prices: dict[str, Price] = field(default_factory=dict)

    def add(self, number: int, call: JudgeCall, prompt_tokens: int, completion_tokens: int) -> None:
        """Add one call."""
        price = self.prices.get(call.model, self.price)
        cost = Spending(1, prompt_tokens + completion_tokens, price.of(prompt_tokens, completion_tokens))
        key = (number, call.purpose)
        self.rows[key] = self.rows.get(key, Spending()) + cost

    @property
    def total(self) -> Spending:
        """Return the sum of all rows."""
        return sum(self.rows.values(), Spending())


@dataclass(frozen=True)
class TokenCounter:
    """Counts, or estimates, the tokens of a request and of a reply."""

    prompt: Callable[[JudgeCall], int]
    reply: Callable[[str], int]

    @classmethod
    def of(cls, session: RoundSession) -> "TokenCounter":
        """Return the backend's exact counter, else the ratio of this model's earlier requests, else that of English."""
        count = backend_of(session.config.judge).token_counter()
        if count is not None:
            return cls(lambda call: sum(count(message["content"]) for message in call.messages), count)
        seen = session.store.calls.prompt_token_counts(session.config.judge.model)
        if seen:
            ratio = sum(tokens for _, tokens in seen) / max(1, sum(characters for characters, _ in seen))
            return cls(lambda call: round(request_characters(call) * ratio), count_json)
        return cls(lambda call: round(request_characters(call) / CHARACTERS_PER_TOKEN) + FORMAT_TOKENS, count_json)


def count_json(text: str) -> int:
    """Estimate the tokens of a short JSON reply; its labels and punctuation make short tokens."""
    return max(1, round(len(text) / JSON_CHARACTERS_PER_TOKEN))


def dry_run_judge(estimate: Estimate, number: int, answered: set[str], counter: TokenCounter) -> AskJudge:
    """Return a judge that ranks at random, seeded by text and request, and adds each new call to the estimate.

    Args:
        number: the round that the calls count for.
        answered: keys of calls that cost nothing; keys of new calls are added.
    """

    async def ask_judge(call: JudgeCall) -> Reply:
        draw = random.Random(call.key)
        score = {item: random.Random(item).random() + draw.gauss(0, SCORE_NOISE) for _, item in call.shown}
        labels = [label for label, item in sorted(call.shown, key=lambda pair: score[pair[1]])]
        text = json.dumps({"ranking": labels})
        if call.key not in answered:
            answered.add(call.key)
            estimate.add(number, call, counter.prompt(call), min(max_reply_tokens(call), counter.reply(text)))
        return Reply(text, "dry run", 0, 0, 0.0, 0.0)

    return ask_judge
