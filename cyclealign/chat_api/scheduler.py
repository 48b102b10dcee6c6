"""Concurrent judge calls: each request is sent once, retried, paid from the budget, and stored.

The ranking of one list is a coroutine that awaits an `AskJudge`, so a ranking method can use one reply before it
sends the next request, and lists do not wait for one another.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from cyclealign.chat_api.budget import Budget, CostEstimator, spending_of
from cyclealign.chat_api.client import Complete
from cyclealign.chat_api.prices import Price
from cyclealign.chat_api.rate_limits import ConcurrencyLimiter, NoRateLimit, RateLimiter
from cyclealign.config import BudgetSettings
from cyclealign.errors import JudgeBusy, JudgeCallFailed, JudgeFaltered, JudgeUnavailable
from cyclealign.records import CallOutcome, JudgeCall, Reply, Spending

T = TypeVar("T")
# Returns the reply to a call, or None if the call failed; a failed call never becomes a verdict.
AskJudge = Callable[[JudgeCall], Awaitable[Reply | None]]
MAX_BACKOFF_SECONDS = 60.0


@dataclass
class CallLimits:
    """Limits of a `CallScheduler`: concurrency, rate, retries, waiting and cost."""

    concurrency: ConcurrencyLimiter
    rate_limiter: RateLimiter = field(default_factory=NoRateLimit)
    retries: int = 0
    backoff_seconds: float = 0.5
    max_busy_seconds: float = 600.0
    cost_estimator: CostEstimator = field(default_factory=lambda: CostEstimator(Price()))
    budget: Budget = field(default_factory=lambda: Budget(BudgetSettings(), Spending()))


@dataclass
class _Attempts:
    """History of one call: requests sent, faults, seconds spent waiting on a busy judge, cost of failed requests."""

    requests: int = 0
    faults: int = 0
    busy_seconds: float = 0.0
    wasted: Reply | None = None


class CallScheduler:
    """An `AskJudge` that recalls stored replies, keeps to limits and records each outcome. For one event loop.

    Args:
        complete: sends one request.
        limits: concurrency, rate, retries and budget.
        recall: returns the stored reply to a call, or None; recalled replies cost nothing.
        record: stores the outcome of a call. A reply is returned only once it is stored, and counts as in flight
            until then: a kill loses at most as many paid replies as there may be concurrent calls.
    """

    def __init__(
        self,
        complete: Complete,
        limits: CallLimits,
        recall: Callable[[JudgeCall], Reply | None],
        record: Callable[[CallOutcome], Awaitable[None]],
    ) -> None:
        self._complete, self._limits, self._recall, self._record = complete, limits, recall, record
        self._replies: dict[str, asyncio.Future[Reply | None]] = {}
        self._stop_error: Exception | None = None

    async def __call__(self, call: JudgeCall) -> Reply | None:
        """Return the reply, or None if the call failed. Identical requests share one call.

        Raises:
            JudgeUnavailable: no call can succeed. Calls in flight finish, since they are paid for.
            BudgetReached: this call might exceed the budget. Calls in flight finish.
            StoreError: a reply could not be stored; no further calls are sent.
        """
        if call.key not in self._replies:
            self._replies[call.key] = asyncio.ensure_future(self._answer(call))
        # Shielded: a cancelled caller must not cancel the call for the others that await it.
        return await asyncio.shield(self._replies[call.key])

    async def _answer(self, call: JudgeCall) -> Reply | None:
        if (stored := self._recall(call)) is not None:
            return stored
        attempts = _Attempts()
        while True:
            entered = await self._limits.concurrency.acquire()
            try:
                if self._stop_error:
                    raise self._stop_error
                return await self._attempt(call, attempts)
            except JudgeBusy as error:
                wait = self._busy_wait(attempts, error, entered)
            except JudgeFaltered:
                wait = self._backoff(attempts.faults - 1)
            except Exception as error:  # no call can succeed, is allowed, or can be stored
                self._stop_error = error
                raise
            finally:
                self._limits.concurrency.release()
            await asyncio.sleep(wait)

    async def _attempt(self, call: JudgeCall, attempts: _Attempts) -> Reply | None:
        """Send the call once and record the outcome.

        Raises:
            JudgeBusy, JudgeFaltered: retry the call.
            Exception: make no further calls.
        """
        try:
            reply = await self._send(call, attempts)
        except JudgeBusy:
            raise
        except JudgeCallFailed as error:
            attempts.wasted = with_cost_of(attempts.wasted, error.paid)
            attempts.faults += 1
            if isinstance(error, JudgeFaltered) and attempts.faults <= self._limits.retries:
                raise
            await self._record(CallOutcome(call, attempts.wasted, str(error), attempts.requests))
            if isinstance(error, JudgeFaltered) and error.unreachable:
                raise JudgeUnavailable(str(error)) from None
            return None
        self._limits.concurrency.record_success()
        reply = with_cost_of(attempts.wasted, reply) or reply
        await self._record(CallOutcome(call, reply, None, attempts.requests))
        return reply

    async def _send(self, call: JudgeCall, attempts: _Attempts) -> Reply:
        """Send one request, within budget and rate limits."""
        limits = self._limits
        expected = limits.cost_estimator.estimate(call)
        await limits.budget.reserve(expected)
        paid, sent = None, 0
        try:
            await limits.rate_limiter.acquire(expected.tokens)
            attempts.requests, sent = attempts.requests + 1, 1
            paid = await self._complete(call)
            return paid
        except JudgeCallFailed as error:
            paid = error.paid
            raise
        finally:
            actual = spending_of(paid, sent)
            limits.budget.settle(expected, actual)
            limits.rate_limiter.correct(actual.tokens - expected.tokens if paid else 0)
            if paid:
                limits.cost_estimator.observe(call, paid)

    def _busy_wait(self, attempts: _Attempts, error: JudgeBusy, entered: float) -> float:
        """Return the seconds until this call may be retried; if the judge named a time, all calls wait for it."""
        wait = error.wait_seconds if error.wait_seconds is not None else self._backoff(attempts.requests - 1)
        attempts.busy_seconds += wait
        if attempts.busy_seconds > self._limits.max_busy_seconds:
            self._stop_error = JudgeUnavailable(
                f"The judge asks to wait longer than judge.max_busy_seconds = {self._limits.max_busy_seconds:g}: "
                f"{error} Rerun later, or lower judge.concurrency or judge.requests_per_minute."
            )
            raise self._stop_error from None
        self._limits.concurrency.record_busy(entered, error.wait_seconds or 0.0)
        return wait

    def _backoff(self, retry: int) -> float:
        """Return the seconds before retry number ``retry``, from 0: exponential, with jitter.

        Without jitter, calls that failed together would be retried together.
        """
        longest = min(MAX_BACKOFF_SECONDS, self._limits.backoff_seconds * 2.0**retry)
        return longest * random.uniform(0.5, 1.0)


def with_cost_of(earlier: Reply | None, reply: Reply | None) -> Reply | None:
    """Return the reply with tokens, cost and time of an earlier attempt at the same call added."""
    if earlier is None or reply is None:
        return reply or earlier
    return replace(
        reply,
        prompt_tokens=earlier.prompt_tokens + reply.prompt_tokens,
        completion_tokens=earlier.completion_tokens + reply.completion_tokens,
        cached_prompt_tokens=earlier.cached_prompt_tokens + reply.cached_prompt_tokens,
        cost_usd=earlier.cost_usd + reply.cost_usd,
        seconds=earlier.seconds + reply.seconds,
    )


async def gather_all(jobs: Iterable[Awaitable[T]]) -> list[T]:
    """Run ``jobs`` together and return their results. An error is raised once all have ended, so none is cut off."""
    outcomes = await asyncio.gather(*jobs, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
