"""Limits on calls to the judge: adaptive concurrency, and requests and tokens per minute."""

import asyncio
from collections import deque
from typing import Protocol

MINUTE_SECONDS = 60.0


class ConcurrencyLimiter:
    """Limits the calls in flight. A 429 halves the limit and pauses new calls; each success raises it a little.

    Additive increase, multiplicative decrease, as in TCP (Chiu and Jain, 1989): the limit settles just below the
    judge's capacity, and runs that share a judge converge to equal shares.
    """

    def __init__(self, maximum: int) -> None:
        self.maximum, self.limit, self.in_flight = maximum, float(maximum), 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._paused_until = self._halved_at = float("-inf")

    async def acquire(self) -> float:
        """Wait for a slot, first come first served; return the time of entry, for `record_busy`."""
        clock = asyncio.get_running_loop().time
        if self._waiting or not self._has_slot(clock()):
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            self._admit()
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self.release()  # admitted and cancelled in the same turn of the loop: the slot was taken
                raise
        else:
            self.in_flight += 1
        return clock()

    def release(self) -> None:
        """Free the slot of a call that has ended."""
        self.in_flight -= 1
        self._admit()

    def record_success(self) -> None:
        """Raise the limit by one per full round of successful calls."""
        self.limit = min(float(self.maximum), self.limit + 1 / self.limit)

    def record_busy(self, entered: float, wait_seconds: float) -> None:
        """Halve the limit and admit no calls for ``wait_seconds``, after a 429 to a call that entered then.

        Calls that entered before the last halving saw the old limit, so their 429s do not halve it again.
        """
        loop = asyncio.get_running_loop()
        if entered > self._halved_at:
            self.limit, self._halved_at = max(1.0, self.limit / 2), loop.time()
        self._paused_until = max(self._paused_until, loop.time() + wait_seconds)
        loop.call_at(self._paused_until, self._admit)

    def _has_slot(self, now: float) -> bool:
        return self.in_flight < max(1, int(self.limit)) and now >= self._paused_until

    def _admit(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self._has_slot(loop.time()):
            waiter = self._waiting.popleft()
            if not waiter.cancelled():
                self.in_flight += 1
                waiter.set_result(None)


class RateLimiter(Protocol):
    """Limits the rate of calls."""

    async def acquire(self, tokens: float) -> None:
        """Wait until one request of about ``tokens`` tokens may be sent."""

    def correct(self, tokens: float) -> None:
        """Account for the difference between actual and expected tokens; negative if fewer were used."""


class NoRateLimit:
    """A `RateLimiter` without limits."""

    async def acquire(self, tokens: float) -> None:
        """Return at once."""

    def correct(self, tokens: float) -> None:
        """Do nothing."""


class TokenBucket:
    """A token bucket: it fills evenly, holds one second's worth (at least 1), and may be overdrawn.

    The call that overdraws it waits until the debt is refilled, and later calls wait longer: calls stay in order.
    """

    def __init__(self, per_minute: float) -> None:
        self.per_second = per_minute / MINUTE_SECONDS
        self.capacity = max(1.0, self.per_second)
        self._level, self._updated_at = self.capacity, float("-inf")

    def take(self, amount: float, now: float) -> float:
        """Take ``amount`` at time ``now`` (seconds); return the seconds to wait."""
        self._level = min(self.capacity, self._level + (now - self._updated_at) * self.per_second) - amount
        self._updated_at = now
        return max(0.0, -self._level / self.per_second)

    def correct(self, amount: float) -> None:
        """Take ``amount`` without waiting; negative: give back."""
        self._level -= amount


class LocalRateLimiter:
    """A `RateLimiter` for this process alone: per minute at most the limits, plus a burst of one second's worth."""

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._requests = TokenBucket(requests_per_minute) if requests_per_minute else None
        self._tokens = TokenBucket(tokens_per_minute) if tokens_per_minute else None

    async def acquire(self, tokens: float) -> None:
        """Wait until both limits allow the request."""
        now = asyncio.get_running_loop().time()
        waits = [bucket.take(amount, now) for bucket, amount in ((self._requests, 1), (self._tokens, tokens)) if bucket]
        if (seconds := max(waits, default=0.0)) > 0:
            await asyncio.sleep(seconds)

    def correct(self, tokens: float) -> None:
        """Account for the difference between actual and expected tokens."""
        if self._tokens:
            self._tokens.correct(tokens)
