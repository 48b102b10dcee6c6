"""Cost estimates of judge calls, and the budget that they are paid from."""

import asyncio
from dataclasses import replace

from cyclealign.chat_api.prices import Price
from cyclealign.config import BudgetSettings
from cyclealign.errors import BudgetReached
from cyclealign.records import JudgeCall, Reply, Spending

# Until the first reply: above the density of plain English under any tokenizer (about 0.25).
INITIAL_TOKENS_PER_CHARACTER = 0.5
ROUNDING = 1e-12  # USD; error of summed floats


class CostEstimator:
    """Upper estimates of a call's cost from its length; tokens per character are learned from replies.

    Args:
        price: of the judge's model.
        price_factor: factor on all prices, such as the batch API's discount.
    """

    def __init__(self, price: Price, price_factor: float = 1.0) -> None:
        self._price, self._price_factor = price, price_factor
        self._max_density: float | None = None

    def estimate(self, call: JudgeCall) -> Spending:
        """Return the cost of one request: its prompt at the highest density seen, and the longest allowed reply."""
        reply = self.lost_reply(call)
        return Spending(1, reply.prompt_tokens + reply.completion_tokens, reply.cost_usd)

    def lost_reply(self, call: JudgeCall) -> Reply:
        """Return an empty reply with the estimated cost of a request that may be billed and got no reply."""
        return self._estimated(Reply("", "", self._prompt_tokens(call), max_reply_tokens(call), 0.0, 0.0))

    def counted(self, call: JudgeCall, reply: Reply) -> Reply:
        """Return the reply with estimated token counts, marked as such, if the provider gave none to believe."""
        if reply.counted:
            return reply
        prompt = reply.prompt_tokens or self._prompt_tokens(call)
        completion = reply.completion_tokens or round(len(reply.text) * self._density) + 1
        return self._estimated(replace(reply, prompt_tokens=prompt, completion_tokens=completion, counted=True))

    def _prompt_tokens(self, call: JudgeCall) -> int:
        return round(request_characters(call) * self._density) + 1

    @property
    def _density(self) -> float:
        return INITIAL_TOKENS_PER_CHARACTER if self._max_density is None else self._max_density

    def _estimated(self, reply: Reply) -> Reply:
        prompt, completion = reply.prompt_tokens, reply.completion_tokens
        usd = self._price.of(prompt, completion, reply.cached_prompt_tokens) * self._price_factor
        return replace(reply, cost_usd=usd, estimated_tokens=prompt + completion, estimated_usd=usd)

    def observe(self, call: JudgeCall, reply: Reply) -> None:
        """Learn from the provider's token count."""
        if reply.prompt_tokens and not reply.estimated_tokens:
            density = reply.prompt_tokens / max(1, request_characters(call))
            self._max_density = density if self._max_density is None else max(self._max_density, density)


class Budget:
    """Money, tokens and calls left to spend. The estimated cost of calls in flight is reserved until it is known."""

    def __init__(self, settings: BudgetSettings, spent: Spending) -> None:
        self._settings, self.spent, self._reserved = settings, spent, Spending()
        self._in_flight = 0
        self._settled = asyncio.Event()

    async def reserve(self, expected: Spending) -> None:
        """Reserve the estimated cost of a call; wait while that depends on the final cost of calls in flight.

        Raises:
            BudgetReached: the estimate exceeds what is left.
        """
        while not self._fits(self.spent + self._reserved + expected):
            if not self._in_flight or not self._fits(self.spent + expected):
                raise BudgetReached(self._message())
            self._settled.clear()
            await self._settled.wait()
        self._reserved += expected
        self._in_flight += 1

    def settle(self, expected: Spending, actual: Spending) -> None:
        """Replace the reservation of a call that has ended by its actual cost."""
        self._reserved -= expected
        self.spent += actual
        self._in_flight -= 1
        self._settled.set()

    def _fits(self, spending: Spending) -> bool:
        budget = self._settings
        limits = (
            (spending.calls, budget.calls),
            (spending.tokens, budget.tokens),
            (spending.usd - ROUNDING, budget.usd),
        )
        return all(limit is None or amount <= limit for amount, limit in limits)

    def _message(self) -> str:
        limits = ((self._settings.usd, "USD"), (self._settings.tokens, "tokens"), (self._settings.calls, "calls"))
        set_limits = ", ".join(f"{limit} {unit}" for limit, unit in limits if limit is not None)
        spent = f"{self.spent.usd:.4f} USD, {self.spent.tokens:,} tokens, {self.spent.calls:,} calls"
        return (
            f"The judge's budget is reached: the next call might exceed it. Budget of the {self._settings.scope}: "
            f"{set_limits}; spent: {spent}. All replies are stored and the round stays open: raise the limit under "
            "[budget] and rerun the same command."
        )


def request_characters(call: JudgeCall) -> int:
    """Return the total length of the call's messages."""
    return sum(len(message["content"]) for message in call.messages)


def max_reply_tokens(call: JudgeCall) -> int:
    """Return the maximum number of tokens in the reply."""
    return call.token_limit or int(dict(call.parameters).get("max_tokens", 0))


def spending_of(reply: Reply | None, requests: int = 1) -> Spending:
    """Return the cost of requests that ended in this reply; None: in no paid reply."""
    if reply is None:
        return Spending(requests)
    return Spending(requests, reply.prompt_tokens + reply.completion_tokens, reply.cost_usd)
