"""An imagined judge: it is asked in earnest, answers by a whim, and counts what its calls would cost.

No judge is asked, and nothing is written.
"""

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
FORMAT_TOKENS = 8  # that the chat format adds to two messages
IMAGINED_NOISE = 0.5  # of the imagined judge, against differences of up to 1


@dataclass
class Estimate:
    """What is foreseen, by round and purpose of the calls; and what it would be with more demonstrations.

    ``if_shown``: all of it if dynamic demonstrations turn out to earn their place; None where that is no question.
    """

    price: Price
    rows: dict[tuple[int, CallPurpose], Spending] = field(default_factory=dict)
    if_shown: Spending | None = None

    def add(self, number: int, call: JudgeCall, prompt_tokens: int, completion_tokens: int) -> None:
        """Count one call."""
        cost = Spending(1, prompt_tokens + completion_tokens, self.price.of(prompt_tokens, completion_tokens))
        key = (number, call.purpose)
        self.rows[key] = self.rows.get(key, Spending()) + cost

    @property
    def total(self) -> Spending:
        """All of it."""
        return sum(self.rows.values(), Spending())


@dataclass(frozen=True)
class TokenCounter:
    """How many tokens a request and a reply have."""

    prompt: Callable[[JudgeCall], int]
    reply: Callable[[str], int]

    @classmethod
    def of(cls, session: RoundSession) -> "TokenCounter":
        """By the simulated judge's own rule; as this model counted earlier requests; or as English usually counts."""
        count = backend_of(session.config.judge).token_counter()
        if count is not None:
            return cls(lambda call: sum(count(message["content"]) for message in call.messages), count)
        seen = session.store.calls.prompt_token_counts(session.config.judge.model)
        if seen:
            ratio = sum(tokens for _, tokens in seen) / max(1, sum(characters for characters, _ in seen))
            return cls(lambda call: round(request_characters(call) * ratio), count_json)
        return cls(lambda call: round(request_characters(call) / CHARACTERS_PER_TOKEN) + FORMAT_TOKENS, count_json)


def count_json(text: str) -> int:
    """Tokens of a short JSON reply: labels and signs make short ones."""
    return max(1, round(len(text) / JSON_CHARACTERS_PER_TOKEN))


def imagined(found: Estimate, number: int, asked: set[str], counting: TokenCounter) -> AskJudge:
    """A judge that counts what it is asked for the first time, and ranks by a whim for each text and request."""

    async def ask_judge(call: JudgeCall) -> Reply:
        draw = random.Random(call.key)
        whim = {item: random.Random(item).random() + draw.gauss(0, IMAGINED_NOISE) for _, item in call.shown}
        labels = [label for label, item in sorted(call.shown, key=lambda pair: whim[pair[1]])]
        text = json.dumps({"ranking": labels})
        if call.key not in asked:
            asked.add(call.key)
            found.add(number, call, counting.prompt(call), min(max_reply_tokens(call), counting.reply(text)))
        return Reply(text, "imagined", 0, 0, 0.0, 0.0)

    return ask_judge
