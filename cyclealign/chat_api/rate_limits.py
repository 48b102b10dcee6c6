"""How fast the judge is asked: calls at once, which give way to a busy judge, and requests and tokens a minute."""

import asyncio
from collections import deque
from typing import Protocol

MINUTE_SECONDS = 60.0


class ConcurrencyLimiter:
    """Bounds the calls under way. A 429 halves the bound and closes the gate for a while; a success widens it a bit.

    Additive increase and multiplicative decrease, as TCP does (Chiu and Jain, 1989): the bound settles just under what
    the judge bears, and runs that share a judge come to share it fairly.
    """

    def __init__(self, most: int) -> None:
        self.most, self.bound, self.under_way = most, float(most), 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed_until = self._halved_at = float("-inf")

    async def enter(self) -> float:
        """Wait until there is room, in the order of coming; returns the time of entry, for `too_much`."""
        clock = asyncio.get_running_loop().time
        if self._waiting or not self._room(clock()):
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            self._admit()
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self.leave()
                raise
        else:
            self.under_way += 1
        return clock()

    def leave(self) -> None:
        """A call has ended."""
        self.under_way -= 1
        self._admit()

    def went_well(self) -> None:
        """A reply came: one more at once for each full round of them."""
        self.bound = min(float(self.most), self.bound + 1 / self.bound)

    def too_much(self, entered: float, wait_seconds: float) -> None:
        """The judge said 429 to a call that entered then: half as many at once, and none for ``wait_seconds``.

        Calls that had entered before the last halving say nothing new.
        """
        loop = asyncio.get_running_loop()
        if entered > self._halved_at:
            self.bound, self._halved_at = max(1.0, self.bound / 2), loop.time()
        self._closed_until = max(self._closed_until, loop.time() + wait_seconds)
        loop.call_at(self._closed_until, self._admit)

    def _room(self, now: float) -> bool:
        return self.under_way < max(1, int(self.bound)) and now >= self._closed_until

    def _admit(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self._room(loop.time()):
            waiter = self._waiting.popleft()
            if not waiter.cancelled():
                self.under_way += 1
                waiter.set_result(None)


class RateLimiter(Protocol):
    """Spreads calls over time."""

    async def take(self, tokens: float) -> None:
        """Wait until one request of about so many tokens may be sent."""

    def settle(self, tokens: float) -> None:
        """Tell how many more tokens than expected it took (fewer: negative)."""


class NoRateLimit:
    """A `RateLimiter` without limits."""

    async def take(self, tokens: float) -> None:
        """Nothing to wait for."""

    def settle(self, tokens: float) -> None:
        """Nothing to keep."""


class Bucket:
    """A token bucket: it fills evenly, holds a second's worth (one at least), and may be overdrawn.

    Who overdraws it waits until the debt is paid, and who comes later waits longer: that keeps the order.
    """

    def __init__(self, per_minute: float) -> None:
        self.per_second = per_minute / MINUTE_SECONDS
        self.most = max(1.0, self.per_second)
        self._level, self._at = self.most, float("-inf")

    def take(self, amount: float, now: float) -> float:
        """Take; return the seconds to wait."""
        self._level = min(self.most, self._level + (now - self._at) * self.per_second) - amount
        self._at = now
        return max(0.0, -self._level / self.per_second)

    def settle(self, amount: float) -> None:
        """Take without waiting (negative: give back)."""
        self._level -= amount


class LocalRateLimiter:
    """A `RateLimiter` of this process alone: in any minute at most what the limits say, and a second's worth more."""

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._requests = Bucket(requests_per_minute) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute) if tokens_per_minute else None

    async def take(self, tokens: float) -> None:
        """Wait until both limits allow it."""
        now = asyncio.get_running_loop().time()
        waits = [bucket.take(amount, now) for bucket, amount in ((self._requests, 1), (self._tokens, tokens)) if bucket]
        if (seconds := max(waits, default=0.0)) > 0:
            await asyncio.sleep(seconds)

    def settle(self, tokens: float) -> None:
        """Correct what was expected by what it was."""
        if self._tokens:
            self._tokens.settle(tokens)
