"""What the next call may cost, and whether the budget still has it."""

import asyncio

from cyclealign.chat_api.prices import Price
from cyclealign.config import BudgetSettings
from cyclealign.errors import BudgetReached
from cyclealign.records import JudgeCall, Reply, Spending

# Before the first reply: more tokens to a character than any tokenizer makes of plain English (about 0.25).
CAUTIOUS_TOKENS_PER_CHARACTER = 0.5
ROUNDING = 1e-12  # of sums of dollars


class CostEstimator:
    """What a call may cost at most, by its length: the tokens to a character are learnt from the replies."""

    def __init__(self, price: Price, share: float = 1.0) -> None:
        self._price, self._share = price, share
        self._densest: float | None = None

    def of(self, call: JudgeCall) -> Spending:
        """One request, its prompt at the densest text seen so far, and the longest reply that it allows."""
        density = CAUTIOUS_TOKENS_PER_CHARACTER if self._densest is None else self._densest
        prompt, completion = round(characters_of(call) * density) + 1, longest_reply(call)
        return Spending(1, prompt + completion, self._price.of(prompt, completion) * self._share)

    def learn(self, call: JudgeCall, reply: Reply) -> None:
        """See how many tokens the provider counted."""
        if reply.prompt_tokens:
            density = reply.prompt_tokens / max(1, characters_of(call))
            self._densest = density if self._densest is None else max(self._densest, density)


class Budget:
    """Money, tokens and calls that may still be spent; what is under way is set aside until its cost is known."""

    def __init__(self, settings: BudgetSettings, spent: Spending) -> None:
        self._settings, self.spent, self._aside = settings, spent, Spending()
        self._under_way = 0
        self._settled = asyncio.Event()

    async def set_aside(self, expected: Spending) -> None:
        """Set aside what a call may cost; waits while that depends on what the calls under way turn out to cost.

        Raises:
            BudgetReached: it is more than is left.
        """
        while not self._fits(self.spent + self._aside + expected):
            if not self._under_way or not self._fits(self.spent + expected):
                raise BudgetReached(self._message())
            self._settled.clear()
            await self._settled.wait()
        self._aside += expected
        self._under_way += 1

    def settle(self, expected: Spending, actual: Spending) -> None:
        """The call has ended, and cost this."""
        self._aside -= expected
        self.spent += actual
        self._under_way -= 1
        self._settled.set()

    def _fits(self, spending: Spending) -> bool:
        most = self._settings
        limits = ((spending.calls, most.calls), (spending.tokens, most.tokens), (spending.usd - ROUNDING, most.usd))
        return all(limit is None or amount <= limit for amount, limit in limits)

    def _message(self) -> str:
        limits = {
            f"{self._settings.usd} USD": self._settings.usd,
            f"{self._settings.tokens} tokens": self._settings.tokens,
            f"{self._settings.calls} calls": self._settings.calls,
        }
        given = ", ".join(words for words, limit in limits.items() if limit is not None)
        spent = f"{self.spent.usd:.4f} USD, {self.spent.tokens:,} tokens, {self.spent.calls:,} calls"
        return (
            f"The judge's budget is reached: the next call might not fit. Budget of the {self._settings.scope}: "
            f"{given}; spent: {spent}. Everything that was answered is stored and the round stays open: raise the "
            "limit under [budget] and start the same command again."
        )


def characters_of(call: JudgeCall) -> int:
    """The length of all that the judge is sent."""
    return sum(len(message["content"]) for message in call.messages)


def longest_reply(call: JudgeCall) -> int:
    """The most tokens that the reply may have."""
    return int(dict(call.parameters).get("max_tokens", 0))


def spending_on(reply: Reply | None, requests: int = 1) -> Spending:
    """What a request cost that ended in this reply, or in none."""
    if reply is None:
        return Spending(requests)
    return Spending(requests, reply.prompt_tokens + reply.completion_tokens, reply.cost_usd)
