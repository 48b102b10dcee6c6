"""Limits of requests and tokens per minute that several runs share: Prefect's global concurrency limits.

Taking a slot costs a request to the Prefect server. So a run reserves two seconds' worth of slots at a time and spends
them locally; unspent slots are lost when it ends, and the limit is never exceeded.
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

RESERVATION_SECONDS = 2.0


def rate_limiter(judge: JudgeSettings) -> RateLimiter:
    """Return a limiter that all runs of the Prefect server share; without a server, one for this process."""
    limited = judge.requests_per_minute is not None or judge.tokens_per_minute is not None
    if limited and os.environ.get("PREFECT_API_URL"):
        return PrefectRateLimiter(judge)
    return local_rate_limiter(judge)


def limit_name(judge: JudgeSettings, unit: str) -> str:
    """Return the name of the global limit; runs with the same model and key variable share it."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{judge.model}-{judge.api_key_variable}")
    return f"judge-{readable}-{unit}-per-minute"


class PrefectRateLimiter:
    """A `RateLimiter` shared by all runs of one Prefect server. The newest run's settings apply.

    A limiter of this process goes first, so that a single run is rarely refused a slot by the server.
    """

    def __init__(self, judge: JudgeSettings) -> None:
        self._local = LocalRateLimiter(judge.requests_per_minute, judge.tokens_per_minute)
        self._requests = SlotReservation.of(limit_name(judge, "requests"), judge.requests_per_minute)
        self._tokens = SlotReservation.of(limit_name(judge, "tokens"), judge.tokens_per_minute)

    async def acquire(self, tokens: float) -> None:
        """Wait until a call with ``tokens`` tokens keeps all runs together within both limits."""
        await self._local.acquire(tokens)
        if self._requests:
            await self._requests.spend(1)
        if self._tokens:
            await self._tokens.spend(tokens)

    def correct(self, tokens: float) -> None:
        """Add to the spent tokens the difference between the actual and the estimated number."""
        self._local.correct(tokens)
        if self._tokens:
            self._tokens.credit -= tokens


class SlotReservation:
    """Slots of one global limit that are taken and not yet spent. Callers are served in order.

    Args:
        name: of the global limit.
    """

    def __init__(self, name: str, per_minute: float) -> None:
        self.name, self.credit = name, 0.0
        self.per_second = per_minute / MINUTE_SECONDS
        self.size = max(1, math.ceil(self.per_second * RESERVATION_SECONDS))
        self._lock = asyncio.Lock()
        self._created = False

    @classmethod
    def of(cls, name: str, per_minute: float | None) -> "SlotReservation | None":
        """Return a reservation, or None without a limit."""
        return cls(name, per_minute) if per_minute else None

    async def spend(self, amount: float) -> None:
        """Wait for ``amount`` slots and spend them."""
        async with self._lock:
            if self.credit < amount:
                async with get_client() as client:
                    await self._create(client)
                    while self.credit < amount:
                        await self._take(client)
            self.credit -= amount

    async def _create(self, client: PrefectClient) -> None:
        """Create the limit, or update it to the settings."""
        if not self._created:
            await client.upsert_global_concurrency_limit_by_name(self.name, 2 * self.size, self.per_second)
            self._created = True

    async def _take(self, client: PrefectClient) -> None:
        """Wait for slots and reserve ``self.size`` of them.

        Prefect's own `rate_limit` retries until it gets them, but every refusal makes the server (3.8.8) forget the
        slots that have been freed since. So this reads the limit first, which changes nothing.
        """
        limit = await client.read_global_concurrency_limit_by_name(self.name)
        missing = limit.active_slots + self.size - limit.limit
        if missing <= 0:
            try:
                await client.increment_concurrency_slots([self.name], self.size, "rate_limit")
            except httpx.HTTPStatusError as error:
                if error.response.status_code != httpx.codes.LOCKED:
                    raise
                missing = self.size  # another run took them first
            else:
                self.credit += self.size
                return
        await asyncio.sleep(missing / self.per_second * random.uniform(1.0, 1.2))
