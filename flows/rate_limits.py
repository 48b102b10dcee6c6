"""Requests and tokens a minute that several runs share: Prefect's global limits, taken in handfuls.

A slot of a limit costs a request to the Prefect server. So a run takes two seconds' worth of slots at a time and spends
them by itself; what it does not spend is lost with it, and the limit is never exceeded.
"""

import asyncio
import math
import os
import random
import re

import httpx
from prefect.client.orchestration import PrefectClient, get_client

from cyclealign.chat_api.rate_limits import MINUTE_SECONDS, LocalRateLimiter, RateLimiter
from cyclealign.config import JudgeSettings
from cyclealign.loop.ports import local_rate_limiter

HANDFUL_SECONDS = 2.0


def rate_limiter(judge: JudgeSettings) -> RateLimiter:
    """Return a limiter that all runs of the Prefect server share; without a server, one for this process."""
    limited = judge.requests_per_minute is not None or judge.tokens_per_minute is not None
    if limited and os.environ.get("PREFECT_API_URL"):
        return PrefectRateLimiter(judge)
    return local_rate_limiter(judge)


def limit_name(judge: JudgeSettings, unit: str) -> str:
    """The name of the global limit; runs that ask the same model under the same key variable share it."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{judge.model}-{judge.api_key_variable}")
    return f"judge-{readable}-{unit}-per-minute"


class PrefectRateLimiter:
    """A `RateLimiter` over all runs of one Prefect server. The first makes the limits; the newest settings hold.

    The pace of this process comes first: a run that is alone is then hardly ever refused a slot.
    """

    def __init__(self, judge: JudgeSettings) -> None:
        self._own = LocalRateLimiter(judge.requests_per_minute, judge.tokens_per_minute)
        self._requests = SlotReservation.of(limit_name(judge, "requests"), judge.requests_per_minute)
        self._tokens = SlotReservation.of(limit_name(judge, "tokens"), judge.tokens_per_minute)

    async def acquire(self, tokens: float) -> None:
        """Wait until all runs together stay within both limits."""
        await self._own.acquire(tokens)
        if self._requests:
            await self._requests.spend(1)
        if self._tokens:
            await self._tokens.spend(tokens)

    def correct(self, tokens: float) -> None:
        """Correct what was expected by what it was."""
        self._own.correct(tokens)
        if self._tokens:
            self._tokens.credit -= tokens


class SlotReservation:
    """Slots of one global limit that were taken and are not spent yet; spending goes in the order of coming."""

    def __init__(self, name: str, per_minute: float) -> None:
        self.name, self.credit = name, 0.0
        self.per_second = per_minute / MINUTE_SECONDS
        self.size = max(1, math.ceil(self.per_second * HANDFUL_SECONDS))
        self._turn = asyncio.Lock()
        self._made = False

    @classmethod
    def of(cls, name: str, per_minute: float | None) -> "SlotReservation | None":
        """Where there is a limit."""
        return cls(name, per_minute) if per_minute else None

    async def spend(self, amount: float) -> None:
        """Wait until so many slots are there, and take them."""
        async with self._turn:
            if self.credit < amount:
                async with get_client() as client:
                    await self._make(client)
                    while self.credit < amount:
                        await self._take(client)
            self.credit -= amount

    async def _make(self, client: PrefectClient) -> None:
        """Make the limit, or bring it up to the settings."""
        if not self._made:
            await client.upsert_global_concurrency_limit_by_name(self.name, 2 * self.size, self.per_second)
            self._made = True

    async def _take(self, client: PrefectClient) -> None:
        """Wait for a handful of slots. Prefect's own `rate_limit` asks until it is let in, but every refusal makes the
        server (3.8.8) forget the slots that have come back since; so we look first, which changes nothing.
        """
        seen = await client.read_global_concurrency_limit_by_name(self.name)
        missing = seen.active_slots + self.size - seen.limit
        if missing <= 0:
            try:
                await client.increment_concurrency_slots([self.name], self.size, "rate_limit")
            except httpx.HTTPStatusError as error:
                if error.response.status_code != httpx.codes.LOCKED:
                    raise
                missing = self.size  # another run was quicker
            else:
                self.credit += self.size
                return
        await asyncio.sleep(missing / self.per_second * random.uniform(1.0, 1.2))
